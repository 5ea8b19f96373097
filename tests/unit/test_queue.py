"""What each outcome means for its row, and which rows are not handed out at all."""

import asyncio
import json
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from realtime_bridge.credentials.redaction import Redactor
from realtime_bridge.database.rpc import Refused, Unavailable
from realtime_bridge.model import SendOptions
from realtime_bridge.outcomes import Cause, Failed, Failure, Halted, Lost, Retry, Sent, Uncertain
from realtime_bridge.settings import Delivery
from realtime_bridge.worker.event_queue import EventQueue
from realtime_bridge.worker.event_reader import read
from realtime_bridge.worker.settling import Policy, Settlement, settlement
from tests.unit.rows import event

ONCE = Policy(Delivery.AT_MOST_ONCE, max_attempts=3)
LEAST = Policy(Delivery.AT_LEAST_ONCE, max_attempts=3)


DEEP = "[" * 10_000 + "]" * 10_000


def pending(error, retry_in, *, counted):
    return Settlement(1, 1, "pending", error=error, retry_in=retry_in, counted=counted)


def failed(failure, error):
    return Settlement(1, 1, "failed", failure=failure, error=error)


@pytest.mark.parametrize(
    ("outcome", "retries", "policy", "expected"),
    [
        (Sent(7), 0, ONCE, Settlement(1, 1, "delivered", message_id=7)),
        (Failed(Failure.BLOCKED, "x"), 0, ONCE, failed(Failure.BLOCKED, "x")),
        (Uncertain("x"), 0, ONCE, failed(Failure.UNCERTAIN, "x")),
        (Uncertain("x"), 0, LEAST, pending("may have been sent: x", 9.0, counted=True)),
        (
            Uncertain("x"),
            2,
            LEAST,
            failed(Failure.EXHAUSTED, "3 attempts; last: may have been sent: x"),
        ),
        (Retry("x"), 0, ONCE, pending("x", 9.0, counted=True)),
        (Retry("x", after=4.0), 0, ONCE, pending("x", 4.0, counted=True)),
        (Retry("x"), 2, ONCE, failed(Failure.EXHAUSTED, "3 attempts; last: x")),
        (Retry("x", after=5.0, counted=False), 99, ONCE, pending("x", 5.0, counted=False)),
        (Halted("x"), 99, ONCE, pending("x", 0.0, counted=False)),
        (
            Retry("x", after=5.0, counted=False, cause=Cause.TELEGRAM_PAUSE),
            0,
            ONCE,
            replace(pending("x", 5.0, counted=False), pause=5.0),
        ),
        (
            Retry("x", after=0.0, counted=False, cause=Cause.EDIT_LOST),
            99,
            ONCE,
            replace(pending("x", 0.0, counted=False), edit_lost=True),
        ),
        (
            Sent(7, moved_to=-9),
            0,
            ONCE,
            Settlement(1, 1, "delivered", message_id=7, moved_to=-9),
        ),
        (
            Uncertain("x", moved_to=-9),
            0,
            ONCE,
            replace(failed(Failure.UNCERTAIN, "x"), moved_to=-9),
        ),
        (Lost(), 0, ONCE, None),
    ],
)
def test_an_outcome_decides_the_row(outcome, retries, policy, expected):
    """Every outcome, in both delivery modes, before and at the last attempt."""
    row = event(retries=retries, attempt=1)

    assert settlement(row, outcome, policy, wait=lambda _: 9.0) == expected


def claimed(**fields):
    """A row as claim_tma_events gives it: its payload is text."""
    row = event(**fields).model_dump(mode="json")
    return row | {"payload": json.dumps(row["payload"])}


def test_a_row_that_can_be_read_is_an_event():
    """The usual case."""
    assert read(claimed(id=3), max_attempts=5) == event(id=3)


