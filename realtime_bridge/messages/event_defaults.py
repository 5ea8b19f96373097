"""events.toml: how the messages of each event type are sent, unless a row says otherwise."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from realtime_bridge.base import seconds_of
from realtime_bridge.messages.templates import BadTemplates, read_toml
from realtime_bridge.model import NO_OPTIONS, SendOptions

EVENTS_FILE = "events.toml"

_DIGEST = "digest"
_LONGEST_DIGEST = 3600.0  # as claim_tma_events takes them
_VALUES = {
    _DIGEST: 'a time such as "10s", up to "1h"',
    "silent": "true or false",
    "thread": "a topic's message_thread_id, such as 7",
    "protect": "true or false",
    "preview": "true or false",
}


@dataclass(frozen=True, slots=True)
class EventDefaults:
    """What holds for the events of one type.

    `digest`: for so many seconds rows of one chat are gathered, to be one message. None: each is
    a message of its own.
    """

    digest: float | None = None
    options: SendOptions = NO_OPTIONS


def read_event_defaults(folder: Path) -> Mapping[str, EventDefaults]:
    """Read the file of a templates folder, by event type; {} without one. Raises BadTemplates."""
    path = folder / EVENTS_FILE
    try:
        for stray in sorted(folder.glob(f"*/{EVENTS_FILE}")):
            raise BadTemplates(f"{stray} would not be read: it belongs to all languages, as {path}")
        if not path.is_file():
            return {}
    except OSError as error:  # no right to look
        raise BadTemplates(f"{path} cannot be read: {error.strerror}") from error
    return {name: _defaults(path, name, value) for name, value in read_toml(path).items()}


def _defaults(path: Path, event_type: str, table: Any) -> EventDefaults:
    if not isinstance(table, dict):
        raise BadTemplates(
            f"{path}: {event_type} is not below an event type; begin with a line such as "
            "[step_completed]"
        )
    for key in table:
        if key not in _VALUES:
            raise BadTemplates(
                f"{path}: [{event_type}] cannot have {key}, only {', '.join(_VALUES)}"
            )
    digest = _digest(table[_DIGEST]) if _DIGEST in table else None
    if digest is None and _DIGEST in table:
        raise _wrong(path, event_type, _DIGEST)
    try:
        options = SendOptions(**{key: table[key] for key in table if key != _DIGEST})
    except ValidationError as error:
        raise _wrong(path, event_type, str(error.errors()[0]["loc"][0])) from None
    return EventDefaults(digest, options)


def _digest(value: Any) -> float | None:
    """Return the seconds; None if it is no time, or too long."""
    try:
        seconds = seconds_of(value) if isinstance(value, str) else 0.0
    except ValueError:
        return None
    return seconds if 0 < seconds <= _LONGEST_DIGEST else None


def _wrong(path: Path, event_type: str, key: str) -> BadTemplates:
    return BadTemplates(f"{path}: [{event_type}] {key} must be {_VALUES[key]}")
