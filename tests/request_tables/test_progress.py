"""Progress of a request: one message that changes, and never a reason to fail."""

import asyncio
import threading

import pytest

from realtime_bridge.base.stopwatch import Stopwatch
from realtime_bridge.credentials.redaction import Redactor
from realtime_bridge.request_tables.handler import GAVE_UP, LONGEST_PROGRESS, RequestHandler
from realtime_bridge.request_tables.progress import Progress
from realtime_bridge.request_tables.request import Completed, FailedRequest, NewEvent
from realtime_bridge.request_tables.table import RequestTable, Unanswerable
from tests.request_tables.builders import request
from tests.unit.virtual_time import in_virtual_time

SECRET = "sb_secret_Zq3vX8kLm2PwRt"


class Chat:
    """Takes reports, each in `seconds`; fails or refuses those that it is told to."""

    def __init__(self, seconds=0.0, fails=(), held=True):
        self.texts = []
        self.events = []
        self.in_flight = self.most_in_flight = 0
        self._seconds = seconds
        self._fails = fails
        self._held = held

    async def report(self, _, event):
        """The handler's way to the chat."""
        self.events.append(event)
        return await self.send(event.payload["text"])

    async def send(self, text):
        """One report."""
        self.texts.append(text)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(self._seconds)
        self.in_flight -= 1
        if text in self._fails:
            raise ConnectionError(text)
        return self._held


async def answered(function, chat, *, row=None, redact=None, **table):
    """The outcome of one request whose progress goes to `chat`."""
    handler = RequestHandler(
        RequestTable(
            "drafts", function, **{"failed_event": "failed", "progress_event": "progress", **table}
        ),
        max_attempts=3,
        redact=redact or Redactor(),
        report=chat.report,
    )
    return await handler(row or request(), Stopwatch())


def in_turn(chat, function, **more):
    """The outcome, in virtual time; whatever is left running has a minute to show itself."""

    async def scenario():
        outcome = await answered(function, chat, **more)
        await asyncio.sleep(60)
        return outcome

    return in_virtual_time(scenario())


def test_what_is_reported_reaches_the_chat_while_the_function_works():
    """With what the message needs from the request, as text."""
    chat = Chat()

    async def works(row):
        await row.progress("  Reading the history ")
        await asyncio.sleep(5)
        seen.extend(chat.events)
        return 1

    seen = []
    row = request(payload={"lead_name": "Ann", "tz": "Europe/Kyiv", "notes": "x"})

    assert in_turn(chat, works, row=row) == Completed(1)
    payload = {"lead_name": "Ann", "tz": "Europe/Kyiv", "text": "Reading the history"}
    assert seen == [NewEvent("progress", payload)]


def test_twenty_reports_in_five_seconds_are_a_few_messages():
    """About one a second, never two at a time, and the last word comes through."""
    chat = Chat(seconds=0.3)

    async def works(row):
        for number in range(20):
            await row.progress(f"{number}")
            await asyncio.sleep(0.25)
        await asyncio.sleep(5)
        return 1

    in_turn(chat, works)

    assert chat.texts[0] == "0"
    assert chat.texts[-1] == "19"
    assert len(chat.texts) <= 6
    assert chat.most_in_flight == 1


def test_while_a_report_is_on_its_way_only_the_newest_waits():
    """However slow the database is."""
    chat = Chat(seconds=20)

    async def works(row):
        for number in range(1000):
            await row.progress(f"{number}")
        await asyncio.sleep(50)
        return 1

    in_turn(chat, works)

    assert len(chat.texts) == 2
    assert chat.texts[-1] == "999"


def test_after_the_answer_nothing_is_reported():
    """Not what was waiting, and not what a function says that is still running."""
    chat = Chat(seconds=2)

    async def works(row):
        await row.progress("one")
        await asyncio.sleep(1)
        await row.progress("two")
        asyncio.get_running_loop().call_later(9, row.progress, "three")
        return 1

    in_turn(chat, works)

    assert chat.texts == ["one"]


@pytest.mark.parametrize("error", [Unanswerable("No."), ValueError("x"), None])
def test_nor_after_a_failure(error):
    """Whether the function failed or was too slow."""
    chat = Chat()

    async def works(row):
        row.progress("one")
        await asyncio.sleep(0.1)
        row.progress("two")
        if error:
            raise error
        await asyncio.sleep(0.5)
        raise AssertionError("it was cut off before")

    in_turn(chat, works, timeout=0.3)

    assert chat.texts == ["one"]


def test_who_lost_the_request_reports_nothing_more():
    """Somebody else has it now; the database said so."""
    chat = Chat(held=False)

    async def works(row):
        for number in range(10):
            await row.progress(f"{number}")
            await asyncio.sleep(2)
        return 1

    in_turn(chat, works)

    assert chat.texts == ["0"]


def test_reports_that_fail_are_logged_once_and_fail_nothing(capsys):
    """The next is tried, even with the same text."""
    chat = Chat(fails=["a", "b"])

    async def works(row):
        for text in "abbc":
            await row.progress(text)
            await asyncio.sleep(2)
        return 1

    assert in_turn(chat, works) == Completed(1)
    assert chat.texts == ["a", "b", "b", "c"]
    assert "".join(capsys.readouterr()).count("progress_lost") == 1


