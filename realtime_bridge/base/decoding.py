"""Decoding the JSON of one row, so that a bad value costs that row only.

A decoded value is safe to walk, print and encode again: it is not deeply nested, and its numbers
are finite.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from typing import Any

# The database cuts longer texts to this.
MAX_CHARACTERS = 2**17
# Well within the recursion limits of Python and pydantic.
MAX_LEVELS = 100


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A text that is not acceptable JSON. `why` does not quote it."""

    why: str


def decode(text: Any) -> Any | Unreadable:
    r"""Decode a JSON value that the database returned as text; None stays None.

    Of duplicate keys the last one counts, as in Postgres' jsonb.

    >>> decode('{"a": 1, "a": [2.5, "\\u00e9"]}')
    {'a': [2.5, 'é']}
    >>> decode('[1e400]'), decode('{"cut": "of')
    (Unreadable(why='a number is too large'), Unreadable(why='it is not JSON'))
    """
    if text is None:
        return None
    if not isinstance(text, str):
        return Unreadable("it is not text")
    if len(text) >= MAX_CHARACTERS:
        return Unreadable("it is longer than 128 KiB")
    try:
        value = json.loads(text, parse_float=_finite, parse_constant=_not_json)
    except _NotJsonError as error:
        return Unreadable(str(error))
    except json.JSONDecodeError:
        return Unreadable("it is not JSON")
    except RecursionError:
        return _TOO_DEEP
    except ValueError:  # Python's limit on digits
        return Unreadable("a number has too many digits")
    return _TOO_DEEP if _is_deep(value) else value


_TOO_DEEP = Unreadable(f"it is nested deeper than {MAX_LEVELS} levels")


class _NotJsonError(ValueError):
    pass


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise _NotJsonError("a number is too large")
    return number


def _not_json(_: str) -> float:
    raise _NotJsonError("NaN and Infinity are not JSON")


def _is_deep(value: Any) -> bool:
    """Descend level by level, without recursion."""
    level = _within([value])
    for _ in range(MAX_LEVELS):
        if not level:
            return False
        level = _within(inner for outer in level for inner in outer)
    return bool(level)


def _within(values: Iterable[Any]) -> list[Iterable[Any]]:
    """Return the lists, and the values of the objects, among some values."""
    return [
        value.values() if isinstance(value, dict) else value
        for value in values
        if isinstance(value, dict | list)
    ]
