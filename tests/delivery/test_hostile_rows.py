"""Whatever a row holds: the bridge lives, the row ends, and the others are delivered."""

import asyncio
import json
import string
from collections import Counter
from dataclasses import dataclass

import aiohttp
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.integration.kit import until
from tests.sql.signing import BOT, USER, init_data, web_app_key

BATCH = 100
INNOCENT = 30
EXAMPLES = 200
FIRST_USER = 1_000_000
FIRST_INNOCENT = 5_000_000
SOON = 5.0  # seconds in which the innocent are delivered
# Room for a hundred users at once, and leases that end within the test.
FAST = {
    "TELEGRAM_RATE": "1000",
    "ALLOW_PAID_BROADCAST": "true",
    "SEND_TIMEOUT": "1",
    "LEASE_SECONDS": "7",
    "SWEEP_INTERVAL": "2",
    "FALLBACK_POLL_INTERVAL": "1",
}

# JSON as text, because no library writes what the worst of it looks like.

numbers = st.one_of(
    st.sampled_from(["0", "-0", "1e400", "-1e400", "1e16000", "1e131071", "1e999999", "0e-16000"]),
    st.sampled_from([10, 400, 401, 4301, 20_000, 100_000]).map(lambda digits: "9" * digits),
    st.sampled_from([300, 16_000]).map(lambda digits: "0." + "0" * digits + "1"),
    st.integers().map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)
strings = st.one_of(
    st.sampled_from(['"\\ud800"', '"\\udfff\\ud800"', '"\\u0000"', '"\\ud83d\\ude00"', '""']),
    st.text(max_size=20).map(json.dumps),
    st.sampled_from([1000, 16_300, 70_000]).map(lambda size: json.dumps("x" * size)),
)
deep = st.sampled_from([31, 33, 500, 1000, 3000, 10_000]).flatmap(
    lambda levels: st.sampled_from(
        ["[" * levels + "]" * levels, '{"a":' * levels + "1" + "}" * levels]
    )
)
leaves = st.one_of(st.sampled_from(["null", "true", "false"]), numbers, strings, deep)
keys = st.sampled_from(["lead_name", "timezone", "tz", "step_id", "a", "", "__class__", "due"])
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda items: f"[{','.join(items)}]"),
        # A key twice is JSON too.
        st.lists(st.tuples(keys, inner), max_size=4).map(
            lambda pairs: "{" + ",".join(f"{json.dumps(k)}:{v}" for k, v in pairs) + "}"
        ),
    ),
    max_leaves=6,
)
types = st.one_of(
    st.sampled_from(["step_completed", "status_changed", "plan_ready", "x"]).map(json.dumps), values
)
ids = st.one_of(st.integers(-(2**63), 2**63 - 1).map(str), values)
times = st.one_of(
    st.sampled_from(
        ["infinity", "-infinity", "1970-01-01", "4713-01-01 BC", "294276-01-01", "now", "tomorrow"]
    ).map(json.dumps),
    values,
)
words = st.text(string.printable, max_size=10).map(json.dumps)
counts = st.one_of(st.sampled_from(["0", "1", "5", "2147483647", "-1"]), values)

BY_A_USER = {
    "tma_events": {
        "event_type": types,
        "payload": values,
        "lead_id": ids,
        "dedupe_key": st.one_of(words, values),
        "deliver_after": times,
    },
    "plan_requests": {"payload": values, "lead_id": ids, "dedupe_key": st.one_of(words, values)},
}
BOOKKEEPING = {
    "id": ids,
    "status": st.sampled_from(
        ["pending", "processing", "delivered", "failed", "completed", "x"]
    ).map(json.dumps),
    "created_at": times,
    "locale": st.one_of(words, values),
    "attempt": counts,
    "retries": counts,
    "retry_at": times,
    "claimed_at": times,
    "settled_at": times,
    "error": st.one_of(words, values),
    "lead_visible": st.sampled_from(["true", "false", "null"]),
}
BY_THE_SERVICE = {
    "tma_events": BY_A_USER["tma_events"]
    | BOOKKEEPING
    | {
        "send_started_at": times,
        "delivered_at": times,
        "message_id": ids,
        "failure": st.sampled_from(["blocked", "uncertain", "x"]).map(json.dumps),
        "behind": st.sampled_from(["true", "false"]),
    },
    "plan_requests": BY_A_USER["plan_requests"]
    | BOOKKEEPING
    | {"result": values, "completed_at": times},
}


@dataclass(frozen=True)
class HostileRow:
    """A table, and the columns to write there, as JSON text."""

    table: str
    columns: dict[str, str]

    def body(self, **more: object) -> str:
        fields = {name: json.dumps(value) for name, value in more.items()} | self.columns
        return "{" + ",".join(f'"{name}":{value}' for name, value in fields.items()) + "}"