def test_the_same_text_again_is_not_sent():
    """A function may report in each round of a loop."""
    chat = Chat()

    async def works(row):
        for text in "aab":
            await row.progress(text)
            await asyncio.sleep(2)
        return 1

    in_turn(chat, works)

    assert chat.texts == ["a", "b"]


class Unprintable:
    """A text that cannot be had."""

    def __str__(self):
        raise RuntimeError("unprintable")


def test_nonsense_is_no_reason_to_fail(capsys):
    """Nothing to say, or nothing that can be said."""
    chat = Chat()

    async def works(row):
        for text in ("", "  ", None, Unprintable(), 7):
            await row.progress(text)
            await asyncio.sleep(2)
        return 1

    assert in_turn(chat, works) == Completed(1)
    assert chat.texts == ["7"]
    assert "unprintable" in "".join(capsys.readouterr())


def test_a_report_is_a_bounded_line_without_secrets():
    """Users read it."""
    chat = Chat()

    async def works(row):
        await row.progress(f"with {SECRET}\nand\x00 \ud800" + "x" * 10**6)
        await asyncio.sleep(1)
        return 1

    in_turn(chat, works, redact=Redactor([SECRET]))

    (text,) = chat.texts
    assert text.startswith("with [secret] and")
    assert "\n" not in text
    assert text.encode()
    assert len(text) <= LONGEST_PROGRESS


async def test_a_plain_function_reports_from_its_thread():
    """It just calls; the report goes while it works."""
    chat, told, go_on = Chat(), asyncio.Event(), threading.Event()
    send = chat.send

    async def telling(text):
        told.set()
        return await send(text)

    chat.send = telling

    def works(row):
        row.progress("Reading")
        go_on.wait(10)
        return 1

    answering = asyncio.create_task(answered(works, chat))
    async with asyncio.timeout(10):
        await told.wait()
    go_on.set()

    assert await answering == Completed(1)
    assert chat.texts == ["Reading"]


async def test_many_threads_may_report_at_once():
    """None is in the way of another, and the last text of all comes through."""
    chat = Chat()
    progress = Progress("drafts:1", chat.send, seconds_between=0)

    def reports(name):
        for number in range(300):
            progress.report(f"{name}{number}")

    await asyncio.gather(*(asyncio.to_thread(reports, name) for name in "abcd"))
    progress.report("last")
    async with asyncio.timeout(10):
        while chat.texts[-1:] != ["last"]:
            await asyncio.sleep(0)

    assert chat.most_in_flight == 1


def test_a_thread_that_outlives_the_bridge_may_still_report():
    """Nobody hears it, and it does not fail."""

    async def make():
        return Progress("drafts:1", Chat().send)

    progress = asyncio.run(make())

    progress.report("too late")


async def test_without_an_event_type_progress_does_nothing():
    """A function may report whether or not its table tells anybody."""
    chat, keys = Chat(), []

    async def works(row):
        await row.progress("Reading")
        keys.append(row.progress_key)
        raise Unanswerable("No.")

    outcome = await answered(works, chat, progress_event=None)
    await request().progress("of a request that nobody handles")

    assert outcome == FailedRequest("No.", (NewEvent("failed", {"reason": "No."}),))
    assert (chat.texts, keys) == ([], [None])


async def test_an_answers_event_can_take_the_place_of_the_progress():
    """By the key of its message."""

    async def works(row):
        return Completed(1, [NewEvent("ready", replaces=row.progress_key)])

    outcome = await answered(works, Chat(), row=request(id=42))

    assert outcome.events == (NewEvent("ready", replaces="drafts:42"),)


@pytest.mark.parametrize("retries", [0, 3])
async def test_a_failure_takes_the_place_of_the_progress(retries):
    """Also of what a worker reported that died since."""

    async def works(_):
        raise Unanswerable("No.")

    outcome = await answered(works, Chat(), row=request(id=42, retries=retries, attempt=9))

    reason = GAVE_UP.format(3) if retries else "No."
    assert outcome.events == (NewEvent("failed", {"reason": reason}, replaces="drafts:42"),)


async def test_columns_may_have_any_name():
    """Progress is a method; a column of that name is a column."""
    row = request(progress=5, _progress=6, progress_key=7)

    assert await answered(lambda row: row.columns, Chat(), row=row) == Completed(
        {"progress": 5, "_progress": 6, "progress_key": 7}
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"options": {"silent": 1}},
        {"options": {"silent": None}},
        {"options": {"loud": True}},
        {"options": {"thread": 0}},
        {"options": {"thread": 2**31}},
        {"options": {"thread": True}},
        {"options": {"thread": "7"}},
        {"replaces": ""},
        {"replaces": "x" * 201},
        {"priority": 2},
        {"priority": None},
    ],
)
def test_an_event_that_the_database_would_refuse_cannot_be_made(wrong):
    """The function's author sees where, instead of a request that cannot be settled."""
    with pytest.raises(ValueError, match="ready"):
        NewEvent("ready", **wrong)


def test_an_event_that_says_everything_can_be_made():
    """At the bounds of what the database takes."""
    options = {"silent": True, "protect": False, "preview": True, "thread": 2**31 - 1}

    event = NewEvent("ready", options=options, replaces="x" * 200, priority=-1)

    assert event.options == options
