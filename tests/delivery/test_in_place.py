"""Messages that take the place of the one before them."""

import pytest

from tests.integration.kit import until

ONCE, LEAST = "at_most_once", "at_least_once"
KEY = "plan:42"


@pytest.fixture
def writing(tmp_path):
    """Settings of a bridge that writes the text of a payload."""
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "progress.html").write_text("{{ text }}")
    return {"TEMPLATES_DIR": str(tmp_path), "SEND_TIMEOUT": "2"}


async def say(world, text, **columns):
    """Insert one, and wait until it is settled; its row."""
    id_ = await world.insert(event_type="progress", payload={"text": text}, replaces=KEY, **columns)

    async def settled():
        row = await world.row(id_)
        return row["settled_at"] and row

    return await until(settled)


async def test_a_message_is_changed_in_place(world, writing):
    """One message, whose last text wins."""
    async with world.running_bridge(**writing):
        rows = [await say(world, text) for text in ("reading", "thinking", "done")]

    (message,) = await world.sent()
    assert message["text"] == "done"
    assert [row["message_id"] for row in rows] == [message["message_id"]] * 3


@pytest.mark.parametrize("mode", [ONCE, LEAST])
@pytest.mark.parametrize("when", ["before_accept", "after_accept"])
async def test_an_edit_without_an_answer_is_made_again(world, writing, mode, when):
    """Nothing is uncertain about it, whether it was made or not."""
    async with world.running_bridge(**writing, DELIVERY=mode):
        await say(world, "reading")
        await world.fault({"drop": when, "method": "editMessageText"})
        row = await say(world, "done")

    (message,) = await world.sent()
    assert (row["status"], row["message_id"]) == ("delivered", message["message_id"])
    assert (message["text"], row["retries"]) == ("done", 1)


async def test_a_message_that_the_user_deleted_is_sent_anew(world, writing):
    """And that one is changed from then on."""
    async with world.running_bridge(**writing):
        first = await say(world, "reading")
        await world._http.delete("/_sent")
        second = await say(world, "thinking")
        third = await say(world, "done")

    (message,) = await world.sent()
    assert message["text"] == "done"
    assert second["message_id"] == third["message_id"] == message["message_id"]
    assert (first["status"], second["retries"]) == ("delivered", 0)


async def test_a_message_that_is_too_old_is_sent_anew(world, writing):
    """Telegram knows better than the database how old it is."""
    async with world.running_bridge(**writing):
        first = await say(world, "reading")
        await world._http.post("/_age", json={"seconds": 49 * 3600})
        second = await say(world, "done")

    assert await world.texts() == ["reading", "done"]
    assert second["message_id"] != first["message_id"]


async def test_options_are_sent(world, writing):
    """And a thread that is not there does not cost the message."""
    async with world.running_bridge(**writing):
        row = await say(world, "done", options={"silent": True, "protect": True, "thread": 7})

    (message,) = await world.sent()
    assert row["status"] == "delivered"
    assert message["disable_notification"]
    assert message["protect_content"]
    assert message["message_thread_id"] is None
