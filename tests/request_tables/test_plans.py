"""What a plan means for the row, the chat and the reminders."""

from datetime import UTC, date, datetime, time, timedelta

import pytest

from realtime_bridge.base.stopwatch import Stopwatch
from realtime_bridge.request_tables.handler import NO_RESULT, RequestHandler
from realtime_bridge.request_tables.plans import Plan, PlanError, Step, plan_table
from realtime_bridge.request_tables.request import Completed, FailedRequest, NewEvent
from realtime_bridge.request_tables.request_queue import encode_outcome
from tests.request_tables.builders import NOON, plan, request, step

NINE = time(9)


async def planned(made, row=None):
    """The outcome of a request whose planner returns (or raises) this."""

    async def planner(_):
        if isinstance(made, Exception):
            raise made
        return made

    table = plan_table(planner, timeout=5, concurrency=1, reminder_time=NINE)
    return await RequestHandler(table, max_attempts=3)(row or request(), Stopwatch())


async def reminders_of(made, row=None):
    outcome = await planned(made, row)
    assert isinstance(outcome, Completed)
    return list(outcome.events[1:])


async def test_the_plan_is_the_result_with_everything_the_planner_put_in():
    """The planner's own fields reach the Mini App."""
    made = plan(step(due="2026-12-01", channel="phone"), summary="Win her.", score=0.5)

    outcome = await planned(made)

    assert outcome.result == {
        "summary": "Win her.",
        "score": 0.5,
        "steps": [
            {"step_id": 1, "description": "Call", "due": "2026-12-01", "channel": "phone"},
        ],
    }


async def test_a_mapping_and_a_plan_are_the_same():
    """A planner may use the model or a plain dict."""
    of_models = Plan(steps=[Step(step_id=1, description="Call", due=date(2026, 12, 1))])

    assert await planned(of_models) == await planned(plan(step(due="2026-12-01")))


async def test_the_chat_is_told_first():
    """`plan_ready` has what its template asks for, and comes before all reminders."""
    row = request(payload={"lead_name": "Ann", "timezone": "Europe/Kyiv", "other": 1})
    made = plan(step(1, due="2026-12-05"), step(2, due="2026-12-01"), step(3), summary="Win her.")

    outcome = await planned(made, row)

    assert outcome.events[0] == NewEvent(
        "plan_ready",
        {
            "lead_name": "Ann",
            "timezone": "Europe/Kyiv",
            "steps": 3,
            "first_due": "2026-12-01",
            "summary": "Win her.",
        },
        replaces="plan_requests:1",
    )


async def test_each_step_that_is_due_some_time_gets_one_reminder():
    """It has its time, the message's values, and a key that is the same for the same plan."""
    made = plan(step("a", "Call", due="2026-12-01T15:30:00+02:00"), step("b", "Wait"))

    assert await reminders_of(made) == [
        NewEvent(
            "step_due",
            {"step_id": "a", "step_desc": "Call", "due": "2026-12-01T15:30:00+02:00"},
            deliver_after=datetime(2026, 12, 1, 13, 30, tzinfo=UTC),
            dedupe_key="step_due:7:a:1796131800",
        )
    ]


@pytest.mark.parametrize(
    ("due", "zone", "at"),
    [
        ("2026-12-01", None, "2026-12-01T09:00+00:00"),
        ("2026-12-01", "Europe/Kyiv", "2026-12-01T07:00+00:00"),
        ("2026-12-01", "+05:30", "2026-12-01T03:30+00:00"),
        ("2026-12-01", "Nowhere/Land", "2026-12-01T09:00+00:00"),
        ("2026-12-01", 5, "2026-12-01T09:00+00:00"),
        ("2026-12-01T18:00", "Europe/Kyiv", "2026-12-01T16:00+00:00"),
        ("2026-12-01T18:00Z", "Europe/Kyiv", "2026-12-01T18:00+00:00"),
        (date(2026, 12, 1), None, "2026-12-01T09:00+00:00"),
        (datetime.fromisoformat("2026-12-01T18:00"), None, "2026-12-01T18:00+00:00"),
    ],
)
async def test_the_time_is_the_users(due, zone, at):
    """A date means the reminder time on that day, both in the user's timezone."""
    row = request(payload={"timezone": zone} if zone else {})

    (reminder,) = await reminders_of(plan(step(due=due)), row)

    assert reminder.deliver_after == datetime.fromisoformat(at)


