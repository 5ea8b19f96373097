"""Medians, spreads, percentiles and tables."""

import math
import statistics
from collections.abc import Iterable, Sequence


def median(values: Sequence[float]) -> float:
    """The median; nan if there are no values."""
    return statistics.median(values) if values else math.nan


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` (0 to 1) of all values do not exceed.

    >>> percentile([4, 1, 3, 2], 0.5), percentile([4, 1, 3, 2], 0.99)
    (2, 4)
    """
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)]


def spread(values: Sequence[float], digits: int = 0) -> str:
    """The median with minimum and maximum.

    >>> spread([3, 1, 2])
    '2 (1-3)'
    """
    if not values:
        return "-"
    low, middle, high = min(values), median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, aligned for reading in a terminal."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def verdict(what: str, value: float, limit: float, *, least: bool = True) -> str:
    """One line that says whether a result meets its bound.

    >>> verdict("drain relative to PgQueuer", 1.5, 1.3)
    'holds: drain relative to PgQueuer = 1.50 (at least 1.3)'
    """
    holds = value >= limit if least else value <= limit
    word = "holds" if holds else "FALLS SHORT"
    return f"{word}: {what} = {value:.2f} ({'at least' if least else 'at most'} {limit:g})"
