"""Messages written by Python functions."""

import pytest
from markupsafe import Markup
from structlog.testing import capture_logs

from realtime_bridge.messages.renderer import Button, Message, Messages

from .events import NOW, event
from .telegram_html import utf16_units


@pytest.fixture
def written():
    """Render a step_skipped event that this function writes."""

    def write(function):
        messages = Messages(mini_app_url="https://t.me/my_bot/app")
        messages.register("step_skipped", function)
        return messages.render(event("step_skipped", {"step_id": 3}), now=NOW)

    return write


def test_text_is_escaped(written):
    """What a function returns as str is text, so a name in it can do no harm."""
    message = written(lambda row: f"<b>{row.lead_name}</b> & co")

    assert message.plain == "<b>Ann Lee</b> & co"
    assert message.html == "&lt;b&gt;Ann Lee&lt;/b&gt; &amp; co"
    assert message.button is not None


def test_markup_is_html(written):
    """Markup says that the author escaped what needs it; Telegram's tags are kept."""
    message = written(lambda _: Markup("<b>{}</b><p>").format("A & B"))

    assert message.html == "<b>A &amp; B</b>"
    assert message.plain == "A & B"


def test_a_message_brings_its_own_button_or_none(written):
    """A Message keeps its button; its text is sanitized like any other."""
    button = Button("Call", "https://example.com/call")

    with_button = written(lambda _: Message.from_html("<i>x</i>", button))
    without = written(lambda _: Message(html="<b>" + "😀" * 5000, plain="other"))

    assert with_button == Message("<i>x</i>", "x", button)
    assert without.button is None
    assert utf16_units(without.plain) <= 4096
    assert without.html.endswith("…</b>")


def test_none_leaves_the_event_to_the_template(written):
    """A function may write only some of the events of its type."""
    message = written(lambda _: None)

    assert message.plain == "Step 3 skipped for Ann Lee."


@pytest.mark.parametrize("nothing", ["", " \u200b", Markup("<b></b>"), Message("", "")])
def test_an_empty_text_gives_the_generic_one(written, nothing):
    """Telegram refuses empty messages."""
    message = written(lambda _: nothing)

    assert message.plain == "Action completed for Ann Lee."


@pytest.mark.parametrize("wrong", [3, b"x", ["x"], False, 0])
def test_a_wrong_return_type_gives_the_generic_text(written, wrong):
    """A function that returns nonsense is reported, and the user still gets a message."""
    with capture_logs() as logs:
        message = written(lambda _: wrong)

    assert message.plain == "Action completed for Ann Lee."
    assert [line["error"] for line in logs] == ["TypeError"]


def test_an_exception_gives_the_generic_text_and_a_log_line(written):
    """The log has the exception's type and place, not its text, which may quote a payload."""

    def broken(row):
        raise LookupError("secret of Ann")

    with capture_logs() as logs:
        message = written(broken)

    assert message.plain == "Action completed for Ann Lee."
    assert message.button is not None
    assert [line["error"] for line in logs] == ["LookupError"]
    assert logs[0]["at"].startswith("test_functions.py:")
    assert "secret" not in str(logs)


def test_other_event_types_are_not_touched(messages):
    """A function is called for its own event type only."""
    messages = Messages()
    messages.register("step_skipped", lambda _: "mine")

    assert messages.render(event("step_due"), now=NOW).plain.startswith("Reminder")


def test_an_async_function_is_refused_when_registered():
    """Rendering never awaits; the mistake shows now, not at the first event."""

    async def slow(row):
        return "x"

    with pytest.raises(TypeError, match="must not be async"):
        Messages().register("step_skipped", slow)
