"""Engagement plans: from a planner's plan to the answer on the row, the message and reminders."""

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

from realtime_bridge.request_tables.calling import ask
from realtime_bridge.request_tables.request import Completed, NewEvent, Request
from realtime_bridge.request_tables.table import Answer, RequestTable, Unanswerable, Unusable

PLAN_REQUESTS = "plan_requests"
PLAN_READY = "plan_ready"
PLAN_FAILED = "plan_failed"
STEP_DUE = "step_due"

_ISO_DAY = len("2026-12-01")
_LONGEST_SUMMARY = 4096  # of a message; the row has all of it


class PlanError(Unanswerable):
    """Raise it in a planner to fail the request with a sentence for the user."""


def _due(value: Any) -> date | None:
    """A day or a moment. Numbers are refused: nobody knows whether days or seconds are meant."""
    if value is None or isinstance(value, date):  # a datetime is a date
        return value
    text = value.strip() if isinstance(value, str) else ""
    try:
        return date.fromisoformat(text) if len(text) == _ISO_DAY else datetime.fromisoformat(text)
    except ValueError:  # whose text would quote the value
        raise ValueError("must be an ISO date or datetime") from None


_Due: TypeAlias = Annotated[datetime | date | None, BeforeValidator(_due)]
_Words: TypeAlias = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
_StepId: TypeAlias = (
    Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)] | Annotated[_Words, Field(max_length=64)]
)


class Step(BaseModel):
    """One step of a plan; fields of your own are kept.

    `due` is a day, or a moment; without an offset it is meant in the user's timezone. A step
    without it gets no reminder.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    step_id: _StepId
    description: _Words
    due: _Due = None


class Plan(BaseModel):
    """What a planner makes: 1 to 100 steps, each with an id of its own; fields are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    summary: str | None = None
    steps: Annotated[list[Step], Field(min_length=1, max_length=100)]

    @model_validator(mode="after")
    def _ids_differ(self) -> Self:
        ids = [str(step.step_id) for step in self.steps]
        if len(set(ids)) < len(ids):
            raise ValueError("two steps have the same step_id")
        return self


# A plan, or a mapping that makes one.
PlanLike: TypeAlias = Plan | Mapping[str, Any]


class Planner(Protocol):
    """What PLANNER may name, as an object. A function that does the same serves as well.

    Either may be async; one that is not runs in a thread.
    """

    def generate_plan(self, request: Request, /) -> PlanLike | Awaitable[PlanLike]:
        """Make a plan for a lead. Raise PlanError with a sentence for the user if there is none."""


def plan_table(
    planner: Planner | Callable[[Request], Any],
    *,
    timeout: float,
    concurrency: int,
    reminder_time: time,
) -> RequestTable:
    """`plan_requests`, answered by a planner. Raises TypeError for what is no planner."""
    return RequestTable(
        PLAN_REQUESTS,
        _answer(_function(planner), reminder_time),
        timeout=timeout,
        concurrency=concurrency,
        failed_event=PLAN_FAILED,
    )


def _answer(planner: Answer, reminder_time: time) -> Answer:
    async def answer(request: Request) -> Completed:
        clock = asyncio.get_running_loop().time
        started = clock()
        plan = _read(await ask(planner, request))
        now = request.claimed_at + timedelta(seconds=clock() - started)
        try:
            return completed(request, plan, now=now, reminder_time=reminder_time)
        except PydanticSerializationError as error:
            raise Unusable(f"a field of the plan is no JSON value: {error}") from error

    return answer


def _read(made: Any) -> Plan:
    if isinstance(made, Plan):
        return made
    try:
        return Plan.model_validate(made)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'plan'}: {one['msg']}"
            for one in error.errors(include_input=False, include_url=False)
        )
        raise Unusable(f"the planner returned what is no plan: {wrong}") from error


def completed(request: Request, plan: Plan, *, now: datetime, reminder_time: time) -> Completed:
    """Write down what a plan means: the result, `plan_ready`, and a reminder of each step.

    Reminders of an older plan for the lead that still wait are withdrawn.
    """
    return Completed(
        plan.model_dump(mode="json"),
        (_plan_ready(request, plan, reminder_time), *reminders(request, plan, now, reminder_time)),
        withdraw=STEP_DUE,
    )


def reminders(
    request: Request, plan: Plan, now: datetime, reminder_time: time
) -> Sequence[NewEvent]:
    """One `step_due` for each step that has a due time; at once for one that has passed.

    Its dedupe key is the lead's step at that time, so that the same plan again reminds once.
    """
    events = []
    for step in plan.steps:
        if step.due is None:
            continue
        at = moment(step.due, request.timezone, reminder_time)
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


def moment(due: date, zone: tzinfo, at: time) -> datetime:
    """When to remind of what is due: on a day at a time of that day.

    >>> from datetime import UTC
    >>> str(moment(date(2026, 12, 1), UTC, time(9)))
    '2026-12-01 09:00:00+00:00'
    >>> str(moment(datetime(2026, 12, 1, 15), UTC, time(9)))
    '2026-12-01 15:00:00+00:00'
    """
    if not isinstance(due, datetime):
        return datetime.combine(due, at, zone)
    return due if due.tzinfo else due.replace(tzinfo=zone)


def _plan_ready(request: Request, plan: Plan, reminder_time: time) -> NewEvent:
    dues = [step.due for step in plan.steps if step.due is not None]
    first = min(dues, key=lambda due: moment(due, request.timezone, reminder_time), default=None)
    return NewEvent(
        PLAN_READY,
        request.about
        | {
            "steps": len(plan.steps),
            "first_due": first and first.isoformat(),
            "summary": plan.summary and plan.summary[:_LONGEST_SUMMARY],
        },
    )


def _function(planner: Planner | Callable[[Request], Any]) -> Answer:
    candidate: Any = planner() if isinstance(planner, type) else planner
    function = getattr(candidate, "generate_plan", candidate)
    if not callable(function):
        raise TypeError("a planner is a function, or an object with generate_plan(request)")
    answer: Answer = function
    return answer
