"""Replays the recordings of a real Realtime server on ours."""

import json
import re
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realtime_kit import Phoenix, execute, token

FRAMES = Path(__file__).parent / "frames"


def event(telegram_id: int, event_type: str, status: str = "pending", payload: str = "{}") -> str:
    """Insert one row as in the recordings."""
    return (
        "insert into public.tma_events (telegram_id, event_type, status, payload) "
        f"values ({telegram_id}, '{event_type}', '{status}', '{payload}')"
    )


# What a note says was done, as SQL. Two statements within 5 ms were two commits before the log
# was looked at again; here they are one commit, which comes to the same without a race.
ACTIONS = {
    r"POST /rest/v1/tma_events 1 row": """
        insert into public.tma_events (telegram_id, event_type, lead_id, payload)
        values (101, 'lead_new', 7, '{"k": "ü", "n": 1.5, "arr": [1, 2]}')""",
    r"POST 2-row batch": """
        insert into public.tma_events (telegram_id, event_type) values (102, 'b1'), (103, 'b2')""",
    r"update \+ delete of a row": """
        update public.tma_events set status = 'done' where telegram_id = 102;
        delete from public.tma_events where telegram_id = 102""",
    r"insert status=pending": event(400, "f_pending", "pending", '{"p": 1}'),
    r"insert status=done": event(400, "f_done", "done", '{"p": 1}'),
    r"insert not_published": "insert into public.not_published (note) values ('x')",
    r"added to publication": """
        alter publication supabase_realtime add table public.not_published;
        insert into public.not_published (note) values ('x')""",
    r"insert \[\{'id': 6": event(301, "py"),
    r"insert 1 row": event(1, "bell"),
    r"insert 3 rows in one statement": """
        insert into public.tma_events (telegram_id, event_type)
        select n, 'bell' from generate_series(2, 4) n""",
}
VERBATIM = re.compile(r"(insert into|update public|delete from|begin;) ?.*")
NUMBERED = re.compile(r"insert \d+$")


Token = dict[str, Any]  # what realtime_kit.token() is to be called with


@dataclass(frozen=True)
class Case:
    """How to play a recording.

    `key` is the connection's, `tokens` stand for `<jwt>` in the client's frames, in order. `setup`
    runs before; `implied` was done before the n-th change although no note tells. `first` is the
    telegram_id of the first numbered insert. `together`: the actions are one commit. What the
    note `skip` tells is not done, at `until` the play ends.
    """

    key: Token = field(default_factory=dict)
    tokens: tuple[Token, ...] = ({},)
    setup: tuple[str, ...] = ()
    implied: dict[int, str] = field(default_factory=dict)
    first: int = 0
    together: bool = False
    skip: str = "-"
    until: str = "EXC"


def made(wanted: Token) -> str:
    """Sign a token now; a forged one has a wrong signature."""
    if wanted.get("forged"):
        head, body, _ = token().split(".")
        return f"{head}.{body}.{token(role='anon').split('.')[2]}"
    return token(**wanted)


def recording(name: str) -> list[dict[str, Any]]:
    """Read the lines of a recording."""
    return [json.loads(line) for line in (FRAMES / f"{name}.jsonl").read_text().splitlines()]


