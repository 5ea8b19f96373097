"""Rows that a Telegram Mini App inserts into Supabase become Telegram messages."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realtime_bridge.bridge import Bridge
    from realtime_bridge.messages import Button, Message, Messages
    from realtime_bridge.model import TmaEvent
    from realtime_bridge.outcomes import Failed, Failure, Outcome, Retry, Sent, Uncertain
    from realtime_bridge.settings import ConfigurationError, Settings, load

_HOME = {
    "Bridge": "bridge",
    "Button": "messages",
    "ConfigurationError": "settings",
    "Failed": "outcomes",
    "Failure": "outcomes",
    "Message": "messages",
    "Messages": "messages",
    "Outcome": "outcomes",
    "Retry": "outcomes",
    "Sent": "outcomes",
    "Settings": "settings",
    "TmaEvent": "model",
    "Uncertain": "outcomes",
    "load": "settings",
}

__all__ = [
    "Bridge",
    "Button",
    "ConfigurationError",
    "Failed",
    "Failure",
    "Message",
    "Messages",
    "Outcome",
    "Retry",
    "Sent",
    "Settings",
    "TmaEvent",
    "Uncertain",
    "load",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `--help` must not pay for all of them."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
