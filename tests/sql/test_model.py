"""Workers doing anything in any order: the SQL does what the reference in outbox.py says.

That reference holds the promises: a claim is started once, a settled row is changed by an operator
only, a lost token opens nothing, a chat goes in order, and no row is ever out of reach.
"""

from collections import Counter
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.sql.outbox import DIGEST, Outbox, Outcome, Times, Token, outcome
from tests.sql.support import Connection, Worker, insert, put_back

OUTCOMES = st.sampled_from(
    [
        outcome("delivered", message_id=7),
        outcome("failed", failure="rejected"),
        outcome("failed", failure="uncertain"),
        outcome("pending"),
        outcome("pending", retry_in=600),
        outcome("pending", retry_in=600, counted=True),
    ]
)

PROFILE = settings(
    max_examples=60,
    stateful_step_count=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


PRIORITIES = st.sampled_from([0, 0, 1, -1])
TYPES = st.sampled_from(["x", DIGEST])
WINDOW = 1800  # seconds; longer than what is inserted lies back, or as long ago
# Which token or row: mostly a recent one, where things happen, but old ones too.
RECENT = st.one_of(st.integers(0, 2), st.integers(0, 9))


class Workers(RuleBasedStateMachine):
    """Several workers and an operator; a token is used by whoever has it, as often as he likes."""

    database: Connection
    worker: Worker

    def __init__(self) -> None:
        super().__init__()
        # Every tenth turn is bulk's, so some of the first are.
        self.database.execute(
            "delete from tma_events; delete from bridge.chats; delete from tma_chat_settings;"
            " update bridge.bot_pace set turns = 8"
        )
        self.model = Outbox(turns=8)
        self.keys: list[UUID] = []
        self.rows: list[int] = []
        self.tokens: list[Token] = []
        self.starts: Counter[Token] = Counter()

    @rule(chat=st.integers(1, 3), due_in=st.sampled_from([-3600, -30, 0, 600]), priority=PRIORITIES)
    def insert(self, chat: int, due_in: float, priority: int) -> None:
        """A Mini App or a service inserts: now, with an earlier place, or for later."""
        self.add("x", chat, due_in, priority)

    def add(self, event_type: str, chat: int, due_in: float, priority: int) -> None:
        """Insert a row."""
        event = insert(
            self.database,
            telegram_id=chat,
            due_in=due_in,
            priority=priority,
            event_type=event_type,
        )
        self.model.insert(event, chat, priority, event_type)
        self.rows.append(event)

    @precondition(lambda self: self.rows)
    @rule(limit=st.integers(1, 4), start_now=st.integers(0, 2))
    def claim(self, limit: int, start_now: int) -> None:
        """A worker claims."""
        self.keys.append(uuid4())
        for token, started, _ in self.claim_under(self.keys[-1], limit, start_now):
            self.tokens.append(token)
            self.starts[token] += started

    @precondition(lambda self: self.keys)
    @rule(which=RECENT, limit=st.integers(1, 4), start_now=st.integers(0, 2))
    def claim_again(self, which: int, limit: int, start_now: int) -> None:
        """A worker has not got the answer, or a call arrives twice."""
        self.claim_under(recent(self.keys, which), limit, start_now)

    @precondition(lambda self: self.rows)
    @rule(limit=st.integers(1, 4), outcome=OUTCOMES)
    def work(self, limit: int, outcome: Outcome) -> None:
        """A worker claims and settles: how most rows get on."""
        self.claim(limit, start_now=limit)
        for row in self.model.claims[self.keys[-1]]:
            self.settle_token(row, outcome)

    @precondition(lambda self: self.rows)
    @rule(limit=st.integers(1, 4))
    def ask_late(self, limit: int) -> None:
        """A worker asks again when what it had claimed has been handed back, and claimed anew."""
        self.claim(limit, start_now=0)
        key = self.keys[-1]
        for row in self.model.claims[key]:
            self.release_token(row, unsent=False)
        self.claim(limit, start_now=0)
        self.claim_under(key, limit, 0)

    @precondition(lambda self: self.rows)
    @rule(limit=st.integers(1, 4), unsent=st.booleans())
    def stop(self, limit: int, *, unsent: bool) -> None:
        """A worker is told to stop when it has started what it claimed."""
        self.claim(limit, start_now=limit)
        for row in self.model.claims[self.keys[-1]]:
            self.start_token(row)
            self.release_token(row, unsent=unsent)

    @precondition(lambda self: self.rows)
    @rule(limit=st.integers(1, 4), outcome=OUTCOMES)
    def settle_late(self, limit: int, outcome: Outcome) -> None:
        """A worker settles what it handed back, and somebody else has claimed."""
        self.claim(limit, start_now=0)
        old = list(self.model.claims[self.keys[-1]])
        for row in old:
            self.release_token(row, unsent=False)
        self.claim(limit, start_now=0)
        for row in old:
            self.start_token(row)
            self.settle_token(row, outcome)

    def claim_under(
        self, key: UUID, limit: int, start_now: int
    ) -> list[tuple[Token, bool, list[int]]]:
        """What this claim brings, which is what is expected."""
        expected = self.model.claim(key, limit, start_now, self.times())
        rows = self.worker.claim(limit, key=key, start_now=start_now, digests={DIGEST: WINDOW})
        claimed = [
            (
                (row["id"], row["attempt"]),
                row["started"],
                [part["id"] for part in row["gathered"] or []],
            )
            for row in rows
        ]
        assert claimed == expected
        return claimed

    @precondition(lambda self: self.tokens)
    @rule(which=RECENT, held=st.booleans())
    def start(self, which: int, *, held: bool) -> None:
        """A worker asks whether it may send."""
        self.start_token(self.token(which, held=held))

    def start_token(self, token: Token) -> None:
        """Whether it may be sent is as expected, and it may once."""
        passed = self.worker.start(as_claim(token)) == {token[0]}
        assert passed == self.model.start(token)
        self.starts[token] += passed
        assert self.starts[token] <= 1

    @precondition(lambda self: self.tokens)
    @rule(which=RECENT, held=st.booleans(), outcome=OUTCOMES)
    def settle(self, which: int, outcome: Outcome, *, held: bool) -> None:
        """A worker says how it ended."""
        self.settle_token(self.token(which, held=held), outcome)

    def settle_token(self, token: Token, outcome: Outcome) -> None:
        """What is accepted is what is expected."""
        accepted = self.worker.settle(as_claim(token) | outcome.written) == {token[0]}
        assert accepted == self.model.settle(token, outcome)

    @precondition(lambda self: self.tokens)
    @rule(which=RECENT, held=st.booleans(), unsent=st.booleans())
    def release(self, which: int, *, held: bool, unsent: bool) -> None:
        """A worker stops; it may know that it has not sent what it has started."""
        self.release_token(self.token(which, held=held), unsent=unsent)

    def release_token(self, token: Token, *, unsent: bool) -> None:
        """What is handed back is what is expected."""
        released = self.worker.release(as_claim(token), unsent=unsent) == {token[0]}
        assert released == self.model.release(token, unsent=unsent)

    @precondition(lambda self: self.tokens)
    @rule(which=RECENT)
    def expire(self, which: int) -> None:
        """A worker dies, or sleeps past its lease and wakes up later."""
        event_id, _ = self.token(which, held=True)
        event = self.model.events.get(event_id)
        if event and event.status == "processing":
            self.model.expire(event_id)
            self.database.execute(
                "update tma_events set claimed_at = claimed_at - interval '1 hour',"
                " send_started_at = send_started_at - interval '1 hour' where id = %s",
                [event_id],
            )

    @precondition(lambda self: self.tokens)
    @rule(resend=st.booleans())
    def recover(self, *, resend: bool) -> None:
        """The sweep."""
        counts = self.worker.recover(120, resend=resend)
        assert (counts["returned"], counts["resent"], counts["uncertain"]) == self.model.recover(
            resend=resend
        )

    @precondition(lambda self: self.rows)
    @rule(which=RECENT)
    def become_due(self, which: int) -> None:
        """The time of a scheduled row, or of a retry, comes."""
        row = recent(self.rows, which)
        event = self.model.events.get(row)
        if event and event.status == "pending" and not self.times()[row].due:
            put_back(self.database, WINDOW + 601, row)

    @precondition(lambda self: self.rows)
    @rule(which=st.lists(RECENT, max_size=3), ended=st.booleans())
    def retry(self, which: list[int], *, ended: bool) -> None:
        """An operator gives failed rows another chance, among rows that ended or among all."""
        rows = (ended and self.ended()) or self.rows
        self.retry_rows([recent(rows, at) for at in which])

    @precondition(lambda self: self.rows)
    @rule(limit=st.integers(1, 4), outcome=OUTCOMES)
    def retry_at_once(self, limit: int, outcome: Outcome) -> None:
        """What has just ended, whichever way."""
        self.work(limit, outcome)
        self.retry_rows([event for event, _ in self.model.claims[self.keys[-1]]])

    def retry_rows(self, ids: list[int]) -> None:
        """Those that get another chance are those that are expected."""
        retried = self.database.execute("select retry_tma_events(%s) as id", [ids]).fetchall()
        assert {row["id"] for row in retried} == self.model.retry(ids)

    @precondition(lambda self: self.ended())
    @rule()
    def purge(self) -> None:
        """An operator deletes settled rows."""
        (row,) = self.worker.call("purge_tma_events", "0", 1000)
        assert row["answer"] == self.model.purge()

    @invariant()
    def same(self) -> None:
        """Every row is as the reference says: nothing else has changed, nothing is gone."""
        rows = self.database.execute(
            "select id, status, attempt, retries, send_started_at is not null"
            " and status = 'processing' as started, failure, message_id, gathered_into"
            " from tma_events"
        ).fetchall()
        expected = [
            {
                "id": e.id,
                "status": e.status,
                "attempt": e.attempt,
                "retries": e.retries,
                "started": e.started and e.status == "processing",
                "failure": e.failure,
                "message_id": e.message_id,
                "gathered_into": e.gathered_into,
            }
            for e in self.model.events.values()
        ]
        assert sorted(rows, key=row_id) == sorted(expected, key=row_id)

    def teardown(self) -> None:
        """Whatever state this ended in, one worker alone can finish every row."""
        self.database.execute(
            "update tma_events set claimed_at = claimed_at - interval '1 hour'"
            " where status = 'processing'"
        )
        self.worker.recover(120)
        self.database.execute(
            "update tma_events set deliver_after = least(deliver_after, now()), retry_at = null"
        )
        while (answer := self.worker.ask())["rows"] or answer["ended"]:
            claimed = answer["rows"]
            assert self.worker.start(*claimed) == {row["id"] for row in claimed}
            self.worker.settle(
                *(
                    as_claim((r["id"], r["attempt"])) | {"status": "delivered", "message_id": 1}
                    for r in claimed
                )
            )
        left = self.database.execute("select id from tma_events where settled_at is null")
        assert left.fetchall() == []

    def ended(self) -> list[int]:
        """The rows that are settled."""
        return [e.id for e in self.model.events.values() if e.status in ("delivered", "failed")]

    def token(self, which: int, *, held: bool) -> Token:
        """One of those that are still good, if there are any; or one of all."""
        good = [token for token in self.tokens if self.model.holds(token)] if held else []
        return recent(good or self.tokens, which)

    def times(self) -> dict[int, Times]:
        """What only the database knows: its clock's view of the open rows."""
        rows = self.database.execute(
            "select id, deliver_after, coalesce(retry_at, deliver_after) as goes_at,"
            " coalesce(retry_at, deliver_after) <= now() as due, deliver_after <= now() as was_due,"
            " deliver_after > now() - make_interval(secs => %s) as gathering from tma_events",
            [WINDOW],
        )
        return {
            r["id"]: Times(
                (r["deliver_after"], r["id"]),
                (r["goes_at"], r["id"]),
                r["due"],
                r["was_due"],
                r["gathering"],
            )
            for r in rows
        }


class Crowds(Workers):
    """The same with chats of more rows than claims look at, and rows that are deleted and moved."""

    @rule(
        chat=st.integers(1, 3),
        rows=st.integers(5, 9),
        due_in=st.sampled_from([-30, 0, 600]),
        priority=PRIORITIES,
    )
    def insert_many(self, chat: int, rows: int, due_in: float, priority: int) -> None:
        """A backend inserts by one statement."""
        inserted = self.database.execute(
            "insert into tma_events (telegram_id, event_type, deliver_after, priority)"
            " select %s, 'x', now() + make_interval(secs => %s), %s from generate_series(1, %s)"
            " returning id",
            [chat, due_in, priority, rows],
        ).fetchall()
        for row in inserted:
            self.model.insert(row["id"], chat, priority)
            self.rows.append(row["id"])

    @rule(chat=st.integers(1, 3), rows=st.integers(5, 9), priority=PRIORITIES, passing=PRIORITIES)
    def pass_by(self, chat: int, rows: int, priority: int, passing: int) -> None:
        """Many rows come in before one, which may be of another class; it is claimed in turn."""
        self.insert(chat, 0, priority)
        self.insert_many(chat, rows, -90, passing)
        self.claim(limit=4, start_now=0)

    @rule(chat=st.integers(1, 3), rows=st.integers(3, 5))
    def delete(self, chat: int, rows: int) -> None:
        """Somebody deletes the first rows of a chat that wait."""
        ids = self.waiting(chat)[:rows]
        self.database.execute("delete from tma_events where id = any (%s)", [ids])
        self.model.delete(ids)

    @rule(
        chat=st.integers(1, 3),
        rows=st.integers(1, 5),
        due_in=st.sampled_from([-90, 0, 600]),
        to=st.integers(1, 3),
    )
    def move(self, chat: int, rows: int, due_in: float, to: int) -> None:
        """An operator gives them another time and chat; those behind them move up by the sweep."""
        ids = self.waiting(chat)[:rows]
        self.database.execute(
            "update tma_events set telegram_id = %s,"
            " deliver_after = now() + make_interval(secs => %s) where id = any (%s)",
            [to, due_in, ids],
        )
        self.model.move(ids, to)
        self.database.execute("select bridge.promote_all_events()")

    @rule(chat=st.integers(1, 3), rows=st.integers(1, 5), priority=PRIORITIES)
    def prioritise(self, chat: int, rows: int, priority: int) -> None:
        """The service gives rows that wait another class."""
        ids = self.waiting(chat)[:rows]
        self.database.execute(
            "update tma_events set priority = %s where id = any (%s)", [priority, ids]
        )
        self.model.prioritise(ids, priority)
        self.database.execute("select bridge.promote_all_events()")

    def waiting(self, chat: int) -> list[int]:
        """The pending rows of a chat, the next first."""
        times = self.times()
        events = [e for e in self.model.events.values() if (e.chat, e.status) == (chat, "pending")]
        return sorted((e.id for e in events), key=lambda event: times[event].place)


class Wishes(Workers):
    """The same with rows that are gathered, muted or withdrawn, and users who block the bot."""

    @rule(chat=st.integers(1, 3), due_in=st.sampled_from([-3600, 0, 600]), priority=PRIORITIES)
    def insert_gathered(self, chat: int, due_in: float, priority: int) -> None:
        """Rows of a type that others wait for."""
        for _ in range(2):
            self.add(DIGEST, chat, due_in, priority)

    @rule(chat=st.integers(1, 3), event_type=TYPES, muted=st.booleans())
    def mute(self, chat: int, event_type: str, *, muted: bool) -> None:
        """A user mutes a type, or wants to hear of it again."""
        self.model.mute(chat, event_type, muted=muted)
        self.database.execute(
            "insert into tma_chat_settings (telegram_id, muted) values (%s, %s)"
            " on conflict (telegram_id) do update set muted = excluded.muted",
            [chat, [one for of, one in self.model.muted if of == chat]],
        )

    @precondition(lambda self: self.rows)
    @rule(which=st.lists(RECENT, max_size=3))
    def withdraw(self, which: list[int]) -> None:
        """An operator wants rows not to be sent any more."""
        ids = [recent(self.rows, at) for at in which]
        withdrawn = self.database.execute("select withdraw_tma_events(%s) as id", [ids]).fetchall()
        assert {row["id"] for row in withdrawn} == self.model.withdraw(ids)

    @precondition(lambda self: self.tokens)
    @rule(which=RECENT)
    def hear_that_it_is_blocked(self, which: int) -> None:
        """A user has blocked the bot."""
        blocked = outcome("failed", failure="blocked")
        self.settle_token(self.token(which, held=True), blocked)


def recent(items: list[Any], which: int) -> Any:
    """The last item for 0, the one before for 1, and so on round again."""
    return items[-1 - which % len(items)]


def as_claim(token: Token) -> dict[str, Any]:
    """A token as the functions read it."""
    return {"id": token[0], "attempt": token[1]}


def row_id(row: dict[str, Any]) -> int:
    """To sort by."""
    return int(row["id"])


def run(
    database: Connection,
    worker: Worker,
    kind: type[Workers] = Workers,
    profile: settings = PROFILE,
) -> None:
    """Run a machine in this database."""
    machine = type("Machine", (kind,), {"database": database, "worker": worker})
    run_state_machine_as_test(machine, settings=profile)


@pytest.mark.parametrize("kind", [Workers, Crowds, Wishes])
def test_the_sql_does_what_the_reference_says(
    database: Connection, worker: Worker, kind: type[Workers]
) -> None:
    """In thousands of steps chosen to go wrong."""
    run(database, worker, kind)


DISORDERED = (
    "from (select e.id, e.telegram_id, e.priority, coalesce(e.retry_at, e.deliver_after) as goes_at"
    " from public.tma_events e where e.settled_at is null and not e.behind"
    " and e.status = 'pending' and (select busy.id from public.tma_events busy"
    " where busy.telegram_id = e.telegram_id and busy.status = 'processing'"
    " and busy.gathered_into is null) is null) h"
)

MUTANTS = {
    "hold without the attempt": ("hold_claims", [(" and e.attempt = c.attempt", "")]),
    "hold a row that is settled": ("hold_claims", [("held.status = 'processing'", "true")]),
    "settle without holding": (
        "settle_tma_events",
        [
            ("where o.id = any (v_ids)\n", "\n"),
            ("e.id = any (v_all) and coalesce(e.gathered_into, e.id) = o.id;", "e.id = o.id;"),
            ("held.id = o.id and held.attempt = o.attempt\n", "held.id = o.id\n"),
            ("e.id = o.id and e.attempt = o.attempt\n", "e.id = o.id\n"),
        ],
    ),
    "start twice": ("start_tma_events", [("p_started => false", "p_started => true")]),
    "release what was started": (
        "release_tma_events",
        [("p_started => false", "p_started => true")],
    ),
    "release nothing that was started": (
        "release_tma_events",
        [("p_unsent => true", "p_unsent => false")],
    ),
    "claim out of order": ("lock_heads", [("from bridge.event_heads h", DISORDERED)]),
    "claim with an old token": ("take_heads", [("attempt = e.attempt + 1", "attempt = 1")]),
    "claim more under a key that was used": (
        "claim_once",
        [("on conflict (key) do nothing", "on conflict (key) do update set ids = '{}'")],
    ),
    "tell again what it does not hold": ("claimed_under", [("and e.attempt = taken.attempt", "")]),
    "start more than was asked for": ("give_turns", [("least(v_starting, p_start_now)", "100")]),
    "let a lower class go beside a higher one": (
        "lock_heads",
        [("(p_priority >= 1 or", "(true or"), ("(p_priority >= 0 or", "(true or")],
    ),
    "recover what was started": (
        "recover_tma_events",
        [
            ("e.started and e.edits = 0 as in_doubt", "false as in_doubt"),
        ],
    ),
    "recover without counting": (
        "recover_tma_events",
        [("retries = e.retries + 1", "retries = e.retries")],
    ),
    "recover within the lease": (
        "recover_tma_events",
        [("e.claimed_at < now() - p_lease", "true")],
    ),
    "retry what was delivered": ("retry_tma_events", [("e.status = 'failed' and", "")]),
    "purge what is open": ("purge_tma_events", [("e.settled_at < now() - p_keep", "true")]),
}


CROWDED_MUTANTS = {
    "let nobody move up after a settle": (
        "settle_tma_events",
        [("e.settled_at is not null\n", "false\n")],
    ),
    "let nobody move up after a deletion": (
        "promote_after_delete",
        [("d.settled_at is null and not d.behind", "false")],
    ),
    "let nobody move up by the sweep": (
        "promote_all_events",
        [("select (telegram_id, priority)::bridge.line from lines", "select null::bridge.line")],
    ),
    "move a row to the front": (
        "place_moved_event",
        [("new.behind := exists", "new.behind := not exists")],
    ),
    "give a row of another class a place in line": (
        "place_events",
        [("and p.priority = chats.priority", "")],
    ),
}


WISHED_MUTANTS = {
    "settle the first row of a digest only": (
        "settle_tma_events",
        [("bridge.with_gathered(v_ids)", "v_ids")],
    ),
    "start the first row of a digest only": (
        "start_tma_events",
        [("bridge.with_gathered(v_ids)", "v_ids")],
    ),
    "release the first row of a digest only": (
        "release_tma_events",
        [("bridge.with_gathered(v_ids)", "v_ids")],
    ),
    "gather rows of any type": ("gather_events", [("m.event_type = l.event_type and ", "")]),
    "gather what is due later": ("gather_events", [("and o.deliver_after <= p_now", "")]),
    "let a digest go at once": ("judge_heads", [("gathering.until > p_now", "false")]),
    "send what is muted": ("judge_heads", [("head.event_type = any (own.muted)", "false")]),
    "ask again of a chat that blocked the bot": (
        "judge_heads",
        [("head.priority < 1 and c.blocked_at is not null", "false")],
    ),
    "withdraw what is being sent": ("withdraw_tma_events", [("and e.status = 'pending'", "")]),
}

ALL_MUTANTS = {
    Workers: MUTANTS,
    Crowds: CROWDED_MUTANTS,
    Wishes: WISHED_MUTANTS,
}


# A search ends when it has found the bug; how long that takes is chance, not what is tested.
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("kind", "mutant"), [(kind, one) for kind, mutants in ALL_MUTANTS.items() for one in mutants]
)
def test_a_bug_put_in_on_purpose_is_found(
    database: Connection, worker: Worker, kind: type[Workers], mutant: str
) -> None:
    """The machine would notice if a promise were broken."""
    function, changes = ALL_MUTANTS[kind][mutant]
    row = database.execute(
        "select pg_get_functiondef(oid) as source from pg_proc where proname = %s", [function]
    ).fetchone()
    assert row
    source = row["source"]
    for old, new in changes:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    # It ends with the first that finds the bug; how soon that is depends on what is due when.
    patient = settings(
        PROFILE,
        max_examples=1000,
        phases=[Phase.generate],
        print_blob=False,
        report_multiple_bugs=False,
    )

    database.execute(source)
    try:
        with pytest.raises((AssertionError, psycopg.IntegrityError)) as caught:
            run(database, worker, kind, patient)
    finally:
        database.execute(row["source"])

    assert caught.value
