"""Engagement plans: a planner's plan becomes the row's result, a message and reminders."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Annotated, Any, Protocol, Self, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictInt,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticSerializationError

from realtime_bridge.request_tables.calling import call
from realtime_bridge.request_tables.request import Completed, NewEvent, Request
from realtime_bridge.request_tables.table import (
    InvalidResultError,
    RequestFunction,
    RequestTable,
    Unanswerable,
)

PLAN_REQUESTS = "plan_requests"
PLAN_READY = "plan_ready"
PLAN_FAILED = "plan_failed"
PLAN_PROGRESS = "plan_progress"
STEP_DUE = "step_due"

_ISO_DAY = len("2026-12-01")
_LONGEST_SUMMARY = 4096  # characters in the message; the row has all of it


class PlanError(Unanswerable):
    """Raise it in a planner to fail the request; its text is shown to the user."""


def _parse_due(value: Any) -> date | None:
    """Parse a date or datetime. Numbers are refused: they could be days or seconds."""
    if value is None or isinstance(value, date):  # a datetime is a date
        return value
    text = value.strip() if isinstance(value, str) else ""
    try:
        return date.fromisoformat(text) if len(text) == _ISO_DAY else datetime.fromisoformat(text)
    except ValueError:  # whose text would quote the value
        raise ValueError("must be an ISO date or datetime") from None


_Due: TypeAlias = Annotated[datetime | date | None, BeforeValidator(_parse_due)]
_Text: TypeAlias = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_StepId: TypeAlias = (
    Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)] | Annotated[_Text, Field(max_length=64)]
)


class Step(BaseModel):
    """One step of a plan. Extra fields are kept.

    `due` is a date or a datetime; one without an offset is in the user's timezone. A step without
    `due` gets no reminder.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    step_id: _StepId
    description: _Text
    due: _Due = None


class Plan(BaseModel):
    """What a planner returns: 1 to 100 steps with different ids. Extra fields are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    summary: str | None = None
    steps: Annotated[list[Step], Field(min_length=1, max_length=100)]

    @model_validator(mode="after")
    def _ids_differ(self) -> Self:
        ids = [str(step.step_id) for step in self.steps]
        if len(set(ids)) < len(ids):
            raise ValueError("two steps have the same step_id")
        return self


# A plan, or a mapping with its fields.
PlanLike: TypeAlias = Plan | Mapping[str, Any]


class Planner(Protocol):
    """A planner as an object; a function that does the same will do as well.

    Either may be async; one that is not runs in a thread.
    """

    def generate_plan(self, request: Request, /) -> PlanLike | Awaitable[PlanLike]:
        """Make a plan for a lead, or raise PlanError with a sentence for the user."""


def plan_table(
    planner: Planner | Callable[[Request], Any],
    *,
    timeout: float,
    concurrency: int,
    reminder_time: time,
) -> RequestTable:
    """Make the RequestTable of `plan_requests`. Raises TypeError if `planner` is no planner."""
    return RequestTable(
        PLAN_REQUESTS,
        _answer_with(_function_of(planner), reminder_time),
        timeout=timeout,
        concurrency=concurrency,
        failed_event=PLAN_FAILED,
        progress_event=PLAN_PROGRESS,
    )


def _answer_with(planner: RequestFunction, reminder_time: time) -> RequestFunction:
    async def answer(request: Request) -> Completed:
        clock = asyncio.get_running_loop().time
        started = clock()
        plan = _validated(await call(planner, request))
        now = request.claimed_at + timedelta(seconds=clock() - started)
        try:
            return _completed(request, plan, now, reminder_time)
        except PydanticSerializationError as error:
            raise InvalidResultError(f"a field of the plan is no JSON value: {error}") from error

    return answer


def _validated(returned: Any) -> Plan:
    if isinstance(returned, Plan):
        return returned
    try:
        return Plan.model_validate(returned)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'plan'}: {one['msg']}"
            for one in error.errors(include_input=False, include_url=False)
        )
        raise InvalidResultError(f"what the planner returned is no plan: {wrong}") from error


def _completed(request: Request, plan: Plan, now: datetime, reminder_time: time) -> Completed:
    """The plan as the result, with `plan_ready` and reminders as events.

    Reminders of the lead's previous plan that still wait are withdrawn.
    """
    return Completed(
        plan.model_dump(mode="json"),
        (_plan_ready(request, plan, reminder_time), *_reminders(request, plan, now, reminder_time)),
        withdraw=STEP_DUE,
    )


def _reminders(
    request: Request, plan: Plan, now: datetime, reminder_time: time
) -> Sequence[NewEvent]:
    """One `step_due` for each step with a due time; sent at once if that has passed.

    The dedupe key names lead, step and time, so the same plan made again reminds once.
    """
    events = []
    for step in plan.steps:
        if step.due is None:
            continue
        at = reminder_at(step.due, request.timezone, reminder_time)
        events.append(
            NewEvent(
                STEP_DUE,
                request.about
                | {
                    "step_id": step.step_id,
                    "step_desc": step.description,
                    "due": step.due.isoformat(),
                },
                # A time in the past would put it before `plan_ready`.
                deliver_after=at if at > now else None,
                dedupe_key=f"{STEP_DUE}:{request.lead_id}:{step.step_id}:{at.timestamp():.0f}",
            )
        )
    return events


def reminder_at(due: date, zone: tzinfo, time_of_day: time) -> datetime:
    """When to remind of what is due; what is due on a day, at this time of that day.

    >>> from datetime import UTC
    >>> str(reminder_at(date(2026, 12, 1), UTC, time(9)))
    '2026-12-01 09:00:00+00:00'
    >>> str(reminder_at(datetime(2026, 12, 1, 15), UTC, time(9)))
    '2026-12-01 15:00:00+00:00'
    """
    if not isinstance(due, datetime):
        return datetime.combine(due, time_of_day, zone)
    return due if due.tzinfo else due.replace(tzinfo=zone)


def _plan_ready(request: Request, plan: Plan, reminder_time: time) -> NewEvent:
    dues = [step.due for step in plan.steps if step.due is not None]
    zone = request.timezone
    first = min(dues, key=lambda due: reminder_at(due, zone, reminder_time), default=None)
    return NewEvent(
        PLAN_READY,
        request.about
        | {
            "steps": len(plan.steps),
            "first_due": first and first.isoformat(),
            "summary": plan.summary and plan.summary[:_LONGEST_SUMMARY],
        },
        replaces=request.progress_key,
    )


def _function_of(planner: Planner | Callable[[Request], Any]) -> RequestFunction:
    candidate: Any = planner() if isinstance(planner, type) else planner
    function = getattr(candidate, "generate_plan", candidate)
    if not callable(function):
        raise TypeError("a planner is a function, or an object with generate_plan(request)")
    plan: RequestFunction = function
    return plan