class Alike:
    """Normalizes the frames of one side, to compare them with the other side's."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, int]] = defaultdict(dict)

    def __call__(self, raw: str) -> str:
        """Normalize one frame."""
        raw = re.sub(r"\d{4}-\d\d-\d\dT[\d:]+(\.\d+)?(?=Z|\+00:00)", "<time>", raw)
        raw = re.sub(r"expired \d+ seconds", "expired <some> seconds", raw)
        raw = re.sub(r'(?<="id":)\d+', self._name("binding"), raw)
        raw = re.sub(r'(?<="ids":\[)\d+', self._name("binding"), raw)
        raw = re.sub(r'(?<="id": )\d+', self._name("row"), raw)
        raw = re.sub(r'(?<="n": )\d+(?=[,}])', self._name("row"), raw)
        return re.sub(r"\w{8}(-\w{4}){3}-\w{12}", self._name("message"), raw)

    def _name(self, kind: str) -> Callable[[re.Match[str]], str]:
        names = self._names[kind]
        return lambda found: f"<{kind} {names.setdefault(found[0], len(names) + 1)}>"


class Database:
    """The database of a play, and a subscriber of its own that tells when a change is through."""

    def __init__(self, dsn: str, control: Phoenix) -> None:
        self._dsn = dsn
        self._control = control

    async def watch(self) -> None:
        """Subscribe, to see when a change has been delivered."""
        await self._control.join(postgres_changes=[{"event": "*", "schema": "control"}])
        await self._control.next("system")

    async def change(self, statements: str) -> None:
        """Run them as one commit; when this returns, whoever sees the change has been told."""
        await execute(self._dsn, statements, "insert into control.marks default values")
        await self._control.next("postgres_changes")


class Play:
    """Plays a recording on a local server."""

    def __init__(self, case: Case, client: Phoenix, database: Database) -> None:
        self._case = case
        self._client = client
        self._database = database
        self._tokens = [made(wanted) for wanted in case.tokens]
        self._inserts = case.first
        self._pending: list[str] = []
        self._changes = 0
        self._arrived: dict[tuple[str, bool], deque[str]] = defaultdict(deque)
        self._recorded_side, self._our_side = Alike(), Alike()

    async def run(self, lines: list[dict[str, Any]]) -> None:
        """Do what the recording did, and compare the server's frames."""
        if lines[-1].get("frame", {}).get("event") == "phx_leave":
            lines = lines[:-1]  # the client did not stay for the answer
        for line in lines:
            match line:
                case {"note": str(note)} if note.startswith(self._case.until):
                    break
                case {"note": str(note)}:
                    await self._act(note)
                case {"frame": frame}:
                    await self._client.send(self._signed(frame))
                case {"raw": str(raw)}:
                    await self._expect(raw)
        await self._flush()

    def left_over(self) -> list[str]:
        """Frames that the recording does not have."""
        return [raw for lane in self._arrived.values() for raw in lane if "the end" not in raw]

    async def drain(self) -> None:
        """Receive everything that the server has sent so far."""
        await self._client.heartbeat("the end")
        for raw in self._client.raw:
            self._sort_in(raw)

    async def _act(self, note: str) -> None:
        statement = self._statement(note)
        if statement is None or note == self._case.skip:
            return
        self._pending.append(statement)
        if not self._case.together:
            await self._flush()

    def _statement(self, note: str) -> str | None:
        if NUMBERED.match(note):
            self._inserts += 1
            return event(self._inserts - 1, "exp")
        if VERBATIM.match(note):
            return note
        return next((sql for told, sql in ACTIONS.items() if re.match(told, note)), None)

    async def _flush(self) -> None:
        if self._pending:
            statements, self._pending = "; ".join(self._pending), []
            await self._database.change(statements)

    def _signed(self, frame: dict[str, Any]) -> dict[str, Any]:
        payload = frame["payload"]
        if payload.get("access_token") != "<jwt>":
            return frame
        signed = self._tokens.pop(0) if len(self._tokens) > 1 else self._tokens[0]
        return frame | {"payload": payload | {"access_token": signed}}

    async def _expect(self, raw: str) -> None:
        await self._flush()
        if json.loads(raw)["event"] == "postgres_changes":
            if statement := self._case.implied.get(self._changes):
                await self._database.change(statement)
            self._changes += 1
        waiting = self._arrived[_lane(raw)]
        while not waiting:
            await self._client.receive()
            self._sort_in(self._client.raw.pop())
        assert self._our_side(waiting.popleft()) == self._recorded_side(raw)

    def _sort_in(self, raw: str | bytes) -> None:
        assert isinstance(raw, str)
        self._arrived[_lane(raw)].append(raw)


def _lane(raw: str) -> tuple[str, bool]:
    """Frames keep their order within a topic, and broadcasts separately."""
    frame = json.loads(raw)
    return frame["topic"], frame["event"] == "broadcast"
