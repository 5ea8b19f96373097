"""A request table as a queue: each claimed row is parsed on its own."""

import json
from datetime import UTC, datetime

import pytest

from realtime_bridge.credentials.redaction import Redactor
from realtime_bridge.database.rpc import Unavailable
from realtime_bridge.outcomes import Retry
from realtime_bridge.request_tables.request import Completed, FailedRequest, NewEvent, Request
from realtime_bridge.request_tables.request_queue import RequestQueue
from tests.unit.test_queue import Scripted, be_away, be_strange, refuse

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC).isoformat()
DEEP = "[" * 10_000 + "]" * 10_000


def columns(**more):
    """A request's columns as claim_tma_requests hands them over."""
    return {"telegram_id": 7, "created_at": NOON, "claimed_at": NOON, "goal": "a plan"} | more


def claimed(id_=1, request=None):
    return {"id": id_, "attempt": 2, "request": request or json.dumps(columns())}


def queue(rpc, redact=None):
    return RequestQueue(rpc, "plan_requests", redact=redact or Redactor())


async def test_a_request_has_its_columns_and_its_token():
    """The token is the claim's: no column can replace it."""
    rpc = Scripted([claimed(3, json.dumps(columns(id=99, attempt=99)))])

    (request,) = (await queue(rpc).claim(1)).rows

    assert (request.id, request.attempt, request.telegram_id) == (3, 2, 7)
    assert request.columns == {"goal": "a plan"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (DEEP, "request (it is nested deeper than 100 levels)"),
        (f'{{"a": {"9" * 4_301}}}', "request (a number has too many digits)"),
        ('{"a": 1e16000}', "request (a number is too large)"),
        ("[]", "request (it is no object)"),
        ("null", "request (it is no object)"),
        (json.dumps(columns(telegram_id="x", lead_id={})), "telegram_id, lead_id"),
        (json.dumps(columns(created_at="infinity")), "created_at"),
    ],
)
@pytest.mark.parametrize(
    "settle", [None, refuse, be_away, be_strange, lambda _: 7], ids=lambda one: str(one)[:12]
)
async def test_a_request_that_cannot_be_read_ends_alone(text, reason, settle):
    """It fails with the reason; even if that cannot be written, the others are handed out."""
    rpc = Scripted([claimed(1, text), claimed(2)], settle)

    requests = (await queue(rpc).claim(2)).rows

    assert [one.id for one in requests] == [2]
    error = f"the bridge cannot read: {reason}"
    assert rpc.settled == [{"id": 1, "attempt": 2, "status": "failed", "error": error}]


@pytest.mark.parametrize("row", [None, 7, [], {"id": 1, "request": "{}"}])
async def test_a_row_without_a_token_is_left_alone(row):
    """Nobody could settle it."""
    rpc = Scripted([row, claimed(2)])

    assert [one.id for one in (await queue(rpc).claim(2)).rows] == [2]
    assert rpc.settled == []


@pytest.mark.parametrize("answer", [None, 7, "rows", {"id": 1}])
async def test_nonsense_in_place_of_rows_is_no_answer(answer):
    """It counts as no answer, so the queue is asked again."""
    with pytest.raises(Unavailable, match="cannot use"):
        await queue(Scripted(answer)).claim(2)


@pytest.mark.parametrize(
    "outcome",
    [FailedRequest("not with sb_secret_Zq3vX8kLm2"), Retry("not with sb_secret_Zq3vX8kLm2")],
)
async def test_what_is_stored_as_error_holds_no_secret(outcome):
    """The user may read it."""
    rpc = Scripted([])
    request = Request.model_validate(columns(id=1, attempt=1))

    await queue(rpc, Redactor(["sb_secret_Zq3vX8kLm2PwRt"])).settle(request, outcome)

    assert rpc.settled[0]["error"] == "not with [secret]"


async def test_every_call_names_the_table():
    """The functions are the same for all request tables."""
    calls = []

    class Listening:
        async def call(self, function, arguments):
            calls.append((function, arguments.pop("p_table"), arguments))
            return []

    request = Request.model_validate(columns(id=1, attempt=1))
    lane = RequestQueue(Listening(), "draft_requests")
    await lane.claim(3)
    await lane.settle(request, Completed({}))
    await lane.release([request])
    await lane.report(request, NewEvent("draft_progress"))

    assert {table for _, table, _ in calls} == {"draft_requests"}
    assert [(function, list(arguments)) for function, _, arguments in calls] == [
        ("claim_tma_requests", ["p_limit"]),
        ("settle_tma_requests", ["p_outcomes"]),
        ("release_tma_requests", ["p_claims"]),
        ("report_tma_progress", ["p_id", "p_attempt", "p_event"]),
    ]


class Answering:
    """An Rpc with one answer to everything; it keeps the arguments."""

    def __init__(self, answer):
        self.answer = answer
        self.calls = []

    async def call(self, _, arguments):
        self.calls.append(arguments)
        return self.answer


@pytest.mark.parametrize(("answer", "held"), [(True, True), (False, False), (None, False)])
async def test_a_report_has_the_token_and_says_whether_it_counts(answer, held):
    """The database decides by the claim's attempt."""
    rpc = Answering(answer)
    request = Request.model_validate(columns(id=3, attempt=2))

    assert await queue(rpc).report(request, NewEvent("plan_progress", {"text": "x"})) is held

    (call,) = rpc.calls
    assert (call["p_id"], call["p_attempt"]) == (3, 2)
    assert (call["p_event"]["event_type"], call["p_event"]["payload"]) == (
        "plan_progress",
        {"text": "x"},
    )


async def test_an_event_says_how_it_is_sent():
    """Options, what it replaces and its class travel with the answer."""
    rpc = Answering([3])
    request = Request.model_validate(columns(id=3, attempt=2))
    event = NewEvent("ready", options={"silent": True}, replaces="draft:3", priority=1)

    assert await queue(rpc).settle(request, Completed({}, [event]))

    (sent,) = rpc.calls[0]["p_outcomes"][0]["events"]
    assert (sent["options"], sent["replaces"], sent["priority"]) == (
        {"silent": True},
        "draft:3",
        1,
    )
