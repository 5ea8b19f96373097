"""The page in a real browser, over the real stack."""

import json
from pathlib import Path

import pytest
import pytest_asyncio

from tests.dashboard.browser import MISSING, program, running_browser
from tests.dashboard.kit import fail, running_dashboard

AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"
WHY = "document.querySelector('#row-why').innerText"
LONG_AGO = "2026-01-01T00:00:00"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser():
    """One browser for all of them."""
    if program() is None:
        pytest.skip(MISSING)
    async with running_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser, terminal):
    """A tab that was opened with the terminal's address; nothing on it may be red."""
    async with browser.page(terminal.address) as page:
        await page.until("document.querySelector('#about').innerText.includes('version')")
        yield page
        assert page.complaints == []


async def a_reason(page, failure):
    await page.until(f"document.querySelector('#reasons').innerText.includes('{failure}:')")


def status_of(row):
    return f"document.querySelector('a[href=\"#row-{row}\"]')?.closest('tr')?.className"


async def axe(page):
    """What axe-core finds: its rules' names, with the elements."""
    await page.run(AXE.read_text())
    # A frame of another origin is a page of its own, which axe could not ask anything.
    run = "axe.run(document, {iframes: false})"
    results = await page.run(f"{run}.then(({{violations}}) => violations)")
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in results]


async def test_the_token_leaves_the_address(page):
    """It has been used; neither the history nor a screenshot need show it."""
    assert await page.run("location.href") == await page.run("location.origin + '/'")


async def test_a_row_appears_when_it_has_ended(world, page):
    """With its way, among the numbers, without a reload."""
    async with world.running_bridge():
        row = await world.insert(1)
        await page.until(f"{status_of(row)}?.startsWith('delivered')")

    await page.until(
        "document.querySelector('#verdict').innerText === 'Messages flow: nothing waits.'"
    )
    await page.until("document.querySelector('#hour-total').innerText.startsWith('1 delivered')")
    assert "+" in await page.text("#ways tr td:last-child")


async def test_a_retry_from_the_page_is_delivered(world, page):
    """The reason's button, how many, and the row goes out."""
    row = await fail(world, "exhausted", error="Bad Gateway")
    await a_reason(page, "exhausted")

    async with world.running_bridge():
        await page.press("Retry exhausted…")
        await page.press("Retry 1 row", within="#ask")
        await page.until(f"{status_of(row)}?.startsWith('delivered')")

    assert "1 row pending again" in await page.text("#outcome")
    assert len(await world.sent()) == 1


async def test_uncertain_rows_are_asked_about(world, page):
    """It says how many; who cancels, or leaves them, sends nothing twice."""
    uncertain = [await fail(world, "uncertain", chat=chat) for chat in (1, 2)]
    blocked = await fail(world, chat=3)
    await a_reason(page, "uncertain")

    await page.run(f"document.querySelector('[name=since]').value = '{LONG_AGO}'")
    for choice in ("Cancel", "Retry the other 1"):
        await page.run("document.querySelector('#range button').click()")
        await page.until("document.querySelector('#ask').open")
        asked = await page.text("#ask")
        await page.press(choice, within="#ask")
    await page.until("document.querySelector('#outcome').innerText.startsWith('1 row pending')")

    assert "3 rows: 1 blocked, 2 uncertain" in asked
    assert "2 of them may have been sent already" in asked
    assert [(await world.row(row))["status"] for row in (*uncertain, blocked)] == [
        "failed",
        "failed",
        "pending",
    ]


async def test_uncertain_rows_are_sent_again_by_who_says_so(world, page):
    """The button names what it does."""
    row = await fail(world, "uncertain")
    await a_reason(page, "uncertain")

    await page.press("Retry uncertain…")
    await page.press("Retry all 1, 1 maybe twice", within="#ask")
    await page.until("document.querySelector('#outcome').innerText.startsWith('1 row pending')")

    assert (await world.row(row))["status"] == "pending"


async def test_markup_is_shown_and_not_obeyed(world, page):
    """In a type, in what Telegram said, and in a payload."""
    evil = "<img src=x onerror=document.title='caught'><b>bold</b>"
    row = await fail(world, error=evil)
    await world.sql(
        "update tma_events set event_type = %s, payload = %s where id = %s",
        evil,
        json.dumps({evil: "</script><script>document.title='caught'</script>"}),
        row,
    )

    await page.until(f"{status_of(row)}?.startsWith('failed')")
    await a_reason(page, "blocked")
    await page.run(f"location.hash = '#row-{row}'")
    await page.press("Show chat and payload")
    payload = await page.until("document.querySelector('#row-content pre')?.innerText")

    assert evil in await page.text("#ways")
    assert evil in await page.text("#reasons")
    assert "</script>" in payload
    assert (
        await page.run("document.querySelectorAll('main img, main b, dialog img, dialog b').length")
        == 0
    )
    assert await page.run("document.title") == "realtime-bridge: dashboard"