def corpus(by: dict[str, dict[str, st.SearchStrategy[str]]]) -> list[HostileRow]:
    """Rows that Hypothesis thinks of, the same ones each time."""
    rows: list[HostileRow] = []
    kinds = st.one_of(
        *(
            st.fixed_dictionaries({}, optional=columns).map(
                lambda chosen, table=table: HostileRow(table, chosen)
            )
            for table, columns in by.items()
        )
    )

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        deadline=None,
    )
    @given(kinds)
    def collect(row: HostileRow) -> None:
        rows.append(row)

    collect()
    return rows


async def write_all(world, rows, headers_of, named):
    """Insert these rows one by one, some at a time; return the statuses of the answers."""
    gate = asyncio.Semaphore(8)
    url = world.stack.env()["SUPABASE_URL"]

    async def write(http, number, row):
        more = {"telegram_id": FIRST_USER + number} if named else {}
        if row.table == "tma_events" and "event_type" not in row.columns:
            more["event_type"] = "status_changed"
        async with (
            gate,
            http.post(
                f"/rest/v1/{row.table}",
                data=row.body(**more).encode("utf-8", "surrogatepass"),
                headers={"Content-Type": "application/json", **headers_of(number)},
            ) as answer,
        ):
            return answer.status, await answer.text()

    async with aiohttp.ClientSession(url) as http:
        return await asyncio.gather(*(write(http, n, row) for n, row in enumerate(rows)))


async def attack(world, start, rows, headers_of, *, named=False):
    """Write hostile rows while a bridge runs, and innocent ones beside each hundred."""
    bridge = await start("run", env=world.environment(**FAST))
    await bridge.says("started")
    answers = []
    for first in range(0, len(rows), BATCH):
        batch = rows[first : first + BATCH]
        answers += await write_all(
            world, batch, lambda n, first=first: headers_of(first + n), named
        )
        innocent = [
            await world.insert(FIRST_INNOCENT + first + number, payload={"new_status": "fine"})
            for number in range(INNOCENT)
        ]

        async def delivered(innocent=innocent):
            found = await world.sql(
                "select status, retries from tma_events where id = any (%s)", innocent
            )
            return [row["status"] for row in found] == ["delivered"] * INNOCENT

        await until(delivered, SOON)
    await until(lambda: nothing_is_open(world), 60)
    assert bridge.process.returncode is None, bridge.output
    counted = "select from tma_events where telegram_id >= %s and retries > 0"
    assert await world.sql(counted + " and telegram_id < 6000000", FIRST_INNOCENT) == []
    return answers


async def nothing_is_open(world):
    """Whether every row that is due has ended."""
    events = await world.sql(
        "select id from tma_events where settled_at is null"
        " and coalesce(retry_at, deliver_after) <= now()"
    )
    requests = await world.sql(
        "select id from plan_requests where settled_at is null"
        " and coalesce(retry_at, created_at) <= now()"
    )
    return not events and not requests


async def test_no_row_of_a_user_hurts(world, start):
    """Each is refused with a 4xx, or ends; nobody else waits for it."""
    service = {"apikey": world.stack.env()["SUPABASE_KEY"]}
    known = {"p_bot_id": BOT, "p_key": web_app_key()}
    async with (
        aiohttp.ClientSession(world.stack.url, headers=service) as http,
        http.post("/rest/v1/rpc/register_tma_bot", json=known) as answer,
    ):
        assert answer.ok
    anon = world.stack.env()["SUPABASE_ANON_KEY"]

    def headers_of(number):
        user = USER | {"id": FIRST_USER + number}
        return {"apikey": anon, "x-telegram-init-data": init_data(user=user)}

    answers = await attack(world, start, corpus(BY_A_USER), headers_of)

    statuses = Counter(status for status, _ in answers)
    assert set(statuses) <= {201, 400, 401, 403, 409, 413}, [
        text for status, text in answers if status >= 500
    ]
    assert statuses[201] > EXAMPLES // 20
    assert statuses[400] > EXAMPLES // 4


async def test_no_row_of_the_service_hurts(world, start):
    """Also in the columns that only the service may write: they end, whatever they say."""
    service = {"apikey": world.stack.env()["SUPABASE_KEY"]}

    answers = await attack(world, start, corpus(BY_THE_SERVICE), lambda _: service, named=True)

    statuses = Counter(status for status, _ in answers)
    assert statuses[201] > EXAMPLES // 20
    assert max(statuses) < 500, [text for status, text in answers if status >= 500]
