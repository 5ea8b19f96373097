"""A local stand-in for Supabase Realtime: same protocol, same frames, same error texts.

It imitates what was recorded and measured on a real server (2.129.8 with Postgres 15), where a
client can notice it:

- the protocol in both wire formats, joins and their refusals, tokens and their end; frames that
  are not Phoenix do nothing, a token that is no JSON is an unknown error;
- Postgres Changes of any schema: bindings, filters, columns, grants, row level security, rows
  that are too large, statements of too many rows, rates of a hosted plan;
- the poller of changes: half a second between looks at an idle log, changes that wait behind
  others, wanted by anybody or not, and the lag of its slot, which is a real one; a cold start;
  its death in a long outage, after which channels are joined and deaf;
- broadcasts, by clients, over HTTP and from the database, private channels and their policies;
  broadcasts that come back long after the database.

`Delays` and `Limits` are the switches for how long and how much; a real server's unless told
otherwise. What else tests may do to it stands in LocalRealtime: refuse clients, drop them, go
deaf, let the poller die.

It does not imitate:

- presence, replay of stored broadcasts, several nodes, limits on joins, channels and messages;
- keys that are no JWT signed with the shared secret (sb_..., asymmetric ones);
- a server that is frozen: it can be stopped and started, and cut its connections;
- a publication's contents being read once a minute: here they are looked up for every join and
  change; wal2json, whose 10,000 rows of one statement run into a timeout: here they are counted;
- what a token that is no JSON does when it is sent to a joined channel or at connect, and
  whether somebody else's join wakes a channel that went deaf: nobody has recorded it. The one
  is answered as any malformed token, the other stays deaf.
"""

from tma_sandbox.realtime.server import LocalRealtime
from tma_sandbox.realtime.tuning import Delays, Limits

__all__ = ["Delays", "Limits", "LocalRealtime"]
