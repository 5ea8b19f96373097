"""Part 14: how soon the dashboard shows a busy hour, and how soon a row's end."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from benchmarks.numbers import median, percentile, table, verdict
from benchmarks.sections import SECTIONS
from benchmarks.stage import Child, Stage
from tests.dashboard.browser import MISSING, Browser, Page, program, running_browser

QUICK: dict[str, Any] = {"rounds": 2, "rows": 500, "ends": 10}
LOAD_LIMIT_MS = 1000.0
END_LIMIT_MS = 1000.0
FIRST, NEXT = "first page of a dashboard", "another page"

_HOUR = """
    insert into tma_events (telegram_id, event_type, status, created_at, deliver_after, attempt,
        claimed_at, send_started_at, settled_at, delivered_at, message_id, failure, error)
    select n, 'status_changed', case when bad is null then 'delivered' else 'failed' end, at, at, 1,
        at, at, at + interval '0.1 s', case when bad is null then at + interval '0.1 s' end,
        case when bad is null then n end, bad,
        case when bad is not null then 'Forbidden: bot was blocked by the user' end
    from (
        select n, now() - interval '59 minutes' * (n / %(rows)s::float) as at,
            case when n %% 17 = 0 then 'blocked' end as bad
        from generate_series(1, %(rows)s) n
    ) rows
"""
_OPEN = """
    insert into tma_events (telegram_id, event_type)
    select 10000000 + n, 'status_changed' from generate_series(1, %s) n
"""
_END = """
    insert into tma_events (telegram_id, event_type, status, attempt, claimed_at, send_started_at,
        settled_at, delivered_at, message_id)
    select 20000000, 'status_changed', 'delivered', 1, t, t, t, t, 1
    from (select clock_timestamp() as t) now
    returning id, extract(epoch from settled_at)::float * 1000 as ended_ms
"""
# In milliseconds from the start of the navigation, as the page itself sees it: until numbers and
# rows are drawn, and afterwards when each row was first there, and the longest frame.
_WATCH = """
    addEventListener('DOMContentLoaded', () => {
      window.rows = {}
      const look = () => {
        for (const link of document.querySelectorAll('#ways a')) {
          window.rows[link.hash] ??= performance.timeOrigin + performance.now()
        }
        const there = /^\\d/.test(document.querySelector('#hour-total').textContent)
          && document.querySelector('#lanes').childElementCount
          && (document.querySelector('#ways').childElementCount
            || !document.querySelector('#no-ways').hidden)
        if (there) window.shown ??= performance.now()
      }
      const all = {subtree: true, childList: true, attributes: true}
      new MutationObserver(look).observe(document, all)
      let last = performance.now()
      window.frame = 0
      const tick = (now) => {
        if (window.shown) window.frame = Math.max(window.frame, now - last)
        last = now
        requestAnimationFrame(tick)
      }
      requestAnimationFrame(tick)
    })
"""


async def run(rounds: int = 10, rows: int = 10_000, ends: int = 60) -> dict[str, Any]:
    """Open pages of an empty hour and of a busy one; then let rows end, four a second."""
    if program() is None:
        return {"skipped": MISSING}
    async with Stage() as stage, running_browser() as browser:
        with psycopg.connect(stage.postgres.dsn(), autocommit=True) as database:
            await _loads(stage, browser, 1)  # the browser's own first page
            empty = await _loads(stage, browser, rounds)
            database.execute(_HOUR, {"rows": rows})
            database.execute(_OPEN, (rows * 6 // 100,))
            busy = await _loads(stage, browser, rounds)
            seen, frame = await _ends(stage, browser, ends, lambda: _ended(database))
    return {"rows": rows, "empty": empty, "busy": busy, "ends": seen, "frame_ms": frame}


@asynccontextmanager
async def _dashboard(stage: Stage) -> AsyncIterator[Child]:
    env = {**stage.settings(), "PATH": ""}
    child = Child("realtime_bridge", "dashboard", "--port", "0", env=env, home=stage.scratch(""))
    try:
        await child.says("token=")
        yield child
    finally:
        await child.stop()


def _address(child: Child) -> str:
    """The newest one: each is good once."""
    return re.findall(r"http://\S+token=\S+", child.output())[-1]


async def _loads(stage: Stage, browser: Browser, rounds: int) -> dict[str, list[float]]:
    """Milliseconds until all is shown: a new dashboard's first page, and the next one."""
    took: dict[str, list[float]] = {FIRST: [], NEXT: []}
    for _ in range(rounds):
        async with _dashboard(stage) as child:
            for times in took.values():
                async with browser.page(_address(child), before=_WATCH) as page:
                    await page.until("!!window.shown")
                    times.append(await page.run("window.shown"))
    return took


def _ended(database: psycopg.Connection[Any]) -> tuple[int, float]:
    row = database.execute(_END).fetchone()
    if row is None:
        raise RuntimeError("nothing was inserted")
    return row[0], row[1]


async def _ends(
    stage: Stage, browser: Browser, ends: int, end: Callable[[], tuple[int, float]]
) -> tuple[list[float], float]:
    """Milliseconds from each row's end to the page, and the longest frame meanwhile."""
    async with (
        _dashboard(stage) as child,
        browser.page(_address(child), before=_WATCH) as page,
    ):
        await page.until("!!window.shown")
        await page.run("window.frame = 0")
        ended = [await _paced(page, end) for _ in range(ends)]
        last, _ = ended[-1]
        await page.until(f"'#row-{last}' in window.rows")
        seen = await page.run("window.rows")
        return [seen[f"#row-{row}"] - at for row, at in ended], await page.run("window.frame")


async def _paced(page: Page, end: Callable[[], tuple[int, float]]) -> tuple[int, float]:
    await page.run("new Promise((done) => setTimeout(done, 250))")
    return end()


def report(result: dict[str, Any]) -> str:
    """The tables and the verdicts."""
    loads, ends = SECTIONS["dashboard"].tables
    hours = {"empty": "0", "busy": f"{result['rows']:,}"}
    rows = [
        [which, hours[hour], *(f"{value:.0f}" for value in (median(took), max(took)))]
        for hour in hours
        for which, took in result[hour].items()
    ]
    seen = result["ends"]
    busy = [value for took in result["busy"].values() for value in took]
    told = [f"{value:.0f}" for value in (median(seen), percentile(seen, 0.99), result["frame_ms"])]
    most = f"ms until {result['rows']:,} rows of an hour are shown, the slowest page"
    return "\n".join(
        [
            table(loads, rows),
            "",
            table(ends, [[str(len(seen)), *told]]),
            "",
            verdict(most, max(busy), LOAD_LIMIT_MS, least=False),
            verdict(
                "ms from a row's end to the page, the slowest", max(seen), END_LIMIT_MS, least=False
            ),
        ]
    )
