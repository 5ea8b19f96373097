"""Any JSON value as text that a person can read."""

import math
import re
from collections.abc import Iterable
from itertools import islice
from typing import Any

ELLIPSIS = "…"

# How much of a value is written: nobody reads the tenth level or the hundredth item.
_MAX_DEPTH = 4
_MAX_ITEMS = 50
_MAX_INT_BITS = 1024

# Control characters that are not whitespace, lone surrogates (UTF-8 cannot encode them), and the
# bidirectional overrides with which a name could reverse the rest of the sentence.
_UNREADABLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_WHITESPACE = re.compile(r"\s+")
# Telegram treats a text with none of these as empty.
_VISIBLE = re.compile(
    "[^\\s\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2060-\u206f"
    "\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)


def readable(value: Any, limit: int = 4096) -> str:
    r"""Write any JSON value as one line of at most `limit` UTF-16 units; "" for an empty value.

    None, false and blank strings are empty. Never raises for a JSON value.

    >>> readable("  Ann\n Lee\x00 "), readable(3.0), readable(None), readable(True)
    ('Ann Lee', '3', '', '✓')
    >>> readable({"steps": [1, None, "call"], "by": "Ann"})
    'steps: 1, call, by: Ann'
    >>> readable("Hello, world", limit=6)
    'Hello…'
    """
    return shorten(_text(value, _MAX_DEPTH, limit), limit)


def paragraphs(value: Any, limit: int = 4096) -> str:
    r"""Write a JSON value as `readable` does, but keep the line breaks of a string.

    >>> paragraphs("Call  her \r\n\n\n then write")
    'Call her\nthen write'
    """
    if not isinstance(value, str):
        return readable(value, limit)
    lines = (_text(line, _MAX_DEPTH, limit) for line in _bounded(value, limit).splitlines())
    return shorten("\n".join(line for line in lines if line), limit)


def truncated(value: Any, limit: int, depth: int = 20) -> Any:
    """Copy a JSON value, with every string shortened and everything below `depth` left out."""
    match value:
        case str():
            return shorten(value, limit)
        case list() | dict() if not depth:
            return None
        case list():
            return [truncated(item, limit, depth - 1) for item in value]
        case dict():
            return {key: truncated(item, limit, depth - 1) for key, item in value.items()}
        case _:
            return value


def one_line(text: str) -> str:
    """Turn every run of whitespace into one space, and remove control characters."""
    return _WHITESPACE.sub(" ", strip_controls(text))


def is_blank(text: str) -> bool:
    r"""Tell whether a text has no visible character.

    >>> is_blank(" \u200b"), is_blank("-")
    (True, False)
    """
    return _VISIBLE.search(text) is None


def strip_controls(text: str) -> str:
    """Remove control characters, lone surrogates and bidirectional overrides, not whitespace."""
    return _UNREADABLE.sub("", text)


def utf16_length(text: str) -> int:
    """Return the length as Telegram counts it: in UTF-16 code units.

    >>> utf16_length("a"), utf16_length("😀")
    (1, 2)
    """
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def shorten(text: str, limit: int) -> str:
    """Cut to at most `limit` UTF-16 units, the last one an ellipsis if anything was cut."""
    if len(text) * 2 <= limit or utf16_length(text) <= limit:
        return text
    return head(text, limit - 1) + ELLIPSIS


def head(text: str, limit: int) -> str:
    """Return the first `limit` UTF-16 units: whole characters, no trailing space or joiner."""
    cut = text.encode("utf-16-le", "surrogatepass")[: limit * 2].decode("utf-16-le", "ignore")
    return cut.rstrip().rstrip("\u200d")


def _text(value: Any, depth: int, limit: int) -> str:
    match value:
        case None | False:
            return ""
        case True:
            return "✓"
        case str():
            line = one_line(_bounded(value, limit)).strip()
            return "" if is_blank(line) else line
        case int():
            return str(value) if value.bit_length() <= _MAX_INT_BITS else ELLIPSIS
        case float():
            return _number(value)
        case list() | tuple() | dict() if not depth:
            return ELLIPSIS if value else ""
        case list() | tuple():
            return _joined(_text(item, depth - 1, limit) for item in value)
        case dict():
            return _joined(_pair(key, item, depth - 1, limit) for key, item in value.items())
        case _:
            return _text(str(value), depth, limit)


def _pair(key: Any, value: Any, depth: int, limit: int) -> str:
    name, text = _text(key, depth, limit), _text(value, depth, limit)
    return f"{name}: {text}" if name and text else text


def _joined(texts: Iterable[str]) -> str:
    return ", ".join(islice(filter(None, texts), _MAX_ITEMS))


def _number(value: float) -> str:
    if not math.isfinite(value):
        return ""
    return repr(value).removesuffix(".0")


def _bounded(text: str, limit: int) -> str:
    """Cut hostile megabytes before a regular expression sees them."""
    return text[: 4 * limit]
