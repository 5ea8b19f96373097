"""A request table, its function, and what that may raise."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from realtime_bridge.request_tables.request import Request

# How long writing a result may take; the lease is longer than the time limit by this much.
SETTLE_SECONDS = 15.0

# Postgres truncates longer names.
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")

# Takes a Request; returns the result (any JSON value) or Completed. A plain function, one that is
# not async, runs in a thread of its own.
RequestFunction: TypeAlias = Callable[[Request], Any]


class Unanswerable(Exception):  # noqa: N818 - an outcome rather than an error
    """Raise it to fail the request; its text is shown to the user."""


class InvalidResultError(Exception):
    """A user's function returned something that is no result; the text is for the log."""


class Later(Exception):  # noqa: N818 - an outcome rather than an error
    """Raise it to be called again, which uses up one of MAX_ATTEMPTS.

    That is after `seconds`; by default after a backoff that grows from try to try.
    """

    def __init__(self, why: str, seconds: float | None = None) -> None:
        super().__init__(why)
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class RequestTable:
    """A request table and the function that answers its requests.

    `name`: a request table in the schema public. `timeout`: seconds that one call may take.
    `concurrency`: how many calls may run at once. `failed_event`: the type of the event that tells
    the chat about a failure, with a `reason` in its payload; None for no such event.
    `progress_event`: the type of the event that `Request.progress` sends, with a `text` in its
    payload; None if the function reports no progress. A failure takes its place in the chat.
    """

    name: str
    answer: RequestFunction
    timeout: float = 60.0
    concurrency: int = 4
    failed_event: str | None = None
    progress_event: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is not a table name such as draft_requests")
        if self.timeout <= 0 or self.concurrency < 1:
            raise ValueError(f"{self.name}: timeout and concurrency must be positive")

    @property
    def lease(self) -> float:
        """Seconds after which a request is taken back from a worker that died."""
        return self.timeout + SETTLE_SECONDS
