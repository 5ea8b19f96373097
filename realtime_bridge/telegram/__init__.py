"""From a claimed event to Telegram's answer. Importing it imports aiogram, which takes a second."""

from realtime_bridge.telegram.bot import own_bot
from realtime_bridge.telegram.sender import Sender

__all__ = ["Sender", "own_bot"]
