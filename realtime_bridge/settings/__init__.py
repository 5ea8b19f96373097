"""Configuration: the environment and an env file become one frozen object."""

from realtime_bridge.settings.errors import ConfigurationError
from realtime_bridge.settings.model import Delivery, Settings
from realtime_bridge.settings.reading import (
    build,
    changed_since,
    load,
    makeshift_redactor,
    parse,
    redactor,
    reload_keys,
    source_of,
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
    "build",
    "changed_since",
    "load",
    "makeshift_redactor",
    "opens_mini_app",
    "parse",
    "redactor",
    "reload_keys",
    "source_of",
]
