"""Rows that are taken back, muted, held, gathered or told in place: what the page does and says."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from psycopg import AsyncConnection

from tests.dashboard.kit import news
from tests.dashboard.test_page import (  # noqa: F401 - fixtures
    WHY,
    axe,
    browser,
    page,
    status_of,
)
from tests.integration.kit import until


@pytest.fixture
def gathering(tmp_path):
    """A templates folder by which status changes are gathered for so long."""

    def gathering(window):
        folder = tmp_path / "templates"
        (folder / "en").mkdir(parents=True)
        (folder / "events.toml").write_text(f'[status_changed]\ndigest = "{window}"\n')
        (folder / "en" / "status_changed.digest.html").write_text("{{ events|length }} changes")
        return {"TEMPLATES_DIR": str(folder)}

    return gathering


async def opened(page, row):  # noqa: F811
    await page.run(f"location.hash = '#row-{row}'")
    await page.until(f"document.querySelector('#row-title').innerText.endsWith('#{row}')")
    await page.until("document.querySelector('#row-columns').innerText.includes('created_at')")


def note_of(row):
    """The script for what the last column of a row's way says."""
    line = f"document.querySelector('a[href=\"#row-{row}\"]')?.closest('tr')"
    return f"{line}?.lastElementChild.innerText"


async def test_who_withdraws_is_asked_first(world, page):  # noqa: F811
    """Cancel does nothing; then the row is withdrawn, never sent, and the page says so."""
    row = await world.insert(1)
    await opened(page, row)

    await page.press("Withdraw…", within="#row-actions")
    asked = await page.text("#ask")
    found = await axe(page)
    await page.press("Cancel", within="#ask")
    kept = (await world.row(row))["status"]
    await page.press("Withdraw…", within="#row-actions")
    await page.press("Withdraw 1 row", within="#ask")
    await page.until("document.querySelector('#row-outcome').innerText === '1 row withdrawn.'")
    await page.until(f"{WHY} === 'Withdrawn: it is never sent.'")
    await page.until(f"{status_of(row)}?.startsWith('withdrawn')")

    assert f"Row #{row} still waits" in asked
    assert asked.startswith("Withdraw\n")
    assert kept == "pending"
    assert (await world.row(row))["status"] == "withdrawn"
    assert "Withdraw…" not in await page.text("#row-actions")
    assert await page.run("document.querySelector('#row').contains(document.activeElement)")
    assert found == await axe(page) == []


async def test_a_row_that_has_gone_meanwhile(world, page):  # noqa: F811
    """Between the question and its answer it was sent: it says that it was not withdrawn."""
    row = await world.insert(1)
    await opened(page, row)

    await page.press("Withdraw…", within="#row-actions")
    async with world.running_bridge():
        await world.settled(1)
    await page.press("Withdraw 1 row", within="#ask")
    await page.until(f"{WHY}.startsWith('Delivered')")
    await page.until("document.querySelector('#row-outcome').innerText !== ''")

    assert await page.text("#row-outcome") == f"Not withdrawn: row #{row} no longer waits."
    assert (await world.row(row))["status"] == "delivered"


async def test_a_withdrawal_is_one_line_in_the_log(world, terminal):
    """How many, which, and which had gone already: ended, or never there."""
    waiting = [await world.insert(chat) for chat in (1, 2)]
    gone = await world.insert(3)
    await world.sql(
        "update tma_events set status = 'muted', settled_at = now() where id = %s", gone
    )

    with structlog.testing.capture_logs() as lines:
        async with terminal.session() as http:
            body = {"ids": [*waiting, gone, 2**62, gone]}
            async with http.post("/api/withdraw", json=body) as response:
                told = await response.json()

    assert told == {"rows": 2, "gone": [gone, 2**62]}
    (line,) = [line for line in lines if line["event"] == "rows_withdrawn"]
    assert (line["rows"], line["ids"], line["gone"]) == (2, waiting, [gone, 2**62])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"\xff",
        b'{"ids": []}',
        b'{"ids": null}',
        b'{"ids": [0]}',
        b'{"ids": ["1 or 1=1"]}',
        b'{"ids": [9223372036854775808]}',
        b'{"ids": [1], "failure": "blocked"}',
        json.dumps({"ids": [1] * 1001}).encode(),
    ],
)
async def test_nonsense_withdraws_nothing(world, terminal, body):
    """Nor does a request that names no rows mean all of them."""
    row = await world.insert(1)
    headers = {"Content-Type": "application/json"}
    async with (
        terminal.session() as http,
        http.post("/api/withdraw", data=body, headers=headers) as response,
    ):
        assert response.status == 400
    assert (await world.row(row))["status"] == "pending"


