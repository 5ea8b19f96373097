"""From an event to the message that a person reads."""

from realtime_bridge.messages.dates import timezone
from realtime_bridge.messages.humanize import one_line
from realtime_bridge.messages.renderer import Button, Message, Messages

__all__ = ["Button", "Message", "Messages", "one_line", "timezone"]
