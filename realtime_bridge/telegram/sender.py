"""One message to one chat, and what the result means."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import aiohttp
import structlog
from aiogram import Bot
from aiogram.enums import ParseMode
from aiogram.methods import GetMe
from cachetools import LRUCache

from realtime_bridge.base import Stopwatch
from realtime_bridge.credentials import Redactor
from realtime_bridge.database import Refused, Unavailable
from realtime_bridge.messages import Message, Messages
from realtime_bridge.model import TmaEvent
from realtime_bridge.outcomes import Cause, Lost, Outcome, Retry, Sent, Uncertain
from realtime_bridge.telegram.circuit_breaker import CircuitBreaker
from realtime_bridge.telegram.outgoing import NO_PREVIEW, OutgoingMessage, keyboard_of, way_out
from realtime_bridge.telegram.pacing import Pacing
from realtime_bridge.telegram.verdict import redacted, verdict
from realtime_bridge.telegram.wire import Send

log = structlog.get_logger()

CONNECT_SECONDS = 10.0
_UNREDACTED = Redactor()


class Sender:
    """Takes one claimed event to its chat: render, wait for the turn, pass the fence, send."""

    def __init__(
        self,
        bot: Bot,
        messages: Messages,
        pacing: Pacing,
        start: Callable[[TmaEvent], Awaitable[bool]],
        *,
        send_timeout: float,
        turn_limit: float,
        start_limit: float,
        paid: bool = False,
        redact: Redactor = _UNREDACTED,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Build a courier. `start` is the fence; the others are seconds.

        `send_timeout`: for Telegram's answer. `turn_limit`: that a row may wait for its turn.
        `start_limit`: from the beginning until sending starts; a row that takes longer is
        handed back, because its lease would not outlast the send.
        """
        self._bot = bot
        self._messages = messages
        self._pacing = pacing
        self._start = start
        # Connecting (DNS and TLS included) has a timeout of its own, because only a failure to
        # connect is safe to retry.
        self._timeout = aiohttp.ClientTimeout(
            total=send_timeout, connect=min(CONNECT_SECONDS, send_timeout / 2)
        )
        self._turn_limit = turn_limit
        self._start_limit = start_limit
        self._paid = paid
        self._redact = redact
        self._now = now
        self._moved: LRUCache[int, int] = LRUCache(10_000)  # groups that became supergroups
        self._line = CircuitBreaker(self._probe)

    async def __call__(self, event: TmaEvent, laps: Stopwatch) -> Outcome:
        """Handle one event; every outcome it can name is returned, none is raised."""
        message = self._messages.render(event, now=self._now())
        laps.lap("render")
        wait = await self._pacing.turn(event.telegram_id, self._turn_limit)
        laps.lap("turn")
        if wait is not None:
            return Retry("waits for its turn", after=wait, counted=False, cause=Cause.TURN)
        if halted := await self._line.test():
            return halted
        laps.lap("line")
        try:
            ours = await self._start(event)
        except (Unavailable, Refused) as error:
            # The fence may have been written, but this worker knows that it did not send. Why is
            # for the log: users may read the row.
            log.warning("fence_failed", id=event.id, error=str(error))
            return Retry(
                "not sent, the fence did not answer", after=0.0, counted=False, cause=Cause.FENCE
            )
        finally:
            laps.lap("fence")
        if not ours:
            return Lost()
        if laps.seconds > self._start_limit:
            # A process that was frozen, or a slow database: the row may be somebody else's soon.
            return Retry(
                "not sent, the fence answered too late", after=0.0, counted=False, cause=Cause.FENCE
            )
        try:
            return await self._deliver(event.telegram_id, message)
        finally:
            self._pacing.sent(event.telegram_id)
            laps.lap("send")

    async def _deliver(self, chat_id: int, message: Message) -> Outcome:
        """Send, following the refusals that have a way out."""
        letter = OutgoingMessage(self._moved.get(chat_id, chat_id), message)
        while True:
            try:
                return await self._send(letter)
            except Exception as error:  # noqa: BLE001 - verdict() has a line for every kind
                instead = way_out(error, letter)
                if instead is None:
                    return self._judge(chat_id, error)
                log.warning("refused_and_sent_otherwise", error=self._redact.line(str(error)))
                if instead.moved:
                    self._moved[chat_id] = instead.chat_id
                letter = instead

    def _judge(self, chat_id: int, error: Exception) -> Outcome:
        outcome = redacted(verdict(error), self._redact)
        match outcome:
            case Retry(after=float(seconds), cause=Cause.TELEGRAM_PAUSE):
                self._pacing.pause(chat_id, seconds)
            case Retry() | Uncertain():
                self._line.doubt()
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

    async def _send(self, letter: OutgoingMessage) -> Sent:
        request = Send(
            chat_id=letter.chat_id,
            text=letter.message.plain if letter.plain else letter.message.html,
            parse_mode=None if letter.plain else ParseMode.HTML,
            reply_markup=keyboard_of(letter),
            link_preview_options=NO_PREVIEW,
            allow_paid_broadcast=self._paid or None,
        )
        # aiogram hands the timeout to aiohttp as it is, which takes more than its int.
        receipt = await self._bot(request, request_timeout=self._timeout)  # type: ignore[arg-type]
        return Sent(receipt.message_id)