async def test_a_withdrawal_of_a_type_is_asked_first(world, page):  # noqa: F811
    """What waits is counted by type, when somebody looks; the other types stay."""
    for chat in (1, 2):
        await world.insert(chat, event_type="news")
    await world.insert(3, event_type="news", deliver_after="2126-01-01")
    other = await world.insert(4)
    first = "document.querySelector('#waiting tr')?.innerText.replaceAll('\\t', ' ')"

    assert await page.text("#waiting") == ""
    await page.run("document.querySelector('#waiting-part summary').click()")
    await page.until(f"{first}?.startsWith('news 3 1')")
    await page.press("Withdraw…", within="#waiting")
    asked = await page.text("#ask")
    found = await axe(page)
    await page.press("Withdraw 3 rows", within="#ask")
    await page.until(
        "document.querySelector('#withdrawn').innerText === '3 rows of news withdrawn.'"
    )
    await page.until(f"{first}?.startsWith('status_changed 1 0')")

    assert "3 rows of news wait, also those scheduled for later." in asked
    assert found == await axe(page) == []
    rows = await world.sql("select id from tma_events where status = 'pending'")
    assert [row["id"] for row in rows] == [other]


async def test_not_more_is_withdrawn_than_was_agreed_to(world, terminal):
    """In one line of the log, however many calls it takes; what came since then stays."""
    kind = "of.the.service.".ljust(80, "x")  # which may choose any
    await world.sql(
        "insert into tma_events (telegram_id, event_type)"
        " select n, %s from generate_series(1, 1205) n",
        kind,
    )
    with structlog.testing.capture_logs() as lines:
        async with terminal.session() as http:
            body = {"event_type": kind, "rows": 1200}
            async with http.post("/api/withdraw/type", json=body) as response:
                told = await response.json()
            async with http.get("/api/waiting") as response:
                left = await response.json()

    assert told == {"rows": 1200, "gone": []}
    assert left == [{"event_type": kind, "events": 5, "scheduled": 0}]
    (line,) = [line for line in lines if line["event"] == "rows_withdrawn"]
    assert (line["rows"], line["agreed"], line["event_type"]) == (1200, 1200, kind)


async def test_a_claim_in_the_middle_leaves_the_others_to_be_withdrawn(world, terminal):
    """A batch is smaller by the row that a bridge has taken, and still not the last."""
    await world.sql(
        "insert into tma_events (telegram_id, event_type)"
        " select n, 'news' from generate_series(1, 1005) n"
    )

    async def waits_for_the_claim():
        return await world.sql("select pid from pg_locks where not granted")

    async def withdraw():
        async with (
            terminal.session() as http,
            http.post("/api/withdraw/type", json={"event_type": "news", "rows": 1005}) as response,
        ):
            return await response.json()

    async with await AsyncConnection.connect(world.stack.env()["DATABASE_URL"]) as bridge:
        await bridge.execute("select claim_tma_events(1, gen_random_uuid())")
        withdrawing = asyncio.create_task(withdraw())
        await until(waits_for_the_claim)
        await bridge.commit()
        told = await withdrawing

    assert told == {"rows": 1004, "gone": []}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"event_type": "status_changed"},
        {"event_type": "status_changed", "rows": 0},
        {"event_type": "status_changed", "rows": 2**31},
        {"event_type": None, "rows": 1},
        {"event_type": "status_changed", "rows": 1, "ids": [1]},
    ],
)
async def test_no_type_and_no_number_withdraw_nothing(world, terminal, body):
    row = await world.insert(1)
    async with (
        terminal.session() as http,
        http.post("/api/withdraw/type", json=body) as response,
    ):
        assert response.status == 400
    assert (await world.row(row))["status"] == "pending"


