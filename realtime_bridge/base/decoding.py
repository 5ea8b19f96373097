r"""One row's JSON, read alone: what is wrong with it is its own affair.

What comes out can be walked, printed and written as JSON again by anybody: it is not deep, and
its numbers are finite.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from typing import Any

# What the database cuts longer texts to.
MOST_CHARACTERS = 2**17
# Python's recursion and pydantic's end later than that; whoever reads it gives up sooner.
MOST_LEVELS = 100


@dataclass(frozen=True, slots=True)
class Unreadable:
    """There is no value in the text. `why` says so without quoting it."""

    why: str


def decode(text: Any) -> Any | Unreadable:
    r"""Read a JSON value that the database handed over as text; None stays None.

    Of a key that comes twice the last one counts, as in Postgres' jsonb.

    >>> decode('{"a": 1, "a": [2.5, "\\u00e9"]}')
    {'a': [2.5, 'é']}
    >>> decode('[1e400]'), decode('{"cut": "of')
    (Unreadable(why='a number is too large'), Unreadable(why='it is no JSON'))
    """
    if text is None:
        return None
    if not isinstance(text, str):
        return Unreadable("it is not handed over as text")
    if len(text) >= MOST_CHARACTERS:
        return Unreadable("it is longer than 128 KiB")
    try:
        value = json.loads(text, parse_float=_finite, parse_constant=_no_number)
    except _NoNumberError as error:
        return Unreadable(str(error))
    except json.JSONDecodeError:
        return Unreadable("it is no JSON")
    except RecursionError:
        return _TOO_DEEP
    except ValueError:  # Python's limit on digits
        return Unreadable("a number has too many digits")
    return _TOO_DEEP if _is_deep(value) else value


_TOO_DEEP = Unreadable(f"it is nested deeper than {MOST_LEVELS} levels")


class _NoNumberError(ValueError):
    pass


def _finite(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise _NoNumberError("a number is too large")
    return number


def _no_number(_: str) -> float:
    raise _NoNumberError("NaN and Infinity are no JSON")


def _is_deep(value: Any) -> bool:
    """Go down level by level, without recursion."""
    level = _within([value])
    for _ in range(MOST_LEVELS):
        if not level:
            return False
        level = _within(inner for outer in level for inner in outer)
    return bool(level)


def _within(values: Iterable[Any]) -> list[Iterable[Any]]:
    """The lists and objects among some values; of objects what is in them."""
    return [
        value.values() if isinstance(value, dict) else value
        for value in values
        if isinstance(value, dict | list)
    ]
