"""How long to wait before trying again."""

import random
from collections.abc import Callable, Iterator


def delays(
    first: float = 1.0,
    factor: float = 1.6,
    cap: float = 60.0,
    rand: Callable[[], float] = random.random,
) -> Iterator[float]:
    """Yield waits in seconds, growing up to `cap`, each jittered down by at most a half.

    Jitter keeps replicas that failed together from coming back together.

    >>> waits = delays(rand=lambda: 1.0)
    >>> [round(next(waits), 2) for _ in range(4)]
    [1.0, 1.6, 2.56, 4.1]
    >>> waits = delays(first=40, rand=lambda: 0.0)
    >>> [next(waits) for _ in range(3)]
    [20.0, 30.0, 30.0]
    """
    wait = first
    while True:
        yield min(wait, cap) * (0.5 + rand() / 2)
        wait = min(wait * factor, cap)


def retry_delay(
    retries: int,
    first: float = 2.0,
    factor: float = 3.0,
    cap: float = 600.0,
    rand: Callable[[], float] = random.random,
) -> float:
    """Return the seconds until the next attempt, after `retries` attempts that failed.

    >>> [retry_delay(n, rand=lambda: 1.0) for n in range(5)]
    [2.0, 6.0, 18.0, 54.0, 162.0]
    >>> retry_delay(1000, rand=lambda: 0.0)
    300.0
    """
    grown = first * factor ** min(retries, 32)
    return min(grown, cap) * (0.5 + rand() / 2)
