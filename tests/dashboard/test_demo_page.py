"""The demo's page in a real browser: the dashboard, with the Mini App and the chat in a frame."""

import re

import aiohttp
import pytest_asyncio

from tests.dashboard.test_page import axe, browser  # noqa: F401 - a fixture
from tests.integration.kit import until

HEIGHT = "document.querySelector('iframe').getBoundingClientRect().height"


@pytest_asyncio.fixture(loop_scope="session")
async def demo(start):
    """The address of a demo that writes nothing by itself after its first row."""
    process = await start("demo", "--every", "100000", "--count", "1000")
    await process.says("to write rows yourself")
    return re.search(r"Open (http://\S+)/demo to write", process.output)[1]


async def test_what_is_written_on_the_left_comes_back_on_the_right(browser, demo):  # noqa: F811
    """And how it got there is below, with when Telegram got it; nothing on either page is red."""
    async with (
        browser.page(f"{demo}/demo", width=1200) as page,
        browser.page(f"{demo}/demo/panes", width=1200) as panes,
    ):
        await page.until(f"document.querySelector('iframe') && {HEIGHT} > 500")
        assert await page.run("location.origin") != demo
        assert await page.run("document.querySelector('iframe').src") == f"{demo}/demo/panes"
        await panes.until("document.querySelector('#user').innerText.includes('signed')")

        await panes.run("document.querySelector('#lead-name').value = '<b>Ann_*[</b>'")
        await panes.press("Assign")
        await panes.until(
            "document.querySelector('#messages').innerText.includes('<b>Ann_*[</b> assigned')"
        )
        await page.until(
            "[...document.querySelectorAll('#ways tr.delivered')].some((row) =>"
            " row.innerText.includes('<b>Ann_*[</b>') && row.cells.length === 6)"
        )

        assert not await page.run("document.querySelector('#sent').hidden")
        assert await page.run("document.querySelectorAll('#ways b').length") == 0
        assert await axe(page) == []
        assert await axe(panes) == []
        assert page.complaints == panes.complaints == []


async def test_only_the_frame_says_how_high_it_is(browser, demo):  # noqa: F811
    """Not another window, nor our own; and no height without bounds."""
    async with browser.page(f"{demo}/demo", width=1200) as page:
        await page.until(f"document.querySelector('iframe') && {HEIGHT} > 500")
        before = await page.run(HEIGHT)

        await page.run(
            "new Promise((done) => { addEventListener('message', done);"
            " postMessage({height: 9}, '*') }).then(() => 0)"
        )

        assert await page.run(HEIGHT) == before


async def messages(demo):
    """What Telegram accepted, as it is now."""
    async with aiohttp.ClientSession() as http, http.get(f"{demo}/_sent") as response:
        return await response.json()


async def rows(demo, event_type):
    """The user's own rows of a type, as the Mini App may read them."""
    async with aiohttp.ClientSession(demo) as http:
        async with http.get("/demo/session") as response:
            session = await response.json()
        headers = {"apikey": session["anon_key"], "x-telegram-init-data": session["init_data"]}
        params = {"event_type": f"eq.{event_type}", "select": "status,message_id"}
        async with http.get("/rest/v1/tma_events", headers=headers, params=params) as response:
            assert response.status == 200, await response.text()
            return await response.json()


async def ended(demo, event_type, count):
    """The same, when all of so many have ended."""

    async def found():
        told = await rows(demo, event_type)
        open_ = [row for row in told if row["status"] in {"pending", "processing"}]
        return told if len(told) == count and not open_ else None

    return await until(found)


@pytest_asyncio.fixture(loop_scope="session")
async def panes(browser, demo):  # noqa: F811
    """The Mini App and the chat; nothing on it may be red."""
    async with browser.page(f"{demo}/demo/panes", width=1200) as panes:
        await panes.until("document.querySelector('#user').innerText.includes('signed')")
        yield panes
        assert panes.complaints == []


async def test_ten_taps_are_one_message(panes, demo):
    """Ten inserts by supabase-js: one message, and ten rows delivered with its id."""
    await panes.press("Tap ten times")
    told = await ended(demo, "lead_tapped", 10)
    await panes.until("document.querySelector('#messages').innerText.includes('10 taps on')")

    (message,) = [one for one in await messages(demo) if "taps on" in one["text"]]
    assert told == [{"status": "delivered", "message_id": message["message_id"]}] * 10
    assert not [one for one in await messages(demo) if one["text"].startswith("Tap ")]


async def test_progress_is_one_message_that_changes(panes, demo):
    """The chat shows it in its place, and at last the plan."""
    await panes.press("Make a plan")
    await panes.until("document.querySelector('#messages').innerText.includes('Making a plan for')")
    await panes.until("document.querySelector('#messages').innerText.includes('is ready: 3 steps')")

    (message,) = [one for one in await messages(demo) if "is ready: 3 steps" in one["text"]]
    assert len(message["history"]) >= 2
    assert all("Making a plan for" in before["text"] for before in message["history"])
    assert "Making a plan for" not in await panes.text("#messages")
    assert "edited" in await panes.text("#messages")


async def test_a_reminder_is_withdrawn(panes, demo):
    """Its row ends as withdrawn, and the page says so."""
    assert await panes.run("document.querySelector('#withdraw').disabled")
    await panes.press("Remind in 1 min")
    await panes.until("!document.querySelector('#withdraw').disabled")
    await panes.press("Withdraw")

    assert await ended(demo, "step_due", 1) == [{"status": "withdrawn", "message_id": None}]
    await panes.until("document.querySelector('#outcome').innerText.startsWith('Withdrawn')")
    assert await axe(panes) == []


async def test_a_muted_type_ends_as_muted(panes, demo):
    """Until it is let be heard again."""
    await panes.run("document.forms.other.elements.event_type.value = 'tea_poured'")
    await panes.press("Mute", within="form")
    await panes.until("document.querySelector('#mute').innerText === 'Unmute'")
    await panes.press("Insert")
    muted = await ended(demo, "tea_poured", 1)
    await panes.press("Unmute")
    await panes.until("document.querySelector('#mute').innerText === 'Mute'")
    await panes.press("Insert")
    both = await ended(demo, "tea_poured", 2)

    assert muted == [{"status": "muted", "message_id": None}]
    assert sorted(row["status"] for row in both) == ["delivered", "muted"]
