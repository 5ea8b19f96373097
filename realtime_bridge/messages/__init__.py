"""From an event to the message that a person reads.

`renderer` picks a function or a template; `templates` finds them by language; `environment` has
their filters; `humanize` and `dates` write values; `markup` reduces HTML to Telegram's.
"""

from realtime_bridge.messages.dates import timezone
from realtime_bridge.messages.humanize import one_line
from realtime_bridge.messages.loading import load_messages
from realtime_bridge.messages.message import Button, Message
from realtime_bridge.messages.renderer import Messages

__all__ = ["Button", "Message", "Messages", "load_messages", "one_line", "timezone"]