async def test_nothing_inline_would_run(page):
    """The policy holds even where somebody found a way to write markup."""
    told = await page.run(
        "(() => { try { document.body.innerHTML += '<b>x</b>'; return 'written' }"
        " catch (error) { return error.name } })()"
    )
    page.complaints.clear()

    assert told == "TypeError"


async def test_a_row_says_why_it_waits(world, page):
    """Its place in its chat, and what its user wrote only when asked for."""
    first, second = await world.insert(1, payload={"lead_name": "Ann"}), await world.insert(1)

    await page.run(f"location.hash = '#row-{second}'")
    await page.until(f"document.querySelector('#row-why').innerText.includes('behind #{first}')")
    assert "2nd in its chat" in await page.text("#row-why")

    await page.run(f"location.hash = '#row-{first}'")
    await page.until(f"document.querySelector('#row-title').innerText.endsWith('#{first}')")
    await page.until("document.querySelector('#row-columns').innerText.includes('created_at')")
    assert "Ann" not in await page.run("document.body.innerText")
    await page.press("Show chat and payload")
    await page.until("document.querySelector('#row-content').innerText.includes('Ann')")


async def test_a_row_says_when_its_turn_comes(world, page):
    """By the pause that Telegram asked for; the page goes on by itself."""
    row = await world.insert(1)
    await world.sql(
        "insert into bridge.chats (telegram_id, paused_at, paused_until)"
        " values (1, now(), now() + interval '90 seconds')"
    )

    await page.run(f"location.hash = '#row-{row}'")
    await page.until(f"{WHY}.includes('for this chat for 1 min')")
    await world.sql("update bridge.chats set paused_until = 'epoch'")
    await page.until(f"{WHY} === 'Waits for the next claim.'")


async def test_a_row_tells_how_its_attempts_ended(world, page):
    """Each that did not deliver, while it is shown."""
    row = await world.insert(1)
    await page.run(f"location.hash = '#row-{row}'")
    await page.until("document.querySelector('#row-columns').innerText.includes('created_at')")
    assert await page.run("document.querySelector('#row-history-part').hidden")

    await world.fault({"status": 429, "retry_after": 1}, {"status": 403})
    async with world.running_bridge():
        await page.until("document.querySelector('#row-history').childElementCount === 2")

    first, second = (await page.text("#row-history")).splitlines()
    assert "attempt 1" in first
    assert "it had passed the fence" in first
    assert "attempt 2" in second
    assert "failed: blocked" in second
    assert (await page.text("#row-why")).startswith("Failed: blocked")


async def test_a_focused_button_of_a_row_stays_while_it_waits(world, page):
    """The page looks at the row again each second."""
    row = await world.insert(1)
    await page.run(f"location.hash = '#row-{row}'")
    await page.until("!!document.querySelector('#row-actions button')")
    await page.run("document.querySelector('#row-actions button').focus()")
    await world.sql("update tma_events set error = 'seen again' where id = %s", row)
    await page.until("document.querySelector('#row-why').innerText.includes('seen again')")

    assert await page.run("document.activeElement.closest('#row-actions') !== null")


async def test_a_bridge_that_has_fallen_silent(world, page):
    """It is shown as such; where rows wait and none runs, the first line says so."""
    await world.sql(
        "insert into bridge.replicas"
        " (id, seen_at, name, version, changes, broadcast, every_seconds)"
        " values (gen_random_uuid(), now() - interval '3 minutes', '<b>one</b>', '1', 'ready',"
        " 'ready', 30)"
    )
    await world.insert(1, created_at="2026-01-01", deliver_after="2026-01-01")

    await page.until("document.querySelector('#replicas').innerText.includes('silent')")
    assert "<b>one</b> 1 changes ready" in await page.text("#replicas")
    await page.until(
        "document.querySelector('#verdict').innerText.includes('no bridge is running')"
    )


