"""What goes wrong, when, and for how long: decided by a seed alone."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The things that go wrong."""

    KILL = "a replica is killed"
    REPLACE = "a replica is replaced by a younger one"
    FREEZE = "a replica sleeps past its lease"
    FREEZE_CLAIMED = "a replica sleeps between claim and send"
    NAP = "a replica sleeps for a moment"
    DATABASE_REQUESTS = "calls of the database do not arrive"
    DATABASE_ANSWERS = "answers of the database are lost"
    CLAIM_ANSWERS = "answers to claims are lost"
    DATABASE_PAGES = "the gateway answers 502"
    DATABASE_GONE = "nobody listens where the database was"
    TELEGRAM_REQUESTS = "messages do not arrive at Telegram"
    TELEGRAM_ANSWERS = "answers of Telegram are lost"
    TELEGRAM_SILENCE = "Telegram accepts and never answers"
    TELEGRAM_GONE = "nobody listens where Telegram was"
    TELEGRAM_FLOOD = "Telegram answers 429"
    POSTGRES_RESTART = "Postgres restarts"
    POSTGRES_CRASH = "Postgres crashes and comes back"
    POSTGREST_RESTART = "PostgREST restarts"


WEIGHTS = {
    Kind.KILL: 6,
    Kind.REPLACE: 3,
    Kind.FREEZE: 2,
    Kind.FREEZE_CLAIMED: 2,
    Kind.NAP: 2,
    Kind.DATABASE_REQUESTS: 2,
    Kind.DATABASE_ANSWERS: 3,
    Kind.CLAIM_ANSWERS: 2,
    Kind.DATABASE_PAGES: 2,
    Kind.DATABASE_GONE: 1,
    Kind.TELEGRAM_REQUESTS: 2,
    Kind.TELEGRAM_ANSWERS: 2,
    Kind.TELEGRAM_SILENCE: 1,
    Kind.TELEGRAM_GONE: 2,
    Kind.TELEGRAM_FLOOD: 2,
    Kind.POSTGRES_RESTART: 1,
    Kind.POSTGRES_CRASH: 1,
    Kind.POSTGREST_RESTART: 1,
}


@dataclass(frozen=True, slots=True)
class Mishap:
    """`after` seconds from the one before, `kind` happens for `seconds` (to this replica)."""

    after: float
    kind: Kind
    seconds: float
    replica: int


def schedule(seed: int, lease: float, replicas: int, pace: float) -> Iterator[Mishap]:
    """Yield mishaps for ever, on average one every `pace` seconds.

    Most are over sooner than that: where nothing works for long nothing is put to the test.

    It begins with every kind once, and with three kills more, so that a short run has them all.

    >>> first = schedule(7, lease=9.0, replicas=3, pace=0.5)
    >>> again = schedule(7, lease=9.0, replicas=3, pace=0.5)
    >>> [next(first) for _ in range(100)] == [next(again) for _ in range(100)]
    True
    """
    luck = random.Random(seed)
    kinds = [*Kind, *[Kind.KILL] * 3]
    luck.shuffle(kinds)
    while True:
        for kind in kinds:
            seconds = _duration(kind, luck, lease, pace)
            yield Mishap(luck.uniform(0, 2 * pace), kind, seconds, luck.randrange(replicas))
        kinds = luck.choices(list(WEIGHTS), list(WEIGHTS.values()), k=len(Kind))


def _duration(kind: Kind, luck: random.Random, lease: float, pace: float) -> float:
    """Seconds that a mishap takes: shortly, or past the lease, or to either side of it."""
    match kind:
        case Kind.FREEZE:
            return lease + luck.uniform(0.5, 1.5)
        case Kind.FREEZE_CLAIMED:
            return luck.uniform(0.2, 1.2) * lease
        case _:
            return luck.uniform(0.1, 1) * pace
