"""From a claimed event to Telegram's answer. Importing it imports aiogram, which takes a second."""

from realtime_bridge.telegram.bot import own_bot
from realtime_bridge.telegram.sender import Sender
from realtime_bridge.telegram.warmth import Warmth

__all__ = ["Sender", "Warmth", "own_bot"]
