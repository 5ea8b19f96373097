"""Configuration: from the environment and an env file to one frozen object."""

from realtime_bridge.settings.errors import ConfigurationError
from realtime_bridge.settings.model import Delivery, Settings
from realtime_bridge.settings.reading import (
    changed_since,
    load,
    parse,
    read,
    redactor,
    source_of,
    with_keys_again,
)
from realtime_bridge.settings.source import KEYS, Source
from realtime_bridge.settings.validators import PLANNER_OFF, opens_mini_app

__all__ = [
    "KEYS",
    "PLANNER_OFF",
    "ConfigurationError",
    "Delivery",
    "Settings",
    "Source",
    "changed_since",
    "load",
    "opens_mini_app",
    "parse",
    "read",
    "redactor",
    "source_of",
    "with_keys_again",
]
