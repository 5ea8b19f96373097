"""Lines of the log for people, where no terminal shows colours."""

import re
from typing import Any

import structlog

# With one of these a line is more than its fields.
_OTHER = frozenset(("logger", "logger_name", "exc_info", "exception", "stack"))
_USUAL = frozenset(("timestamp", "level", "event"))
_TO_QUOTE = re.compile("[ \t=\r\n\"']")
_LEVEL_WIDTH = 9
_EVENT_WIDTH = 30


class PlainLines:
    """Writes what structlog's ConsoleRenderer writes without colours, at a fraction of its cost.

    Every message has a line, so this is a part of what a message costs. Tracebacks, and lines of
    other libraries, are left to the ConsoleRenderer.
    """

    def __init__(self) -> None:
        self._renderer = structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        )

    def __call__(self, logger: Any, name: str, fields: structlog.typing.EventDict) -> str:
        """Render one line; a processor of structlog."""
        if not _OTHER.isdisjoint(fields) or not _USUAL.issubset(fields):
            return self._renderer(logger, name, fields)
        timestamp, level = fields.pop("timestamp"), fields.pop("level")
        event = str(fields.pop("event"))
        pairs = " ".join([f"{key}={_shown(fields[key])}" for key in sorted(fields)])
        line = f"{timestamp} [{level:<{_LEVEL_WIDTH}}] {event:<{_EVENT_WIDTH}} {pairs}"
        return line.rstrip(" ")


def _shown(value: object) -> str:
    if isinstance(value, str) and not _TO_QUOTE.search(value):
        return value
    return repr(value)
