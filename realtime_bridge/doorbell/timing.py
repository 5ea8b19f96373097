"""How long the doorbell waits for what."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """The doorbell's timeouts and intervals, in seconds."""

    # A connection.
    reply_timeout: float = 10.0  # to connect, and again to join (errors are held back for 5 s)
    ready_timeout: float = 30.0  # from dialling until the bells are ready (a cold server needs 3)
    hedge_after: float = 2.5  # without a reply to the join: try a second connection as well
    ping_every: float = 10.0
    pong_timeout: float = 10.0
    close_timeout: float = 1.0  # for a polite goodbye to a server that may be gone
    refresh_after: float = 3600.0  # age at which a connection is replaced

    # Pauses between connections that fail.
    steady: float = 5.0  # a connection ready for this long resets the backoff
    longest_pause: float = 3.0  # while the server is away
    refused_pause: float = 20.0  # while the server is there and says no

    # Looking at what the library reports to nobody.
    look_every: float = 1.0
    oversleep: float = 0.5  # a look later than this: the process slept, and rings wait to be read

    # Rows claimed without a ring.
    skew: float = 5.0  # a row may claim to be this much younger than it is (a clock that was set)
    all_silent_after: float = 1.5  # renew if no bell rang by then (changes are polled)
    one_silent_after: float = 5.0  # renew if the other bell rang, and this one did not by then
    deaf_after: float = 10.0  # give up on a bell that was renewed and is still silent

    # Asking again for a bell that was refused or is deaf.
    first_retry: float = 5.0  # then twice as long, ...
    longest_retry: float = 60.0  # ... up to this

    # The key.
    token_margin: float = 60.0  # look for another key when this one has less left
    token_warning: float = 86_400.0  # warn when a key has less left
    token_pause: float = 10.0  # between two tries to change to another key

    # The database.
    database_grace: float = 5.0  # once it is back, the server needs this long to find it
    stale_after: float = 60.0  # away for this long: the server stops listening after about 80
