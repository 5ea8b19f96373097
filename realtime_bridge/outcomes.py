"""What became of a row: every way in which the work on it can end.

`moved_to` is the new id of a group, where Telegram told it on the way.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Failure(StrEnum):
    """Why a row ended as failed; the word in its `failure` column."""

    BLOCKED = "blocked"  # the user blocked the bot, is deactivated, or never started it
    CHAT_NOT_FOUND = "chat_not_found"
    REJECTED = "rejected"  # Telegram refused the message itself
    UNCERTAIN = "uncertain"  # it may have been sent; nobody can know
    EXHAUSTED = "exhausted"  # retries used up
    INVALID = "invalid"  # a row the bridge cannot read


class Cause(StrEnum):
    """Why a row is to be tried again."""

    TELEGRAM_PAUSE = "telegram_pause"  # a 429: Telegram said how long to wait
    FENCE = "fence"  # the fence was not passed, or too late
    BUG = "bug"  # of the bridge, before anything was sent
    NO_CONNECTION = "no_connection"  # Telegram could not be reached
    UNCERTAIN = "uncertain"  # it may have been sent, and is to be sent at least once
    ASKED = "asked"  # the function that answers requests asked for it


@dataclass(frozen=True, slots=True)
class Sent:
    """Telegram accepted the message."""

    message_id: int
    moved_to: int | None = None
    word: ClassVar = "delivered"


@dataclass(frozen=True, slots=True)
class Retry:
    """Nothing was sent; try again in `after` seconds (None: the backoff decides).

    `counted` is false for what is not the row's fault: a pause that Telegram asked for, a
    fence that did not answer. Such an attempt is not used up.
    """

    why: str
    after: float | None = None
    counted: bool = True
    cause: Cause | None = None
    moved_to: int | None = None

    @property
    def word(self) -> str:
        """`retry` for an attempt used up, else `deferred`."""
        return "retry" if self.counted else "deferred"


@dataclass(frozen=True, slots=True)
class Failed:
    """It will never work: the row ends here."""

    failure: Failure
    error: str
    moved_to: int | None = None

    @property
    def word(self) -> str:
        """The failure's."""
        return self.failure.value


@dataclass(frozen=True, slots=True)
class Uncertain:
    """It may have been sent. The delivery mode decides what that means for the row."""

    why: str
    moved_to: int | None = None
    word: ClassVar = "uncertain"


@dataclass(frozen=True, slots=True)
class Lost:
    """The fence refused: the row is somebody else's now. Nothing was sent or is to be settled."""

    word: ClassVar = "lost"


@dataclass(frozen=True, slots=True)
class Halted:
    """Nothing can be sent at all: hand the row back and claim no more for `after` seconds.

    Then one row finds out whether it works again. None: for as long as it takes a person to mend.
    """

    why: str
    after: float | None = None
    word: ClassVar = "halted"


Outcome = Sent | Retry | Failed | Uncertain | Lost | Halted
