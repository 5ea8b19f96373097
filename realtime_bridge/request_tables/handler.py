"""Turns a request into its outcome by calling the user's function, whatever that does."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeAlias

import structlog

from realtime_bridge.base import Stopwatch, retry_delay
from realtime_bridge.credentials import Redactor
from realtime_bridge.outcomes import Cause, Retry
from realtime_bridge.request_tables.calling import TimeLimitError, call, with_time_limit
from realtime_bridge.request_tables.progress import Progress
from realtime_bridge.request_tables.request import (
    Completed,
    FailedRequest,
    NewEvent,
    Request,
    RequestOutcome,
    storable,
)
from realtime_bridge.request_tables.table import (
    InvalidResultError,
    Later,
    RequestTable,
    Unanswerable,
)

log = structlog.get_logger()

_UNREDACTED = Redactor()

# What the user reads when the function did not choose a text.
BROKE = "something went wrong"
TOOK_TOO_LONG = "it took too long"
NO_RESULT = "there was no usable answer"
GAVE_UP = "it was tried {} times without success"

LONGEST_WAIT = 30 * 86_400.0  # seconds; the database accepts no more
LONGEST_PROGRESS = 1000  # characters

# Reports an event of a claimed request's progress; False if the claim no longer holds.
Report: TypeAlias = Callable[[Request, NewEvent], Awaitable[bool]]


async def _report_nowhere(_request: Request, _event: NewEvent) -> bool:
    return True


class RequestHandler:
    """Handles the rows of one request table.

    ================================================= ========================================
    what the function does                            outcome
    ================================================= ========================================
    returns a JSON value, or Completed                Completed
    returns nothing, or no JSON value                 failed: there was no usable answer
    raises Unanswerable (such as PlanError)           failed, with its text
    raises Later                                      Retry; failed after MAX_ATTEMPTS
    raises anything else, or exits                    failed: something went wrong
    exceeds the time limit                            failed: it took too long
    (the worker died with it, MAX_ATTEMPTS times)     failed: it was tried 5 times without success
    ================================================= ========================================

    Details go to the log only. A function that ignores its cancellation is left running; a plain
    function that hangs keeps its thread until it returns.
    """

    def __init__(
        self,
        table: RequestTable,
        *,
        max_attempts: int,
        redact: Redactor = _UNREDACTED,
        wait: Callable[[int], float] = retry_delay,
        report: Report = _report_nowhere,
    ) -> None:
        """`wait(retries)`: seconds until the next try, unless Later says when.

        `report` tells the chat of progress, if the table has a `progress_event`.
        """
        self._redact = redact
        self._report = report
        self._table = table
        self._max_attempts = max_attempts
        self._wait = wait

    async def __call__(self, request: Request, stopwatch: Stopwatch) -> RequestOutcome:
        """Answer one request."""
        progress = self._progress(request)
        if progress is None:
            return await self._answer(request, stopwatch)
        try:
            return await self._answer(request.reporting(progress), stopwatch)
        finally:
            progress.end()

    async def _answer(self, request: Request, stopwatch: Stopwatch) -> RequestOutcome:
        if request.retries >= self._max_attempts:  # workers died while they had it
            return self._fail(request, GAVE_UP.format(self._max_attempts), "attempts used up")
        limit = self._table.timeout
        try:
            return _completed(await with_time_limit(limit, call(self._table.answer, request)))
        except Unanswerable as error:
            return self._fail(request, str(error), "the function says so")
        except Later as error:
            return self._retry(request, error)
        except TimeLimitError:
            return self._fail(request, TOOK_TOO_LONG, f"not done in {limit:g} s")
        except InvalidResultError as error:
            return self._fail(request, NO_RESULT, str(error))
        except Exception as error:  # noqa: BLE001 - a user's code may raise anything
            return self._fail(request, BROKE, type(error).__name__, error)
        finally:
            stopwatch.lap("answer")

    def _progress(self, request: Request) -> Progress | None:
        event_type = self._table.progress_event
        if event_type is None:
            return None

        async def send(text: str) -> bool:
            payload = storable(request.about) | {
                "text": self._redact.public(text, LONGEST_PROGRESS)
            }
            return await self._report(request, NewEvent(event_type, payload))

        return Progress(f"{self._table.name}:{request.id}", send)

    def _retry(self, request: Request, later: Later) -> RequestOutcome:
        if request.retries + 1 >= self._max_attempts:
            return self._fail(request, GAVE_UP.format(self._max_attempts), str(later))
        seconds = self._wait(request.retries) if later.seconds is None else later.seconds
        return Retry(
            _sentence(str(later)),
            after=min(max(0.0, float(seconds)), LONGEST_WAIT),
            cause=Cause.ASKED,
        )

    def _fail(
        self, request: Request, text: str, why: str, error: Exception | None = None
    ) -> FailedRequest:
        log.warning(
            "not_answered", lane=self._table.name, id=request.id, why=why, exc_info=error or False
        )
        reason = _sentence(self._redact.public(text))
        if not self._table.failed_event:
            return FailedRequest(reason)
        payload = storable(request.about) | {"reason": reason}
        event = NewEvent(self._table.failed_event, payload, replaces=request.progress_key)
        return FailedRequest(reason, (event,))


def _sentence(text: str) -> str:
    """A text that the database accepts and the user can read: never empty."""
    stored: str = storable(text)
    return stored.strip() or BROKE


def _completed(returned: Any) -> Completed:
    given = returned if isinstance(returned, Completed) else Completed(returned)
    if given.result is None:
        raise InvalidResultError("the function returned nothing")
    try:
        return Completed(
            storable(given.result),
            tuple(replace(event, payload=storable(dict(event.payload))) for event in given.events),
            given.withdraw,
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidResultError(f"what the function returned is no JSON value: {error}") from error
