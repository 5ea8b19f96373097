"""One message to one chat, and what the result means."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeAlias

import aiohttp
import structlog
from aiogram import Bot
from aiogram.methods import GetMe

from realtime_bridge.base import Stopwatch
from realtime_bridge.credentials import Redactor
from realtime_bridge.database import Refused, Unavailable
from realtime_bridge.messages import Messages
from realtime_bridge.model import TmaEvent
from realtime_bridge.outcomes import Cause, Halted, Lost, Outcome, Retry, Sent, Uncertain
from realtime_bridge.telegram.circuit_breaker import CircuitBreaker
from realtime_bridge.telegram.outgoing import OutgoingMessage, request_of, way_out
from realtime_bridge.telegram.verdict import edit_verdict, redacted, verdict

log = structlog.get_logger()

CONNECT_SECONDS = 10.0
_UNREDACTED = Redactor()

Token: TypeAlias = tuple[int, int]  # id and attempt


class Sender:
    """Takes one claimed event to its chat: render, wait for the turn, pass the fence, send."""

    def __init__(
        self,
        bot: Bot,
        messages: Messages,
        start: Callable[[TmaEvent], Awaitable[bool]],
        *,
        send_timeout: float,
        start_limit: float,
        paid: bool = False,
        redact: Redactor = _UNREDACTED,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Build a sender. `start` is the fence; the others are seconds.

        `send_timeout`: for Telegram's answer. `start_limit`: from when the row was asked for until
        sending starts; a row that takes longer is handed back, because its lease would not
        outlast the send.
        """
        self._bot = bot
        self._messages = messages
        self._start = start
        # Connecting (DNS and TLS included) has a timeout of its own, because only a failure to
        # connect is safe to retry.
        self._timeout = aiohttp.ClientTimeout(
            total=send_timeout, connect=min(CONNECT_SECONDS, send_timeout / 2)
        )
        self._start_limit = start_limit
        self._paid = paid
        self._redact = redact
        self._now = now
        self._breaker = CircuitBreaker(self._probe)
        self._posting: set[Token] = set()

    @property
    def in_doubt(self) -> bool:
        """Whether Telegram must first answer a harmless call."""
        return self._breaker.in_doubt

    def unsent(self, event: TmaEvent) -> bool:
        """Whether it is certain of a row in hand that nothing was sent: no call has begun."""
        return _token(event) not in self._posting

    async def __call__(self, event: TmaEvent, stopwatch: Stopwatch) -> Outcome:
        """Handle one event; every outcome it can name is returned, none is raised."""
        try:
            message = self._messages.render(event, now=self._now())
        except Exception as error:  # the fence may be behind us: only we know that nothing is sent
            log.exception("render_raised", id=event.id)
            return Retry(f"not sent, a bug: {type(error).__name__}", cause=Cause.BUG)
        stopwatch.lap("render")
        # From the answer on, which took its time: late is right, early is not.
        if (wait := event.turn_in - stopwatch.seconds) > 0:
            await asyncio.sleep(wait)
        stopwatch.lap("turn")
        if halted := await self._breaker.test():
            return halted
        stopwatch.lap("breaker")
        if refused := await self._pass_fence(event, stopwatch):
            return refused
        if stopwatch.age > self._start_limit:
            # A process that was frozen, or a slow database: the row may be somebody else's soon.
            return _not_sent("it is too late")
        self._posting.add(_token(event))
        try:
            return await self._deliver(OutgoingMessage(event.destination, message, event.edits))
        finally:
            self._posting.discard(_token(event))
            stopwatch.lap("send")

    async def _pass_fence(self, event: TmaEvent, stopwatch: Stopwatch) -> Outcome | None:
        """Return why the row must not be sent; None: it may. It may have been started already."""
        if event.started:
            return None
        try:
            ours = await self._start(event)
        except (Unavailable, Refused) as error:
            # The fence may have been written, but this worker knows that it did not send. Why is
            # for the log: users may read the row.
            log.warning("fence_failed", id=event.id, error=str(error))
            return _not_sent("the fence did not answer")
        finally:
            stopwatch.lap("fence")
        return None if ours else Lost()

    async def _deliver(self, outgoing: OutgoingMessage) -> Outcome:
        """Send or edit, following the refusals that have a way out."""
        while True:
            try:
                return _with_address(await self._send(outgoing), outgoing)
            except Exception as error:  # noqa: BLE001 - verdict() has a line for every kind
                instead = way_out(error, outgoing)
                if instead is None:
                    return _with_address(self._judge(error, outgoing), outgoing)
                log.warning("refused_and_sent_otherwise", error=self._redact.line(str(error)))
                outgoing = instead

    def _judge(self, error: Exception, outgoing: OutgoingMessage) -> Outcome:
        edits = outgoing.edits
        judged = verdict(error) if edits is None else edit_verdict(error, edits)
        outcome = redacted(judged, self._redact)
        match outcome:
            case Retry(cause=Cause.TELEGRAM_PAUSE | Cause.EDIT_LOST):
                pass
            case Retry() | Uncertain():
                self._breaker.doubt()
            case _:
                pass
        return outcome

    async def _probe(self) -> str | None:
        """Ask Telegram something harmless; say why there is no answer."""
        try:
            await self._bot(GetMe(), request_timeout=self._timeout)  # type: ignore[arg-type]
        except Exception as error:  # noqa: BLE001 - verdict() has a line for every kind
            match redacted(verdict(error), self._redact):
                case Retry(why, after=None) | Uncertain(why):
                    return f"Telegram does not answer: {why}"
                case _:
                    pass  # whatever it says, it answers
        return None

    async def _send(self, outgoing: OutgoingMessage) -> Sent:
        request = request_of(outgoing, paid=self._paid)
        # aiogram hands the timeout to aiohttp as it is, which takes more than its int.
        receipt = await self._bot(request, request_timeout=self._timeout)  # type: ignore[arg-type]
        return Sent(receipt.message_id if outgoing.edits is None else outgoing.edits)


def _token(event: TmaEvent) -> Token:
    return event.id, event.attempt


def _not_sent(why: str) -> Retry:
    """It is not the row's fault."""
    return Retry(f"not sent, {why}", after=0.0, counted=False, cause=Cause.FENCE)


def _with_address(outcome: Outcome, outgoing: OutgoingMessage) -> Outcome:
    """What became of a message, with the group's new id where Telegram told it."""
    if not outgoing.moved or isinstance(outcome, Lost | Halted):
        return outcome
    return replace(outcome, moved_to=outgoing.chat_id)