@pytest.mark.parametrize("due", ["2020-01-01", "2026-11-23T11:59:59Z", "0001-01-01T00:00:00+14:00"])
async def test_a_time_that_has_passed_means_at_once(due):
    """A time in the past would put the reminder before `plan_ready`."""
    (reminder,) = await reminders_of(plan(step(due=due)))

    assert reminder.deliver_after is None
    assert reminder.dedupe_key is not None


async def test_older_reminders_are_withdrawn_with_the_new_plan():
    """In the same settlement that writes the plan."""
    outcome = await planned(plan())

    assert encode_outcome(request(), outcome)["withdraw"] == "step_due"


@pytest.mark.parametrize(
    "made",
    [
        None,
        [],
        "a plan",
        {},
        plan(None),
        {"steps": []},
        plan(*(step(n) for n in range(101))),
        plan({"step_id": 1}),
        plan(step(description=" ")),
        plan(step(step_id=True)),
        plan(step(step_id="x" * 65)),
        plan(step(step_id=10**30)),
        plan(step(1), step("1")),
        plan(step(due=3)),
        plan(step(due="soon")),
        plan(step(due={"day": 3})),
        plan(summary=7),
        plan(score=object()),
    ],
)
async def test_nonsense_is_no_plan(made):
    """The request fails with a sentence, and an event tells the chat."""
    assert await planned(made) == FailedRequest(
        NO_RESULT, (NewEvent("plan_failed", {"reason": NO_RESULT}, replaces="plan_requests:1"),)
    )


async def test_the_log_says_what_is_wrong_with_a_plan(capsys):
    """It names the fields without their values."""
    await planned(plan(step(due="next Friday, when Ann is back")))

    logged = "".join(capsys.readouterr())
    assert "steps.0.due" in logged
    assert "Ann is back" not in logged


async def test_a_planner_chooses_what_the_user_reads():
    """PlanError's text goes to the row and to the chat."""
    text = "The lead is closed."

    assert await planned(PlanError(text)) == FailedRequest(
        text, (NewEvent("plan_failed", {"reason": text}, replaces="plan_requests:1"),)
    )


class Planner:
    """A planner as an object with a plain method."""

    def generate_plan(self, row):
        return plan(summary=row.lead_name)


@pytest.mark.parametrize("planner", [Planner(), Planner, Planner().generate_plan])
async def test_a_planner_is_an_object_or_a_class_or_a_function(planner):
    """PLANNER may name any of them."""
    table = plan_table(planner, timeout=5, concurrency=1, reminder_time=NINE)

    outcome = await RequestHandler(table, max_attempts=3)(request(), Stopwatch())

    assert outcome.result["summary"] == "Ann"


def test_what_cannot_be_called_is_no_planner():
    """It fails at the start."""
    with pytest.raises(TypeError, match="generate_plan"):
        plan_table({"steps": []}, timeout=5, concurrency=1, reminder_time=NINE)


async def test_the_time_a_planner_took_counts():
    """What became due while it worked is due at once."""
    due = NOON + timedelta(milliseconds=20)

    def slow(_):
        import time as clock

        clock.sleep(0.05)
        return plan(step(due=due.isoformat()))

    table = plan_table(slow, timeout=5, concurrency=1, reminder_time=NINE)
    outcome = await RequestHandler(table, max_attempts=3)(request(), Stopwatch())

    assert outcome.events[1].deliver_after is None


def test_a_request_knows_its_users_day():
    """Now is by the database's clock, today by the user's calendar."""
    late = request(claimed_at=datetime(2026, 11, 23, 23, tzinfo=UTC))

    assert late.today == date(2026, 11, 23)
    assert late.model_copy(update={"payload": {"tz": "Europe/Kyiv"}}).today == date(2026, 11, 24)


@pytest.mark.parametrize("payload", [None, 3, "x", [1]])
def test_a_payload_that_is_no_object_is_an_empty_one(payload):
    """A Mini App may write anything into it."""
    assert request(payload=payload).payload == {}


def test_what_the_user_may_not_see_is_no_column():
    """Every planner knows whether the user may see the lead; a row without the answer means no."""
    assert request(lead_visible=True).lead_visible
    assert not request().lead_visible
    assert "lead_visible" not in request(lead_visible=True).columns


def test_columns_of_your_own_come_along():
    """A row has all columns of its table."""
    assert request(proof_url="https://example.org/1").columns == {
        "proof_url": "https://example.org/1"
    }
