"""The outcome of a request, whatever the user's function does."""

import asyncio
import functools
import sys
import threading

import pytest

from realtime_bridge.base.stopwatch import Stopwatch
from realtime_bridge.outcomes import Cause, Retry
from realtime_bridge.request_tables.handler import (
    BROKE,
    LONGEST_WAIT,
    NO_RESULT,
    TOOK_TOO_LONG,
    RequestHandler,
)
from realtime_bridge.request_tables.request import Completed, FailedRequest, NewEvent
from realtime_bridge.request_tables.table import Later, RequestTable, Unanswerable
from tests.request_tables.builders import request
from tests.unit.virtual_time import in_virtual_time

GAVE_UP = "it was tried 3 times without success"


async def answered(function, *, timeout=5.0, row=None, **table):
    """The outcome of one request."""
    handler = RequestHandler(
        RequestTable("drafts", function, timeout=timeout, **table),
        max_attempts=3,
        wait=lambda retries: 10.0 + retries,
    )
    return await handler(row or request(), Stopwatch())


def raising(error):
    async def function(_):
        raise error

    return function


def returning(value):
    async def function(_):
        return value

    return function


@pytest.mark.parametrize("value", [{"a": [1, None]}, "text", 0, False, [], {}])
async def test_a_json_value_is_the_result(value):
    """Anything but null answers the request."""
    assert await answered(returning(value)) == Completed(value)


async def test_an_answer_may_bring_events():
    """Events that the function returns are part of the outcome."""
    answer = Completed({"ok": True}, (NewEvent("draft_ready", {"n": 1}),), withdraw="draft_ready")

    assert await answered(returning(answer)) == answer


@pytest.mark.parametrize(
    "function",
    [
        returning(None),
        returning(Completed(None)),
        returning({1, 2}),
        returning(float("nan")),
        returning({"at": object()}),
        returning(functools.reduce(lambda inner, _: [inner], range(100_000), [])),
        returning(Completed(1, [NewEvent("x", {"at": object()})])),
    ],
)
async def test_what_is_no_json_value_is_no_answer(function):
    """The request fails here, instead of in the database later."""
    assert await answered(function) == FailedRequest(NO_RESULT)


@pytest.mark.parametrize(
    ("given", "stored"),
    [("a\x00b", "ab"), ({"k\x00": ["\ud800"]}, {"k": ["?"]}), ("\\u0000", "\\u0000"), ("😀", "😀")],
)
async def test_letters_that_the_database_refuses_are_left_out(given, stored):
    """A stray NUL from a language model must not cost the result."""
    assert await answered(returning(given)) == Completed(stored)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (Unanswerable("The lead has no address."), "The lead has no address."),
        (Unanswerable(""), BROKE),
        (Unanswerable("\x00 "), BROKE),
        (ValueError("secret detail"), BROKE),
        (TimeoutError("of the function's own"), BROKE),
        (asyncio.CancelledError(), BROKE),
        (SystemExit(1), BROKE),
        (StopIteration(), BROKE),
    ],
)
@pytest.mark.parametrize("event", [None, "draft_failed"])
async def test_an_exception_fails_the_request_with_a_sentence_for_the_user(error, text, event):
    """Chosen texts are shown, all others stay in the log; an event tells the chat if wanted."""
    outcome = await answered(raising(error), failed_event=event)

    assert outcome == FailedRequest(text, (NewEvent(event, {"reason": text}),) if event else ())


async def test_a_failure_names_the_lead_as_the_request_did():
    """The user's timezone is kept too; characters that the database refuses are not."""
    row = request(payload={"lead_name": "A\x00nn", "tz": "Europe/Kyiv", "notes": "x"})

    outcome = await answered(raising(Unanswerable("No.")), row=row, failed_event="draft_failed")

    (event,) = outcome.events
    assert event.payload == {"lead_name": "Ann", "tz": "Europe/Kyiv", "reason": "No."}


@pytest.mark.parametrize(
    ("later", "retries", "expected"),
    [
        (Later("busy"), 1, Retry("busy", after=11.0, cause=Cause.ASKED)),
        (Later("busy", seconds=4), 0, Retry("busy", after=4.0, cause=Cause.ASKED)),
        (Later("busy", seconds=-1), 0, Retry("busy", after=0.0, cause=Cause.ASKED)),
        (Later("busy", seconds=1e9), 0, Retry("busy", after=LONGEST_WAIT, cause=Cause.ASKED)),
        (Later("busy"), 2, FailedRequest(GAVE_UP)),
    ],
)
async def test_a_function_may_ask_to_be_asked_later(later, retries, expected):
    """Each time uses up an attempt; the last one fails the request."""
    assert await answered(raising(later), row=request(retries=retries, attempt=9)) == expected


