"""From a request to its outcome: a user's function, within a time limit, whatever it does."""

import asyncio
import contextvars
import inspect
import re
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import structlog

from realtime_bridge.backoff import backoff
from realtime_bridge.laps import Laps
from realtime_bridge.model import Retry
from realtime_bridge.redaction import Redactor
from realtime_bridge.requests import Completed, Failed, NewEvent, Request, RequestOutcome, storable

log = structlog.get_logger()

_UNREDACTED = Redactor()

# What a user reads when the function did not say it in words of its own.
BROKE = "something went wrong"
TOOK_TOO_LONG = "it took too long"
NO_ANSWER = "no answer came that could be used"
GAVE_UP = "it was tried {} times without success"

# Beyond the time limit a claim lasts as long as its answer may take to be written.
SETTLE_SECONDS = 15.0
LONGEST_WAIT = 30 * 86_400.0  # seconds; the database takes no longer one
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


class Answerer:
    """Handles the rows of one request table.

    ================================================= ========================================
    what the function does                            outcome
    ================================================= ========================================
    returns a JSON value, or Completed                Completed
    returns nothing, or nonsense                      Failed: no answer came that could be used
    raises Unanswerable (such as PlanError)           Failed, with its text
    raises Later                                      Retry; Failed when the attempts are used up
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
        wait: Callable[[int], float] = backoff,
    ) -> None:
        """`wait(retries)`: seconds until the next try where the function does not say."""
        self._redact = redact
        self._table = table
        self._max_attempts = max_attempts
        self._wait = wait

    async def __call__(self, request: Request, laps: Laps) -> RequestOutcome:
        """Answer one request."""
        if request.retries >= self._max_attempts:  # by workers that went away with it
            return self._fail(request, GAVE_UP.format(self._max_attempts), "attempts used up")
        try:
            answer = await _within(self._table.timeout, ask(self._table.answer, request))
            return _completed(answer)
        except Unanswerable as error:
            return self._fail(request, str(error), "the function says so")
        except Later as error:
            return self._again(request, error)
        except _TookTooLongError:
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
        return Retry(_readable(str(later)), after=min(max(0.0, float(seconds)), LONGEST_WAIT))

    def _fail(
        self, request: Request, text: str, why: str, error: Exception | None = None
    ) -> Failed:
        log.warning(
            "not_answered", lane=self._table.name, id=request.id, why=why, exc_info=error or False
        )
        reason = _readable(self._redact.public(text))
        kind = self._table.failed_event
        event = kind and NewEvent(kind, storable(request.about) | {"reason": reason})
        return Failed(reason, (event,) if event else ())


class _TookTooLongError(Exception):
    pass


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


async def ask(function: Answer, request: Request) -> Any:
    """Call a user's function, async or plain. Raises what it raises, but no SystemExit."""
    try:
        if _is_async(function):
            answer = await function(request)
        else:
            answer = await _in_thread(function, request)
            if inspect.isawaitable(answer):
                answer = await answer
    except SystemExit as error:  # would end the bridge
        raise RuntimeError("the function called exit") from error
    return answer


def _is_async(function: Answer) -> bool:
    called = getattr(function, "__call__", None)  # noqa: B004 - of an object, its own
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(called)


async def _within(seconds: float, work: Coroutine[Any, Any, Any]) -> Any:
    """Await work for so long. Unlike asyncio.timeout this does not wait for it to be cancelled."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait([task], timeout=seconds)
        if not task.done():
            raise _TookTooLongError
        if task.cancelled():
            raise RuntimeError("the function cancelled itself")
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            task.add_done_callback(_forget)


def _forget(task: asyncio.Task[Any]) -> None:
    """Nobody waits for it any more, so its exception counts as seen."""
    if not task.cancelled():
        task.exception()


async def _in_thread(function: Answer, request: Request) -> Any:
    """Call a plain function in a thread of its own.

    Not the loop's executor: planners that hang would take its few threads from everybody else,
    and it is waited for when the process ends.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()
    context = contextvars.copy_context()

    def finish(answer: Any, error: BaseException | None) -> None:
        if not future.done():
            future.set_result((answer, error))

    def work() -> None:
        try:
            done: tuple[Any, BaseException | None] = (context.run(function, request), None)
        except BaseException as error:  # noqa: BLE001 - raised again where it is awaited
            done = (None, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(finish, *done)

    threading.Thread(target=work, name="answer", daemon=True).start()
    answer, error = await future
    if error is not None:
        raise error
    return answer