def test_a_row_that_cannot_be_read_ends_with_the_reason():
    """It would come back for ever."""
    end = read(claimed(id=3, attempt=2) | {"event_type": None}, max_attempts=5)

    assert end == Settlement(
        3, 2, "failed", failure=Failure.INVALID, error="the bridge cannot read: event_type"
    )


def test_a_row_whose_workers_keep_dying_ends():
    """A message that kills whoever renders it must not do so for ever."""
    end = read(claimed(id=3, attempt=6, retries=5), max_attempts=5)

    assert end.failure is Failure.EXHAUSTED
    assert read(claimed(id=3, attempt=6, retries=4), max_attempts=5) == event(
        id=3, attempt=6, retries=4
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 10_000 + "]" * 10_000, "it is nested deeper than 100 levels"),
        ('{"a":' * 101 + "1" + "}" * 101, "it is nested deeper than 100 levels"),
        ("9" * 4_301, "a number has too many digits"),
        ('{"a": 1e16000}', "a number is too large"),
        ('{"a": NaN}', "NaN and Infinity are not JSON"),
        ('{"cut": "of', "it is not JSON"),
        ("[1,".ljust(2**17, " "), "it is longer than 128 KiB"),
        ("", "it is not JSON"),
        ({"not": "text"}, "it is not text"),
    ],
)
def test_a_payload_that_cannot_be_read_ends_the_row_with_the_reason(text, reason):
    """Whoever wrote it can read why."""
    end = read(claimed(id=3, attempt=2) | {"payload": text}, max_attempts=5)

    why = f"the bridge cannot read: payload ({reason})"
    assert end == Settlement(3, 2, "failed", failure=Failure.INVALID, error=why)


@pytest.mark.parametrize(
    ("text", "payload"),
    [
        ('{"a": 1, "a": 2}', {"a": 2}),
        ("[" * 100 + "]" * 100, None),
        ("-" + "9" * 4_300, None),
        ("0." + "9" * 100_000, {"value": 1.0}),
        ("1e-400", {"value": 0.0}),
        ('"\\ud800"', {"value": "\ud800"}),
        ("null", {}),
        (None, {}),
    ],
)
def test_a_payload_that_is_merely_strange_is_read(text, payload):
    """And whatever was read can be written again."""
    row = read(claimed() | {"payload": text}, max_attempts=5)

    assert payload in (None, row.payload)
    assert json.loads(json.dumps(row.payload)) == row.payload
    assert repr(row)


def part(**fields):
    """A gathered row as claim_tma_events gives it."""
    row = claimed(**fields)
    names = ("id", "lead_id", "lead_name", "payload", "created_at", "deliver_after")
    return {name: row[name] for name in names}


def test_a_row_has_its_options_the_message_it_edits_and_what_goes_with_it():
    """As the database tells them."""
    options = {"silent": True, "thread": 7, "an option of tomorrow": {}}
    gathered = [part(id=4, payload={"n": 1}), part(id=5, lead_name="Bob")]

    row = read(claimed() | {"options": options, "edits": 9, "gathered": gathered}, max_attempts=5)

    assert row.options == SendOptions(silent=True, thread=7)
    assert row.edits == 9
    assert [one.id for one in row.gathered] == [4, 5]
    assert row.gathered[0].payload == {"n": 1}
    assert row.gathered[1].lead_name == "Bob"


def test_a_row_without_them_is_an_ordinary_one():
    """Also by a database that says null."""
    row = read(claimed() | {"options": None, "edits": None, "gathered": None}, max_attempts=5)

    assert row == event()
    assert (row.options, row.edits, row.gathered) == (SendOptions(), None, ())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("options", 7),
        ("options", {"silent": 1}),
        ("options", {"thread": 2**31}),
        ("options", {"thread": True}),
        ("edits", 0),
        ("edits", -1),
        ("edits", 2**63),
        ("edits", "x"),
    ],
)
def test_how_a_row_is_sent_is_not_guessed(name, value):
    """The table lets none of these in; a second message would be worse than none."""
    end = read(claimed() | {name: value}, max_attempts=5)

    assert (end.failure, end.error) == (Failure.INVALID, f"the bridge cannot read: {name}")


