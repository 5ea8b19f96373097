"""Outcomes: every way in which the work on a row can end.

`moved_to` is the new id of a group, if Telegram said so on the way.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Failure(StrEnum):
    """Why a row failed; the value of its `failure` column."""

    BLOCKED = "blocked"  # the user blocked the bot, never started it, or is deactivated
    CHAT_NOT_FOUND = "chat_not_found"
    REJECTED = "rejected"  # Telegram refused the message itself
    UNCERTAIN = "uncertain"  # it may have been sent; nobody can know
    EXHAUSTED = "exhausted"  # attempts used up
    INVALID = "invalid"  # a row the bridge cannot read


class Cause(StrEnum):
    """Why a row is tried again."""

    TELEGRAM_PAUSE = "telegram_pause"  # a 429: Telegram said how long to wait
    FENCE = "fence"  # the fence was not passed, or too late
    BUG = "bug"  # of the bridge, before anything was sent
    NO_CONNECTION = "no_connection"  # Telegram could not be reached
    UNCERTAIN = "uncertain"  # it may have been sent, or edited, which does no harm twice
    ASKED = "asked"  # the function of a request table raised Later
    EDIT_LOST = "edit_lost"  # Telegram has no such message to edit: it is sent as a new one


@dataclass(frozen=True, slots=True)
class Sent:
    """Telegram accepted the message."""

    message_id: int
    moved_to: int | None = None
    word: ClassVar = "delivered"


@dataclass(frozen=True, slots=True)
class Retry:
    """Nothing was sent; try again in `after` seconds (None: when the backoff says).

    `counted` is false for what is not the row's fault, such as a pause that Telegram asked for or
    a fence that did not answer: no attempt is used up.
    """

    why: str
    after: float | None = None
    counted: bool = True
    cause: Cause | None = None
    moved_to: int | None = None

    @property
    def word(self) -> str:
        """`retry` if an attempt is used up, else `deferred`."""
        return "retry" if self.counted else "deferred"


@dataclass(frozen=True, slots=True)
class Failed:
    """It will never work: the row is failed."""

    failure: Failure
    error: str
    moved_to: int | None = None

    @property
    def word(self) -> str:
        """The failure's value."""
        return self.failure.value


@dataclass(frozen=True, slots=True)
class Uncertain:
    """It may have been sent; the delivery mode decides what becomes of the row."""

    why: str
    moved_to: int | None = None
    word: ClassVar = "uncertain"


@dataclass(frozen=True, slots=True)
class Lost:
    """The fence was refused: another worker has the row. Nothing was sent; nothing to settle."""

    word: ClassVar = "lost"


@dataclass(frozen=True, slots=True)
class Halted:
    """Nothing can be sent at all: give the row back and claim no more for `after` seconds.

    Then one row finds out whether it works again. None: the usual time for what a person must fix.
    """

    why: str
    after: float | None = None
    word: ClassVar = "halted"


Outcome = Sent | Retry | Failed | Uncertain | Lost | Halted
