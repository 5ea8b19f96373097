"""A connection to Telegram that is open when a message needs one."""

from aiogram import Bot

from realtime_bridge.telegram.wire import KEEP_ALIVE_SECONDS, Session


class Warmth:
    """Opens a connection beside the claim, when none is left from before.

    Nothing is asked on it, so it is free as soon as it is open: a harmless call would keep it busy
    while the message needs it. While nothing is inserted nothing is opened. A bot of somebody
    else's keeps its connections as its owner likes.
    """

    def __init__(self, bot: Bot) -> None:
        self._bot = bot

    def expect(self) -> None:
        """A message is likely in a moment; callable any number of times, from callbacks."""
        session = self._bot.session
        # Not sooner: what the pool still had would be taken for new, and be kept too long.
        if isinstance(session, Session) and session.idle > KEEP_ALIVE_SECONDS:
            session.open_ahead(self._bot)