@pytest.mark.parametrize("text", [DEEP, '{"a": 1e400}', '{"cut": "of', {"not": "text"}])
def test_a_payload_that_cannot_be_read_spoils_no_message_of_several(text):
    """What is known of its row is told; alone, it ends its row."""
    bad = {"payload": text}
    gathered = [part(id=4, lead_name="Bob") | bad, part(id=5, payload={"n": 1})]

    row = read(claimed(id=3) | {"gathered": gathered}, max_attempts=5)
    led_by_it = read(claimed(id=3) | bad | {"gathered": gathered}, max_attempts=5)

    assert [(one.id, one.payload) for one in row.gathered] == [(4, {}), (5, {"n": 1})]
    assert row.gathered[0].lead_name == "Bob"
    assert (led_by_it.payload, led_by_it.gathered) == ({}, row.gathered)


@pytest.mark.parametrize("bad", [None, 7, [], {}, {"id": "x"}, part(id=4) | {"created_at": "x"}])
def test_a_gathered_row_of_nonsense_spoils_no_message(bad):
    """It is left out, and the log says so."""
    with capture_logs() as logs:
        row = read(claimed() | {"gathered": [bad, part(id=5)]}, max_attempts=5)

    assert [one.id for one in row.gathered] == [5]
    assert [line["event"] for line in logs] == ["gathered_row_left_out"]


@pytest.mark.parametrize("gathered", [7, "x", {}, []])
def test_rows_that_are_no_list_are_none(gathered):
    """The claimed row is sent as ever."""
    assert read(claimed() | {"gathered": gathered}, max_attempts=5) == event()


class Scripted:
    """A database that claims what it is told to, and keeps what is settled."""

    def __init__(self, answer, settle=None):
        self.answer = answer
        self.settled = []
        self._settle = settle or (lambda outcomes: [one["id"] for one in outcomes])

    async def call(self, function, arguments):
        if function == "claim_tma_events" and isinstance(self.answer, list):
            return {"rows": self.answer}
        if function.startswith("claim"):
            return self.answer
        self.settled += arguments["p_outcomes"]
        return self._settle(arguments["p_outcomes"])


async def test_a_row_that_cannot_be_read_costs_the_others_nothing():
    """It is the only one that is settled, and at once."""
    innocent = [claimed(id=id_) for id_ in range(2, 32)]
    rpc = Scripted([claimed(id=1) | {"payload": DEEP}, *innocent])
    ended = []
    queue = EventQueue(rpc, policy=ONCE, ended=lambda *end: ended.append(end))

    events = (await queue.claim(64)).rows

    assert [one.id for one in events] == list(range(2, 32))
    assert [(one["id"], one["failure"]) for one in rpc.settled] == [(1, "invalid")]
    assert ended == [(Failure.INVALID, 1)]


async def test_rows_that_end_with_an_unreadable_one_are_counted():
    """They are settled together."""
    row = claimed(id=1) | {"event_type": None, "gathered": [part(id=2), part(id=3)]}
    ended = []
    queue = EventQueue(Scripted([row]), policy=ONCE, ended=lambda *end: ended.append(end))

    await queue.claim(4)

    assert ended == [(Failure.INVALID, 3)]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"muted": 2, "blocked": 1}, [("muted", 2), ("blocked", 1)]),
        ({}, []),
        (None, []),
        (7, []),
        ({"muted": -1, "blocked": "x", "other": 3}, []),
        ({"muted": True}, []),
    ],
)
async def test_rows_that_the_claim_has_ended_are_counted(said, told):
    """Nobody else would; a strange count costs no row."""
    ended = []
    rpc = Scripted({"rows": [claimed()], "ended": said})
    queue = EventQueue(rpc, policy=ONCE, ended=lambda *end: ended.append(end))

    claim = await queue.claim(4)

    assert ended == told
    assert len(claim.rows) == 1


