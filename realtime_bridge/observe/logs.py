"""Logging, for people or for machines, and never with a secret in it."""

import logging
import sys
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import Processor

from realtime_bridge.credentials import Redactor
from realtime_bridge.observe.plain_lines import PlainLines

_UNREDACTED = Redactor()

# Without local variables, which hold payloads and texts.
_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def configure_logging(
    level: str = "INFO",
    style: Literal["console", "json"] = "console",
    *,
    redact: Redactor = _UNREDACTED,
    stream: TextIO | None = None,
) -> None:
    """Send everything that is logged, including by other libraries, to one stream, redacted.

    The finished line is redacted: that covers tracebacks. `stream` is stderr by default.
    """
    stream = stream or sys.stderr

    def redacted(_logger: Any, _method: str, line: Any) -> str:
        return redact(line)

    stamped: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    rendered: list[Processor] = [*_renderer(style, colors=stream.isatty()), redacted]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*stamped, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # The bridge logs the same, in its own words.
    for chatty in ("realtime", "websockets", "aiohttp.access", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel("NOTSET" if level == "DEBUG" else "CRITICAL")
    structlog.configure(
        # Bypasses the standard library, which would make each line half as expensive again.
        processors=[*stamped, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )


def _renderer(style: Literal["console", "json"], *, colors: bool) -> list[Processor]:
    if style == "json":
        return [_TRACEBACKS, structlog.processors.JSONRenderer()]
    if not colors:
        return [PlainLines()]
    return [
        structlog.dev.ConsoleRenderer(
            colors=True, exception_formatter=structlog.dev.plain_traceback
        )
    ]
