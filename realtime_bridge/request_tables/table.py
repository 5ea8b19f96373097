"""A request table, and what its function may raise."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from realtime_bridge.request_tables.request import Request

# Beyond the time limit a claim lasts as long as its answer may take to be written.
SETTLE_SECONDS = 15.0


# Postgres cuts off what is longer.
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


# Takes a Request and returns the result, any JSON value, or Completed. Async, or a plain
# function, which then runs in a thread of its own.
Answer: TypeAlias = Callable[[Request], Any]


class Unanswerable(Exception):  # noqa: N818 - says what is the matter, not that it is an error
    """Raise it in an answering function to fail a request with a sentence for the user."""


class Unusable(Exception):  # noqa: N818 - as above
    """Raise it around a function of somebody else's that returned nonsense; for the log."""


class Later(Exception):  # noqa: N818 - a wish, not an error
    """Raise it to be asked again; each time uses up one of MAX_ATTEMPTS.

    After `seconds`, or after a wait that grows from one time to the next.
    """

    def __init__(self, why: str, seconds: float | None = None) -> None:
        super().__init__(why)
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class RequestTable:
    """A request table and what answers it.

    `name`: a table of the schema public that is a request table. `timeout`: seconds that one
    answer may take. `concurrency`: answers in work at one time. `failed_event`: the type of the
    event that tells the chat of a failure, with a `reason` in its payload; None for none.
    """

    name: str
    answer: Answer
    timeout: float = 60.0
    concurrency: int = 4
    failed_event: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of a request table, such as draft_requests")
        if self.timeout <= 0 or self.concurrency < 1:
            raise ValueError(f"{self.name}: timeout and concurrency must be positive")

    @property
    def lease(self) -> float:
        """Seconds after which a claim is taken back from a worker that went away."""
        return self.timeout + SETTLE_SECONDS
