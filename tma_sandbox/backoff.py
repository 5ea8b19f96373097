"""Delays between retries."""

import random
from collections.abc import Callable, Iterator


def delays(first: float, cap: float, rand: Callable[[], float] = random.random) -> Iterator[float]:
    """Yield seconds, doubling up to `cap`, each reduced by a random part of at most half.

    >>> waits = delays(0.5, 2.0, rand=lambda: 1.0)
    >>> [next(waits) for _ in range(4)]
    [0.5, 1.0, 2.0, 2.0]
    """
    wait = first
    while True:
        yield min(wait, cap) * (0.5 + rand() / 2)
        wait = min(wait * 2, cap)