def refuse(_outcomes):
    raise Refused("cannot settle", "")


def be_away(_outcomes):
    raise Unavailable("no answer")


def be_strange(_outcomes):
    raise ArithmeticError("a bug")


@pytest.mark.parametrize("settle", [refuse, be_away, be_strange, lambda _: 7, lambda _: "nonsense"])
async def test_a_bad_row_that_cannot_be_settled_costs_the_others_nothing(settle):
    """It comes back after its lease."""
    rpc = Scripted([claimed(id=1) | {"payload": DEEP}, claimed(id=2)], settle)

    events = (await EventQueue(rpc, policy=ONCE).claim(2)).rows

    assert [one.id for one in events] == [2]


@pytest.mark.parametrize(
    "row", [None, 7, "row", [], {}, {"id": 1}, {"attempt": 1}, {"id": "x", "attempt": 1e400}]
)
async def test_a_row_without_a_token_is_left_alone(row):
    """Nobody could settle it."""
    rpc = Scripted([row, claimed(id=2)])

    events = (await EventQueue(rpc, policy=ONCE).claim(2)).rows

    assert [one.id for one in events] == [2]
    assert rpc.settled == []


@pytest.mark.parametrize("answer", [None, 7, "rows", {"id": 1}, True])
async def test_a_claim_that_is_answered_by_nonsense_is_asked_again(answer):
    """As if nobody had answered."""
    with pytest.raises(Unavailable, match="cannot use"):
        await EventQueue(Scripted(answer), policy=ONCE).claim(2)


async def test_what_is_stored_as_error_holds_neither_secrets_nor_addresses():
    """The user may read it; nor does it hold what the database cannot."""
    rpc = Scripted([])
    redact = Redactor(["sb_secret_Zq3vX8kLm2PwRt"], ["https://abc.supabase.co"])
    queue = EventQueue(rpc, policy=ONCE, redact=redact)
    said = "x\x00y\ud800 sb_secret_Zq3vX8kLm2 at https://abc.supabase.co/rest/v1 " + "z" * 9_000

    await queue.settle(event(), Failed(Failure.REJECTED, said))

    error = rpc.settled[0]["error"]
    assert error.startswith("x y? [secret] at [address] zzz")
    assert len(error) <= 600


class OneBadApple:
    """A database that refuses every batch with the outcome of row 2 in it."""

    def __init__(self):
        self.batches = []

    async def call(self, function, arguments):
        ids = [one["id"] for one in arguments["p_outcomes"]]
        self.batches.append(ids)
        if 2 in ids:
            raise Refused("cannot settle", "")
        return ids


async def test_an_outcome_that_is_refused_does_not_take_others_with_it():
    """They share a call; the database refuses a batch as a whole."""
    rpc = OneBadApple()
    queue = EventQueue(rpc, policy=ONCE)

    held = await asyncio.gather(
        *(queue.settle(event(id=number), Sent(number)) for number in (1, 2, 3))
    )

    assert held == [True, False, True]
    assert [1, 2, 3] in rpc.batches or [2, 3] in rpc.batches


class Locked:
    """A database that refuses every call with this status."""

    def __init__(self, status):
        self.status, self.calls = status, 0

    async def call(self, function, arguments):
        self.calls += 1
        raise Refused("Supabase refused the key", "", status=self.status)


async def test_outcomes_are_kept_while_every_call_is_refused():
    """A key that was revoked says nothing of any row: all are asked about again, none is lost."""
    queue = EventQueue(locked := Locked(401), policy=ONCE)

    answers = await asyncio.gather(
        *(queue.settle(event(id=n), Sent(n)) for n in range(5)), return_exceptions=True
    )

    assert [type(answer) for answer in answers] == [Refused] * 5
    assert locked.calls <= 2
