"""Write docs/img/dashboard*.png and demo.png, in Chromium.

The first two show the dashboard of a real stack with an hour behind it, the last one the demo.
Needs the tests' packages and Debian's chromium: make screenshots.
"""

import asyncio
import re
import signal
import sys
import tempfile
from pathlib import Path

from realtime_bridge.database import migrations_directory
from tests.dashboard.browser import Browser, running_browser
from tests.dashboard.kit import running_dashboard
from tests.integration.kit import World
from tma_sandbox.stack import LocalStack

IMAGES = Path(__file__).parents[1] / "docs" / "img"

DESK, PHONE, DEMO = (1200, 1600), (390, 844), (1200, 1230)

# An hour of a bot with a few thousand users; one user in a hundred has blocked it.
HOUR = """
insert into tma_events (telegram_id, event_type, status, created_at, deliver_after, attempt,
    claimed_at, send_started_at, settled_at, delivered_at, message_id, failure, error)
select 1000 + n, (array['step_completed', 'status_changed', 'lead_assigned'])[1 + n %% 3],
    case when bad is null then 'delivered' else 'failed' end, at, at, 1,
    at + took * 0.4, at + took * 0.6, at + took,
    case when bad is null then at + took end, case when bad is null then 5000 + n end,
    bad, (case bad
        when 'blocked' then 'Forbidden: bot was blocked by the user'
        when 'uncertain' then 'no answer from Telegram in 20 s'
        when 'rejected' then 'Bad Request: can''t parse entities: unsupported start tag'
    end)
from (
    select n, now() - interval '59 minutes' * (n / 3000.0) as at,
        interval '1 second' * (0.06 + 0.05 * sin(n / 120.0) ^ 2 + (n %% 29 = 0)::int * 0.4) as took,
        case when n %% 97 = 0 then 'blocked' when n between 1500 and 1512 then 'uncertain'
            when n between 700 and 705 then 'rejected' end as bad
    from generate_series(1, 3000) n
    where sin(n / 130.0) > -0.5 or n %% 3 = 0
) rows
"""


async def main() -> None:
    """Write all pictures."""
    await dashboards()
    await demo()


async def dashboards() -> None:
    """Start everything, wait until the page shows it, and write the pictures."""
    stack = LocalStack(migrations=migrations_directory())
    with tempfile.TemporaryDirectory() as folder:
        async with stack, World.around(stack) as world, running_browser() as browser:
            await world.sql(HOUR)
            async with (
                world.running_bridge(HTTP_PORT="9464"),
                running_dashboard(world, Path(folder), HTTP_PORT="9464") as terminal,
            ):
                await take(browser, world, terminal.address, "dashboard.png", DESK)
                await take(browser, world, terminal.address, "dashboard-phone.png", PHONE)


async def take(
    browser: Browser, world: World, address: str, name: str, size: tuple[int, int]
) -> None:
    """Write one picture, of a page on which rows of every kind are to be seen."""
    width, height = size
    async with browser.page(address, width=width, height=height, dark=size == PHONE) as page:
        await page.until("document.querySelector('#reasons').childElementCount === 3")
        for chat in range(4):
            row = await world.insert(chat + 1, "step_completed", payload={"step_id": 3})
        await world.insert(1, deliver_after="2099-01-01")
        await page.until(f"document.querySelector('tr.delivered a[href=\"#row-{row}\"]') !== null")
        (IMAGES / name).write_bytes(await page.picture())


async def demo() -> None:
    """Start the demo, and write a picture once it has shown one row of each type."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "realtime_bridge", "demo", stdout=asyncio.subprocess.PIPE
    )
    try:
        address = await told(process.stdout)
        width, height = DEMO
        async with (
            running_browser() as browser,
            browser.page(address, width=width, height=height) as page,
        ):
            await page.until(
                "document.querySelectorAll('#ways tr.delivered').length > 5"
                " && document.querySelector('iframe').getBoundingClientRect().height > 500",
                60,
            )
            (IMAGES / "demo.png").write_bytes(await page.picture())
    finally:
        process.send_signal(signal.SIGINT)
        await process.communicate()


async def told(output: asyncio.StreamReader | None) -> str:
    """The address in what the demo says."""
    said = ""
    while not (found := re.search(r"Open (\S+) to write rows", said)):
        if output is None or output.at_eof():
            raise RuntimeError(said)
        said += (await output.readline()).decode()
    return found[1]


if __name__ == "__main__":
    asyncio.run(main())
