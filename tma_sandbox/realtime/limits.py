"""How much the local Realtime carries."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What a real server refuses to carry. None means no limit.

    - `transaction_rows`: a transaction that changes more published rows is silently dropped. The
      real server has a time limit instead: it delivered 3,000 rows of one statement, and none of
      10,000.
    - `record_bytes`: a larger row arrives with an error and only its small columns.
    - `events_per_second`: changes are silently dropped while the average of the last minute is
      higher. It depends on the hosted plan (100 on the free one).
    - `changes_per_second`: how many changes of published tables the poller takes in, whether or
      not anybody subscribed to them. The rest wait, and the slot lags. A real server takes 100 at
      a time and polls again after 150 to 200 ms.
    """

    transaction_rows: int | None = 5_000
    record_bytes: int = 1024 * 1024
    events_per_second: float | None = None
    changes_per_second: float | None = 570.0
