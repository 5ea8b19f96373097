"""Logging: for a person or for a machine, and never with a secret in it."""

import logging
import re
import sys
from collections.abc import Iterable
from typing import Any, Literal, TextIO
from urllib.parse import quote

import structlog
from structlog.typing import Processor

HIDDEN = "[secret]"

# What a secret looks like when it is none of the configured ones: a JWT, an sb_ key, a bot token.
_LOOKS_SECRET = re.compile(
    r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*|sb_secret_[\w-]+|\d{5,}(?::|%3[Aa])[A-Za-z0-9_-]{30,}"
)

# As they may be written; grows while the process runs, for a key may be changed.
_hidden: set[str] = set()

# Without the local variables, which hold payloads and texts.
_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Hide the given secrets, and whatever looks like one.

    >>> redact("GET /bot123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1/getMe")
    'GET /bot[secret]/getMe'
    """
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    return _LOOKS_SECRET.sub(HIDDEN, text)


def hide(secrets: Iterable[str]) -> None:
    """Redact these too from now on, in whatever `configure` set up; none is ever forgotten."""
    _hidden.update(
        written
        for secret in secrets
        if secret
        for written in (secret, quote(secret, safe=""), repr(secret)[1:-1])
    )


def configure(
    level: str = "INFO",
    style: Literal["console", "json"] = "console",
    *,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Send everything that is logged, also by other libraries, to one stream, redacted.

    What is redacted is the finished line, so that tracebacks and others' texts are covered.
    """
    stream = stream or sys.stderr
    hide(secrets)

    def redacted(_logger: Any, _method: str, line: Any) -> str:
        return redact(line, _hidden)

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
    # They report what the doorbell reports already, in its own words.
    for chatty in ("realtime", "websockets", "aiohttp.access", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel("NOTSET" if level == "DEBUG" else "CRITICAL")
    structlog.configure(
        # Not by way of the standard library, which would cost half as much again for each line.
        processors=[*stamped, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )


def _renderer(style: Literal["console", "json"], *, colors: bool) -> list[Processor]:
    if style == "json":
        return [_TRACEBACKS, structlog.processors.JSONRenderer()]
    return [
        structlog.dev.ConsoleRenderer(
            colors=colors, exception_formatter=structlog.dev.plain_traceback
        )
    ]
