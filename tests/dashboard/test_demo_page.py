"""The demo's page in a real browser: the dashboard, with the Mini App and the chat in a frame."""

import re

import pytest_asyncio

from tests.dashboard.test_page import axe, browser  # noqa: F401 - a fixture

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
