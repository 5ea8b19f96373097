"""No secret reaches the log."""

import io
import json
import logging

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.credentials.redaction import HIDDEN, Redactor
from realtime_bridge.observe import logs
from realtime_bridge.observe.plain_lines import PlainLines

TOKEN = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1"


@pytest.fixture
def written():
    """Collect what is logged; the logging setup is put back afterwards."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    yield stream
    root.handlers[:], root.level = before
    structlog.reset_defaults()


@pytest.mark.parametrize("style", ["console", "json"])
def test_secrets_are_hidden_in_our_lines_in_others_and_in_tracebacks(written, style):
    """Whoever logs it: even in an exception whose text contains the key."""
    logs.configure_logging("DEBUG", style, redact=Redactor(["hunter2-hunter2"]), stream=written)

    structlog.get_logger().info("ours", key="hunter2-hunter2")
    logging.getLogger("aiohttp").debug("GET /bot%s/getMe", TOKEN)
    try:
        raise ValueError("wss://x/websocket?apikey=eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoiYW5vbiJ9.abc")
    except ValueError:
        logging.getLogger("realtime").exception("lost")
        structlog.get_logger().exception("also_lost")

    text = written.getvalue()
    assert text.count("ValueError") >= 2
    assert text.count(HIDDEN) >= 4
    assert "hunter2" not in text
    assert "AAHdq" not in text
    assert "eyJ" not in text


def test_json_lines_can_be_read_by_a_machine(written):
    """One object per line, with the fields given."""
    logs.configure_logging("INFO", "json", stream=written)

    structlog.get_logger().info("delivered", id=7)

    line = json.loads(written.getvalue())
    assert (line["event"], line["id"], line["level"]) == ("delivered", 7, "info")


def test_other_libraries_keep_quiet_below_debug(written):
    """The bridge logs the same, in its own words."""
    logs.configure_logging("INFO", "console", stream=written)

    logging.getLogger("realtime").error("join push timeout")

    assert written.getvalue() == ""


texts = st.text(st.sampled_from("ab é=\"'\t\n\r→[]"), max_size=8)
keys = st.sampled_from(["event", "level", "id", "error", "logger", "stack", "exception", "a b"])
values = st.one_of(texts, st.integers(), st.floats(), st.none(), st.lists(texts, max_size=2))


@given(
    fields=st.dictionaries(keys, values, max_size=6),
    event=st.one_of(texts, st.integers()),
    level=st.sampled_from(["debug", "info", "warning", "error", "critical"]),
    missing=st.sampled_from(["", "", "timestamp", "level", "event"]),
)
def test_lines_without_colours_are_those_of_structlog(fields, event, level, missing):
    """Only cheaper: whatever is logged, and whatever is missing."""
    for name in ("stack", "exception", "logger"):  # texts, as structlog makes them
        if name in fields:
            fields[name] = str(fields[name])
    usual = {"timestamp": "2026-11-25T01:02:03Z", "level": level, "event": event}
    fields |= {name: value for name, value in usual.items() if name != missing}
    fields.pop(missing, None)
    renderer = structlog.dev.ConsoleRenderer(
        colors=False, exception_formatter=structlog.dev.plain_traceback
    )

    assert PlainLines()(None, "", {**fields}) == renderer(None, "", {**fields})
