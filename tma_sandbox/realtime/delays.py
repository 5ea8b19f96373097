"""How long the local Realtime waits where a real server does."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Delays:
    """Waits of a real server, in seconds; a pair is the range of a random wait.

    - `refused`: before a connection with a bad key is answered.
    - `join_error`: before a join is refused; the whole socket waits meanwhile.
    - `cold`: until changes are served to the first subscriber; rows inserted meanwhile are lost.
    - `resubscribe`: until changes are served under a refreshed token, and between attempts while
      the database is down.
    - `silence`: how long a client may send nothing before it is disconnected.
    - `idle`: how long the slot is kept after the last subscriber has left.
    - `gives_up`: how long the poller of changes retries during an outage of the database. After
      that the channels stay joined but get no changes until they join again or send a new token.
    - `broadcasts_back`: from the end of an outage until database broadcasts are heard again.
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
        """No waits where a real server waits on purpose or takes its time; for tests.

        To change one of them: `replace(Delays.none(), gives_up=(5, 5))`.
        """
        return cls(
            refused=0.0,
            join_error=0.0,
            cold=(0.0, 0.0),
            resubscribe=(0.0, 0.05),
            broadcasts_back=(0.0, 0.0),
        )
