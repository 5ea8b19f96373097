"""The default planner: takes plans from a file, by the lead's status."""

import tomllib
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from realtime_bridge.request_tables.plans import Plan, Step
from realtime_bridge.request_tables.request import Request

PACKAGED = Path(__file__).parent / "playbook.toml"


class PlaybookError(ValueError):
    """A playbook that cannot be used; the text names the file and the place."""


class _StrictModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _StepTemplate(_StrictModel):
    description: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    day: Annotated[int, Field(ge=0, le=3650)]
    step_id: int | str | None = None


class _PlanTemplate(_StrictModel):
    summary: str | None = None
    steps: Annotated[tuple[_StepTemplate, ...], Field(min_length=1, max_length=100, strict=False)]

    def plan(self, lead_name: str, today: date) -> Plan:
        """Make the plan for a lead; days are counted from today."""

        def fill(text: str) -> str:
            return text.replace("{lead_name}", lead_name)

        return Plan(
            summary=self.summary and fill(self.summary),
            steps=[
                Step(
                    step_id=number if entry.step_id is None else entry.step_id,
                    description=fill(entry.description),
                    due=today + timedelta(days=entry.day),
                )
                for number, entry in enumerate(self.steps, start=1)
            ],
        )


class _PlaybookFile(_PlanTemplate):
    status: dict[str, _PlanTemplate] = {}


class Playbook:
    """Plans by the lead's status, from a TOML file; playbook.toml describes the format."""

    def __init__(self, text: str, name: str = "playbook") -> None:
        """Parse a playbook. Raises PlaybookError, with `name` in its text."""
        try:
            file = _PlaybookFile.model_validate(tomllib.loads(text))
            self._default: _PlanTemplate = file
            self._by_status = {_normalised(key): value for key, value in file.status.items()}
            for template in (file, *file.status.values()):
                template.plan("somebody", date(2000, 1, 1))
        except tomllib.TOMLDecodeError as error:
            raise PlaybookError(f"{name}: {error}") from error
        except ValidationError as error:
            detail = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(map(str, detail["loc"])) or "steps"
            raise PlaybookError(f"{name}: {place}: {detail['msg']}") from error

    @classmethod
    def load(cls, path: Path = PACKAGED) -> Self:
        """Load a playbook file. Raises PlaybookError."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PlaybookError(f"{path} cannot be read: {error}") from error
        return cls(text, str(path))

    async def generate_plan(self, request: Request) -> Plan:
        """Make the plan for the lead's status, or the default one."""
        template = self._by_status.get(_status(request), self._default)
        return template.plan(request.lead_name, request.today)


def _status(request: Request) -> str:
    """The Mini App's word comes first: the database may not know it yet."""
    return _normalised(request.payload.get("lead_status") or request.lead.get("status") or "")


def _normalised(status: Any) -> str:
    return str(status).strip().casefold()
