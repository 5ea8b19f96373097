"""From a claimed event to Telegram's answer. Importing it imports aiogram, which takes a second."""

from realtime_bridge.telegram.pacing import Limits, Pacing
from realtime_bridge.telegram.sender import Sender
from realtime_bridge.telegram.wire import Session

__all__ = ["Limits", "Pacing", "Sender", "Session"]
