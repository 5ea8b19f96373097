"""No secret reaches the log."""

import io
import json
import logging

import pytest
import structlog

from realtime_bridge.credentials.redaction import HIDDEN, Redactor
from realtime_bridge.observe import logs

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
