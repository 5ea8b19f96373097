"""From a request to its outcome: a user's function, within a time limit, whatever it does."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog

from realtime_bridge.base import Stopwatch, retry_delay
from realtime_bridge.credentials import Redactor
from realtime_bridge.outcomes import Cause, Retry
from realtime_bridge.request_tables.calling import TookTooLongError, ask, within
from realtime_bridge.request_tables.request import (
    Completed,
    FailedRequest,
    NewEvent,
    Request,
    RequestOutcome,
    storable,
)
from realtime_bridge.request_tables.table import Later, RequestTable, Unanswerable, Unusable

log = structlog.get_logger()

_UNREDACTED = Redactor()

# What a user reads when the function did not say it in words of its own.
BROKE = "something went wrong"
TOOK_TOO_LONG = "it took too long"
NO_ANSWER = "no answer came that could be used"
GAVE_UP = "it was tried {} times without success"

LONGEST_WAIT = 30 * 86_400.0  # seconds; the database takes no longer one


class RequestHandler:
    """Handles the rows of one request table.

    ================================================= ========================================
    what the function does                            outcome
    ================================================= ========================================
    returns a JSON value, or Completed                Completed
    returns nothing, or nonsense                      Failed: no answer came that could be used
    raises Unanswerable (such as PlanError)           FailedRequest, with its text
    raises Later                                      Retry; failed when the attempts are used up
    raises anything else, or exits                    Failed: something went wrong
    is not done within the time limit                 Failed: it took too long
    (the worker died with it, MAX_ATTEMPTS times)     Failed: it was tried 5 times without success
    ================================================= ========================================

    Details are for the log only. A function that does not let itself be cancelled is left to
    itself; a plain function that hangs keeps its thread until it ends.
    """

    def __init__(
        self,
        table: RequestTable,
        *,
        max_attempts: int,
        redact: Redactor = _UNREDACTED,
        wait: Callable[[int], float] = retry_delay,
    ) -> None:
        """`wait(retries)`: seconds until the next try where the function does not say."""
        self._redact = redact
        self._table = table
        self._max_attempts = max_attempts
        self._wait = wait

    async def __call__(self, request: Request, laps: Stopwatch) -> RequestOutcome:
        """Answer one request."""
        if request.retries >= self._max_attempts:  # by workers that went away with it
            return self._fail(request, GAVE_UP.format(self._max_attempts), "attempts used up")
        try:
            answer = await within(self._table.timeout, ask(self._table.answer, request))
            return _completed(answer)
        except Unanswerable as error:
            return self._fail(request, str(error), "the function says so")
        except Later as error:
            return self._again(request, error)
        except TookTooLongError:
            return self._fail(request, TOOK_TOO_LONG, f"not done in {self._table.timeout:g} s")
        except Unusable as error:
            return self._fail(request, NO_ANSWER, str(error))
        except Exception as error:  # noqa: BLE001 - somebody else's code: anything
            return self._fail(request, BROKE, type(error).__name__, error)
        finally:
            laps.lap("answer")

    def _again(self, request: Request, later: Later) -> RequestOutcome:
        if request.retries + 1 >= self._max_attempts:
            return self._fail(request, GAVE_UP.format(self._max_attempts), str(later))
        seconds = self._wait(request.retries) if later.seconds is None else later.seconds
        return Retry(
            _readable(str(later)),
            after=min(max(0.0, float(seconds)), LONGEST_WAIT),
            cause=Cause.ASKED,
        )

    def _fail(
        self, request: Request, text: str, why: str, error: Exception | None = None
    ) -> FailedRequest:
        log.warning(
            "not_answered", lane=self._table.name, id=request.id, why=why, exc_info=error or False
        )
        reason = _readable(self._redact.public(text))
        kind = self._table.failed_event
        event = kind and NewEvent(kind, storable(request.about) | {"reason": reason})
        return FailedRequest(reason, (event,) if event else ())


def _readable(text: str) -> str:
    """A sentence that the database takes and the user sees: never empty."""
    stored: str = storable(text)
    return stored.strip() or BROKE


def _completed(answer: Any) -> Completed:
    given = answer if isinstance(answer, Completed) else Completed(answer)
    if given.result is None:
        raise Unusable("the function returned nothing")
    try:
        return Completed(
            storable(given.result),
            tuple(replace(event, payload=storable(dict(event.payload))) for event in given.events),
            given.withdraw,
        )
    except (TypeError, ValueError, RecursionError) as error:
        raise Unusable(f"the function returned what is no JSON value: {error}") from error
