"""Rows that a Telegram Mini App inserts into Supabase become Telegram messages.

This is the public API; everything else may change between releases.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realtime_bridge.bridge import Bridge
    from realtime_bridge.messages import Button, Message, Messages
    from realtime_bridge.model import SendOptions, TmaEvent
    from realtime_bridge.outcomes import Failed, Failure, Outcome, Retry, Sent, Uncertain
    from realtime_bridge.request_tables import (
        Completed,
        Later,
        NewEvent,
        Plan,
        PlanError,
        Planner,
        Request,
        RequestTable,
        Step,
        Unanswerable,
    )
    from realtime_bridge.settings import ConfigurationError, Settings, load

_MODULES = {
    "bridge": ["Bridge"],
    "messages": ["Button", "Message", "Messages"],
    "model": ["SendOptions", "TmaEvent"],
    "outcomes": ["Failed", "Failure", "Outcome", "Retry", "Sent", "Uncertain"],
    "request_tables": [
        "Completed",
        "Later",
        "NewEvent",
        "Plan",
        "PlanError",
        "Planner",
        "Request",
        "RequestTable",
        "Step",
        "Unanswerable",
    ],
    "settings": ["ConfigurationError", "Settings", "load"],
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Bridge",
    "Button",
    "Completed",
    "ConfigurationError",
    "Failed",
    "Failure",
    "Later",
    "Message",
    "Messages",
    "NewEvent",
    "Outcome",
    "Plan",
    "PlanError",
    "Planner",
    "Request",
    "RequestTable",
    "Retry",
    "SendOptions",
    "Sent",
    "Settings",
    "Step",
    "TmaEvent",
    "Unanswerable",
    "Uncertain",
    "load",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `--help` must not pay for all of them."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