async def ended(world, status, *chats):
    """Rows that ended like this without being sent."""
    rows = [await world.insert(chat) for chat in chats]
    await world.sql(
        "update tma_events set status = %s, settled_at = now() where id = any(%s)", status, rows
    )
    return rows


async def test_what_was_not_sent_is_neither_delivered_nor_failed(world, terminal):
    """Withdrawn and muted rows are no numbers of the hour."""
    await ended(world, "withdrawn", 1, 2)
    await ended(world, "muted", 3)

    async with terminal.session() as http:
        told = await news(http, "hour", "failures", "state")

    assert told["hour"]["minutes"][-1]["delivered"] == told["hour"]["last_ten_seconds"] == 0
    assert [minute["failed"] for minute in told["hour"]["minutes"]] == [{}] * 60
    assert told["failures"] == []
    assert told["state"]["events"]["pending"] == 0


async def test_what_was_not_sent_is_told_in_words(world, page):  # noqa: F811
    """In its way, and why on its own page."""
    (withdrawn,), (muted,) = await ended(world, "withdrawn", 1), await ended(world, "muted", 2)

    for status, row in {"withdrawn": withdrawn, "muted": muted}.items():
        await page.until(f"{status_of(row)}?.startsWith('{status}')")
        await page.until(f"{note_of(row)} === '{status}'")
    await opened(page, muted)
    assert (await page.text("#row-why")).startswith("Muted: its chat wants no events of this type")


async def test_a_row_in_quiet_hours_says_until_when(world, page):  # noqa: F811
    """By the real claim, which holds it; it is not late by that."""
    now = datetime.now(UTC)
    end = (now + timedelta(hours=2)).replace(minute=0, second=0, microsecond=0)
    await world.sql(
        "insert into tma_chat_settings (telegram_id, timezone, quiet_from, quiet_to)"
        " values (1, 'UTC', %s, %s)",
        (now - timedelta(hours=1)).time(),
        end.time(),
    )
    row = await world.insert(1, created_at="2026-01-01", deliver_after="2026-01-01")

    until = await page.run(f"new Date('{end.isoformat()}').toLocaleTimeString('en-GB').slice(0, 5)")
    async with world.running_bridge():
        await page.until(f"!!{status_of(row)}")
        await opened(page, row)
        await page.until(f"{WHY}.includes('quiet until {until}')")
        await page.until(
            f"document.querySelector('a[href=\"#row-{row}\"]').closest('tr').innerText"
            f".includes('quiet until {until}')"
        )
        await page.until(
            "document.querySelector('#verdict').innerText === 'Messages flow: nothing waits.'"
        )


async def test_a_row_that_is_gathered_says_what_it_waits_for(world, page, gathering):  # noqa: F811
    """The first of a digest; nothing is late by that either."""
    row = await world.insert(1)

    async with world.running_bridge(**gathering("1h")):
        await opened(page, row)
        await page.until(f"{WHY}.includes('waits for others to go with it')")
        await page.until(f"{note_of(row)} === 'waits for others to go with it'")


async def test_gathered_rows_say_in_which_message_they_went(world, page, gathering):  # noqa: F811
    """With the row that led; that one has the message's number as well."""
    first, second = [await world.insert(1) for _ in range(2)]

    async with world.running_bridge(**gathering("1s")):
        await world.settled(2)
    (message,) = await world.sent()
    number = message["message_id"]

    await opened(page, first)
    await page.until(f"{WHY} === 'Delivered, as message {number}.'")
    await opened(page, second)
    await page.until(f"{WHY} === 'Delivered in message {number}, together with row #{first}.'")
    await page.until(
        f"document.querySelector('#ways').innerText.includes('together with #{first}')"
    )


async def test_an_edit_says_that_it_edited(world, page):  # noqa: F811
    """And which message."""
    async with world.running_bridge():
        await world.insert(1, replaces="plan:42")
        await world.settled(1)
        edit = await world.insert(1, replaces="plan:42", payload={"new_status": "Won"})
        await world.settled(2)
    (message,) = await world.sent()

    await opened(page, edit)
    await page.until(f"{WHY} === 'Delivered: it edited message {message['message_id']}.'")