async def test_a_status_of_a_later_version_is_a_plain_word(world, page):
    """The table of a project that has been migrated already breaks no page."""
    row = await world.insert(1)
    await world.sql("alter table tma_events drop constraint tma_events_status_check")
    await world.sql("alter table tma_events drop constraint tma_events_terminal_is_settled")
    try:
        await world.sql(
            "update tma_events set status = 'laid by', settled_at = now() where id = %s", row
        )
        await page.until(f"{status_of(row)}?.startsWith('laid by')")
        assert (await page.text("#ways tr td:last-child")) == "laid by"

        await page.run(f"location.hash = '#row-{row}'")
        await page.until(f"{WHY} === 'It is laid by.'")
        assert "pending → laid by" in await page.text("#row-history")
    finally:
        await world.sql("truncate tma_events")
        await world.sql(
            "alter table tma_events add constraint tma_events_status_check"
            " check (status in ("
            "'pending', 'processing', 'delivered', 'failed', 'withdrawn', 'muted'"
            ")), add constraint tma_events_terminal_is_settled"
            " check ((status in ('pending', 'processing')) = (settled_at is null))"
        )


async def test_it_works_by_keyboard(world, page):
    """Enter opens a row, Escape closes it, and the focus is where it was."""
    row = await world.insert(1)
    link = f'a[href="#row-{row}"]'
    await page.until(f"!!document.querySelector('{link}')")
    await page.run("document.querySelector('#check').focus()")

    await page.key("Tab")
    assert await page.run(f"document.activeElement.matches('{link}')")
    await page.key("Enter")
    await page.until("document.querySelector('#row').open")
    assert await page.run("document.querySelector('#row').contains(document.activeElement)")
    await page.key("Escape")
    await page.until("!document.querySelector('#row').open")
    assert await page.run(f"document.activeElement.matches('{link}')")


async def test_the_focus_stays_when_a_row_changes(world, page):
    """Who tabs through the rows is not thrown back to the top by one that was delivered."""
    row = await world.insert(1)
    link = f'a[href="#row-{row}"]'
    await page.until(f"!!document.querySelector('{link}')")
    await page.run(f"document.querySelector('{link}').focus()")

    async with world.running_bridge():
        await page.until(f"{status_of(row)}?.startsWith('delivered')")

    assert await page.run(f"document.activeElement.matches('{link}')")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200], ids=["phone", "desk"])
async def test_axe_finds_nothing(world, page, width, dark):
    """With rows of every kind, a check, and each dialog; on a phone nothing is cut off."""
    for chat, failure in enumerate(
        ("blocked", "chat_not_found", "rejected", "uncertain", "exhausted", "invalid"), 10
    ):
        await fail(world, failure, chat=chat, error="Bad Request: " + "x" * 300)
    async with world.running_bridge():
        row = await world.insert(1)
        await world.settled(7)
        await world.insert(2, deliver_after="2027-01-01")
        await page.resize(width, 900, dark=dark)
        await page.run("document.querySelector('#minutes-details').open = true")
        await page.press("Check now")
        await page.until("document.querySelector('#findings').childElementCount > 5", 60)
        await a_reason(page, "invalid")
        await page.until("document.querySelector('#minutes').childElementCount === 60")

        found = {"page": await axe(page)}
        cut_off = await page.run(
            "[...document.querySelectorAll('header *, main *:not(option)')].filter((one) =>"
            " one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML)"
        )
        await page.run(f"location.hash = '#row-{row}'")
        await page.press("Show chat and payload")
        await page.until("!!document.querySelector('#row-content pre')")
        found["row"] = await axe(page)
        await page.press("Close")
        await page.press("Retry uncertain…")
        await page.until("document.querySelector('#ask').open")
        found["ask"] = await axe(page)

    assert found == {"page": [], "row": [], "ask": []}
    assert cut_off == []


async def test_supabase_away(browser, world, tmp_path):
    """The page says what check says, with the fix to copy."""
    async with (
        running_dashboard(world, tmp_path, SUPABASE_URL="http://127.0.0.1:9") as terminal,
        browser.page(terminal.address) as page,
    ):
        await page.until("document.querySelector('#findings').innerText.includes('supabase:')", 60)

        assert "bad" in await page.run("document.querySelector('#verdict').className")
        assert await page.run("!!document.querySelector('#findings .fix pre').innerText")
        assert await axe(page) == []
        assert page.complaints == []


async def test_a_dashboard_that_has_stopped(browser, world, tmp_path):
    """The page says so instead of showing old numbers as if they were new."""
    async with running_dashboard(world, tmp_path) as terminal:
        opened = browser.page(terminal.address)
        page = await opened.__aenter__()
        await page.until("document.querySelector('#about').innerText.includes('version')")
    try:
        await page.until("!document.querySelector('#notice').hidden")
        assert "numbers are old" in await page.text("#notice")
    finally:
        await opened.__aexit__(None, None, None)
