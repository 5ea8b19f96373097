"""What a test may want to hurry, and what a hosted plan may limit."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds a real server takes; pairs are the ends of a random wait.

    `refused`: before a connection with a bad key is answered. `join_error`: before a join is
    refused, during which the whole socket waits. `cold`: until changes are served when nobody
    subscribed before; rows inserted meanwhile are lost. `resubscribe`: until changes are served
    under a refreshed token, and before another try when the database is away. `silence`: a
    client that sends nothing for so long is disconnected. `idle`: the slot is kept for so long
    after the last subscriber has gone. `gives_up`: until the poller of changes gives up in an
    outage of the database; who was served then stays joined and hears no change any more, until
    a join or a token of its own. `broadcasts_back`: from the end of an outage until broadcasts
    from the database are heard again.
    """

    refused: float = 2.0
    join_error: float = 5.0
    cold: tuple[float, float] = (1.0, 3.0)
    resubscribe: tuple[float, float] = (1.0, 3.0)
    silence: float = 66.0
    idle: float = 600.0
    gives_up: tuple[float, float] = (80.0, 95.0)
    broadcasts_back: tuple[float, float] = (17.0, 111.0)

    @classmethod
    def none(cls) -> "Delays":
        """For tests: no waiting where a real server waits on purpose, or takes its time.

        To change one of them: `replace(Delays.none(), gives_up=(5, 5))`.
        """
        return cls(
            refused=0.0,
            join_error=0.0,
            cold=(0.0, 0.0),
            resubscribe=(0.0, 0.05),
            broadcasts_back=(0.0, 0.0),
        )


@dataclass(frozen=True, slots=True)
class Limits:
    """What a real server refuses to carry.

    `transaction_rows`: a transaction that changes more published rows is dropped in silence. A
    real server has a time limit instead: it delivered 3,000 rows of one statement and not one
    of 10,000. `record_bytes`: a larger row arrives with an error and its small columns only.
    `events_per_second`: changes are dropped in silence while the last minute's average is
    higher; it belongs to the hosted plan (100 on the free one), None for no limit.
    `changes_per_second`: how many changes of published tables the poll takes in, wanted by
    anybody or not; those behind them wait, and the slot lags. A real server takes 100 at once and
    looks again after 150 to 200 ms. None for no limit.
    """

    transaction_rows: int | None = 5_000
    record_bytes: int = 1024 * 1024
    events_per_second: float | None = None
    changes_per_second: float | None = 570.0
