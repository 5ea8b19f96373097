"""Part 6: what it costs to verify who makes an insert."""

import json
import time
from collections import defaultdict
from typing import Any

import aiohttp
import psycopg

from benchmarks.numbers import median, percentile, table
from benchmarks.sections import SECTIONS
from benchmarks.stage import Stage
from realtime_bridge.credentials import tokens
from tma_sandbox.initdata import sign

USER = 279058397
QUICK: dict[str, Any] = {"samples": 50}
TRUSTED = "service key, no proof asked"
PROVEN = "Mini App, proven by initData"


async def run(samples: int = 1000) -> dict[str, Any]:
    """Insert over PostgREST both ways in turns, and call the function alone in SQL."""
    took: dict[str, list[float]] = defaultdict(list)
    async with Stage() as stage:
        init_data = signed(stage.keys.bot_token)
        trusted = headers_of(stage.keys.api_key("service_role"))
        proven = {**headers_of(stage.keys.api_key("anon")), "x-telegram-init-data": init_data}
        with psycopg.connect(stage.postgres.dsn(), autocommit=True) as database:
            register_bot(database, stage.keys.bot_token)
            # By default a user may have a hundred rows waiting; here nobody sends them.
            database.execute("update bridge.settings set max_pending_per_user = 1000000")
            async with aiohttp.ClientSession() as session:
                for number in range(samples):
                    for name, headers in ((TRUSTED, trusted), (PROVEN, proven)):
                        took[name].append(await _insert(session, stage, headers, number))
                    if number % 50 == 0:
                        database.execute("truncate tma_events")
            alone = _alone(database, init_data, samples)
    took["select tma_user_id(), in SQL"] = alone
    return {"milliseconds": took, "init_data_bytes": len(init_data)}


def headers_of(key: str) -> dict[str, str]:
    """The headers of a request with this key."""
    return {"apikey": key, "Authorization": f"Bearer {key}", "Prefer": "return=minimal"}


def signed(bot_token: str) -> str:
    """The initData of one user."""
    user = {
        "id": USER, "first_name": "Олена", "last_name": "Коваль", "username": "olena",
        "language_code": "uk", "is_premium": True, "allows_write_to_pm": True,
        "photo_url": "https://t.me/i/userpic/320/4FPEE4tmP3ATHa57u6MqTDih13LTOiMoKoLDRG4PnSA.svg",
    }  # fmt: skip
    fields = {
        "query_id": "AAHdF6IQAAAAAN0XohDhrOrc",
        "user": json.dumps(user, ensure_ascii=False),
        "auth_date": str(int(time.time())),
        "signature": "c" * 86,
    }
    return sign(fields, bot_token)


def register_bot(database: psycopg.Connection[Any], bot_token: str) -> None:
    """Register the bot, so its users may write."""
    bot_id = int(bot_token.partition(":")[0])
    database.execute("select register_tma_bot(%s, %s)", (bot_id, tokens.web_app_key(bot_token)))


async def _insert(
    session: aiohttp.ClientSession, stage: Stage, headers: dict[str, str], number: int
) -> float:
    row = {"telegram_id": USER, "event_type": "status_changed", "payload": {"new_status": "x"}}
    begin = time.perf_counter()
    async with session.post(
        f"{stage.postgrest.url}/tma_events", json=row, headers=headers
    ) as answer:
        if answer.status != 201:
            raise RuntimeError(f"insert {number}: {answer.status} {await answer.text()}")
    return (time.perf_counter() - begin) * 1000


def _alone(database: psycopg.Connection[Any], init_data: str, samples: int) -> list[float]:
    """Milliseconds per call, from a hundred calls by the server's clock."""
    headers = json.dumps({"x-telegram-init-data": init_data})
    database.execute("select set_config('request.headers', %s, false)", (headers,))
    proven = database.execute("select tma_user_id()").fetchone()
    if proven != (USER,):
        raise RuntimeError(f"the initData proved {proven}")
    took = []
    for _ in range(max(samples // 20, 3)):
        begin = time.perf_counter()
        # offset 0 and the sum make the planner call it for each row.
        database.execute(
            "select sum(bridge.user_id() + n) from generate_series(1, 100) n"
        ).fetchone()
        took.append((time.perf_counter() - begin) * 1000 / 100)
    return took


def report(result: dict[str, Any]) -> str:
    """The table, and the difference."""
    took: dict[str, list[float]] = result["milliseconds"]
    (head,) = SECTIONS["identity"].tables
    rows = [
        [
            name,
            f"{median(all_):.3f}",
            f"{percentile(all_, 0.95):.3f}",
            f"{percentile(all_, 0.99):.3f}",
        ]
        for name, all_ in took.items()
    ]
    more = median(took[PROVEN]) - median(took[TRUSTED])
    return "\n".join(
        [
            table(head, rows),
            "",
            f"A proven insert takes {more:.2f} ms longer (medians), policies and limits included.",
        ]
    )
