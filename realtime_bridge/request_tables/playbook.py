"""The default planner: plans from a file, by the lead's status."""

import tomllib
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from realtime_bridge.request_tables.plans import Plan, Step
from realtime_bridge.request_tables.request import Request

PACKAGED = Path(__file__).parent / "playbook.toml"


class BadPlaybook(ValueError):  # noqa: N818 - says what is wrong, as ConfigurationError does
    """A playbook that cannot be used; the text names the file and the place."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Entry(_Strict):
    description: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    day: Annotated[int, Field(ge=0, le=3650)]
    step_id: int | str | None = None


class _Sequence(_Strict):
    summary: str | None = None
    steps: Annotated[tuple[_Entry, ...], Field(min_length=1, max_length=100, strict=False)]

    def plan(self, lead_name: str, today: date) -> Plan:
        """Make the plan for a lead, starting today."""

        def named(text: str) -> str:
            return text.replace("{lead_name}", lead_name)

        return Plan(
            summary=self.summary and named(self.summary),
            steps=[
                Step(
                    step_id=number if entry.step_id is None else entry.step_id,
                    description=named(entry.description),
                    due=today + timedelta(days=entry.day),
                )
                for number, entry in enumerate(self.steps, start=1)
            ],
        )


class _File(_Sequence):
    status: dict[str, _Sequence] = {}


class Playbook:
    """Plans by the lead's status, read from a TOML file; playbook.toml says how it is written."""

    def __init__(self, text: str, name: str = "playbook") -> None:
        """Read a playbook. Raises BadPlaybook, with `name` in the text."""
        try:
            file = _File.model_validate(tomllib.loads(text))
            self._default: _Sequence = file
            self._by_status = {_word(key): value for key, value in file.status.items()}
            for sequence in (file, *file.status.values()):
                sequence.plan("somebody", date(2000, 1, 1))
        except tomllib.TOMLDecodeError as error:
            raise BadPlaybook(f"{name}: {error}") from error
        except ValidationError as error:
            detail = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(map(str, detail["loc"])) or "steps"
            raise BadPlaybook(f"{name}: {place}: {detail['msg']}") from error

    @classmethod
    def read(cls, path: Path = PACKAGED) -> Self:
        """Read a playbook file. Raises BadPlaybook."""
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadPlaybook(f"{path} cannot be read: {error}") from error
        return cls(text, str(path))

    async def generate_plan(self, request: Request) -> Plan:
        """Make the plan for the lead's status, or the general one."""
        sequence = self._by_status.get(_status(request), self._default)
        return sequence.plan(request.lead_name, request.today)


def _status(request: Request) -> str:
    """What the Mini App says comes first: it may know better than the database does yet."""
    return _word(request.payload.get("lead_status") or request.lead.get("status") or "")


def _word(status: Any) -> str:
    return str(status).strip().casefold()
