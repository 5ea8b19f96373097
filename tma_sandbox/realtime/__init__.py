"""A double of Supabase Realtime: same protocol, same frames, same error texts.

It reproduces what was recorded and measured on a real server (2.129.8 with Postgres 15), wherever
a client can tell the difference:

- the protocol in both wire formats; joins and how they are refused; tokens and their expiry.
  Frames that are not Phoenix do nothing; a token that is not JSON is an unknown error.
- Postgres Changes of any schema: bindings, filters, columns, grants, row level security, rows
  that are too large, statements with too many rows, the rates of a hosted plan.
- the poller of changes: half a second between polls of an idle log, changes that wait behind
  others whether or not anybody subscribed to those, the lag of its slot (a real one), a cold
  start, and giving up in a long outage, after which channels stay joined but get no changes.
- broadcasts from clients, over HTTP and from the database; private channels and their policies;
  database broadcasts that return long after the database does.

`Delays` and `Limits` set how long and how much; by default as on a real server. LocalRealtime has
what else a test can do to it: refuse clients, drop them, withhold changes, make the poller give up.

It does not reproduce:

- presence, replay of stored broadcasts, several nodes, limits on joins, channels and messages;
- a frozen server: it can be stopped and started, and it can cut its connections;
- reading the publication's tables once a minute (here they are looked up for every join and
  change), and wal2json timing out on 10,000 rows of one statement (here the rows are counted);
- what nobody has recorded: a token that is not JSON, sent at connect or on a joined channel
  (here it is refused like any malformed token), and whether another client's join revives a
  channel that gets no changes (here it does not).
"""

from tma_sandbox.realtime.delays import Delays
from tma_sandbox.realtime.limits import Limits
from tma_sandbox.realtime.server import LocalRealtime

__all__ = ["Delays", "Limits", "LocalRealtime"]
