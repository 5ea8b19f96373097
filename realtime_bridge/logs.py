"""Logging: for a person or for a machine, and never with a secret in it."""

import logging
import re
import sys
from collections.abc import Iterable
from typing import Literal, TextIO
from urllib.parse import quote

import structlog
from structlog.typing import Processor

HIDDEN = "[secret]"

# What a secret looks like when it is none of the configured ones: a JWT, an sb_ key, a bot token.
_LOOKS_SECRET = re.compile(
    r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*|sb_secret_[\w-]+|\d{5,}(?::|%3[Aa])[A-Za-z0-9_-]{30,}"
)

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


class RedactingFormatter(structlog.stdlib.ProcessorFormatter):
    """Redacts the finished line, so that tracebacks and other libraries' texts are covered."""

    secrets: tuple[str, ...] = ()

    def format(self, record: logging.LogRecord) -> str:
        """Render the record, then hide what must not be read."""
        return redact(super().format(record), self.secrets)


def configure(
    level: str = "INFO",
    style: Literal["console", "json"] = "console",
    *,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Send everything that is logged, also by other libraries, through one redacting handler."""
    stream = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[Processor] = (
        [_TRACEBACKS, structlog.processors.JSONRenderer()]
        if style == "json"
        else [
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    )
    formatter = RedactingFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
    )
    formatter.secrets = tuple(
        written
        for secret in secrets
        if secret
        for written in {secret, quote(secret, safe=""), repr(secret)[1:-1]}
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # They report what the doorbell reports already, in its own words.
    for chatty in ("realtime", "websockets", "aiohttp.access", "httpx", "httpcore"):
        logging.getLogger(chatty).setLevel("NOTSET" if level == "DEBUG" else "CRITICAL")
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