async def test_a_request_whose_workers_died_too_often_is_not_tried_again():
    """A request that kills its worker must not do so forever."""
    asked = []

    outcome = await answered(asked.append, row=request(retries=3, attempt=4))

    assert outcome == FailedRequest(GAVE_UP)
    assert asked == []


def test_a_function_that_hangs_is_cut_off():
    """It is cancelled at the limit."""
    cancelled = []

    async def hangs(_):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def scenario():
        started = asyncio.get_running_loop().time()
        outcome = await answered(hangs, timeout=30)
        took = asyncio.get_running_loop().time() - started
        await asyncio.sleep(0)
        return outcome, took

    outcome, took = in_virtual_time(scenario())

    assert outcome == FailedRequest(TOOK_TOO_LONG)
    assert took == pytest.approx(30, abs=0.1)
    assert cancelled == [True]


def test_a_function_that_does_not_let_itself_be_cancelled_holds_nobody_up():
    """It is left running, and its late result is ignored."""
    released = asyncio.Event()

    async def stubborn(_):
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue
        raise ValueError("too late")

    async def scenario():
        outcome = await answered(stubborn, timeout=30)
        released.set()
        await asyncio.sleep(1)
        return outcome

    assert in_virtual_time(scenario()) == FailedRequest(TOOK_TOO_LONG)


async def test_a_request_that_is_cut_off_cancels_its_function():
    """A stop leaves no planner running."""
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def works(_):
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    answering = asyncio.create_task(answered(works))
    await started.wait()
    answering.cancel()
    await asyncio.wait([answering])

    async with asyncio.timeout(5):
        await cancelled.wait()
    assert answering.cancelled()


class Callable:
    """Callable objects and methods, async and plain."""

    async def __call__(self, row):
        return row.id

    def plain(self, row):
        return row.id

    async def method(self, row):
        return row.id

    def promise(self, row):
        return self.method(row)


@pytest.mark.parametrize(
    "function",
    [
        Callable(),
        Callable().method,
        Callable().plain,
        Callable().promise,
        functools.partial(Callable.method, None),
        lambda row: row.id,
    ],
)
async def test_any_callable_will_do(function):
    """Functions, methods and objects; async, plain, or plain and returning an awaitable."""
    assert await answered(function) == Completed(1)


async def test_a_plain_function_does_not_hold_up_the_loop():
    """It runs in a thread that the end of the process does not wait for."""
    go_on, threads = threading.Event(), []

    def slow(_):
        threads.append(threading.current_thread())
        return go_on.wait(10)

    answering = asyncio.create_task(answered(slow))
    while not threads:
        await asyncio.sleep(0.001)
    go_on.set()

    assert await answering == Completed(True)
    assert threads[0].daemon
    assert threads[0] is not threading.main_thread()


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), StopIteration()])
async def test_what_a_plain_function_raises_is_like_what_others_raise(error):
    """It makes no difference that a thread raised it."""

    def broken(_):
        raise error

    assert await answered(broken) == FailedRequest(BROKE)


async def test_a_plain_function_that_is_too_late_is_not_heard():
    """Its thread may end later without harm."""
    go_on, ended = threading.Event(), threading.Event()

    def slow(_):
        go_on.wait(10)
        ended.set()

    outcome = await answered(slow, timeout=0.01)
    go_on.set()
    await asyncio.to_thread(ended.wait, 10)
    await asyncio.sleep(0)

    assert outcome == FailedRequest(TOOK_TOO_LONG)


async def test_details_go_to_the_log_only(capsys):
    """The developer finds the traceback, the user a sentence."""
    await answered(raising(ValueError("the detail")))

    logged = "".join(capsys.readouterr())
    assert "the detail" in logged
    assert "not_answered" in logged


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Drafts; drop table x"},
        {"name": "a" * 64},
        {"timeout": 0},
        {"concurrency": 0},
    ],
)
def test_a_request_table_that_cannot_work_is_refused(wrong):
    """When the program starts, not at the first row."""
    with pytest.raises(ValueError, match=str(wrong.get("name", "drafts"))):
        RequestTable(**{"name": "drafts", "answer": sys.exit, **wrong})
