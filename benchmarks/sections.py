"""What each part writes into docs/performance.md: a numbered section, tables with these columns.

Nothing is imported here, so that a test can hold the page to it without the rivals installed.
"""

from dataclasses import dataclass

CALLS = ("claim", "start", "settle", "sweep")


@dataclass(frozen=True)
class Section:
    """The title of a section, and the columns of each of its tables."""

    title: str
    tables: tuple[tuple[str, ...], ...]


SECTIONS = {
    "drain": Section(
        "Drain",
        (
            (
                "contender",
                "rows",
                "rows/s",
                "CPU s per 1,000 rows: worker",
                "Postgres",
                "PostgREST",
                "peak RSS MB",
                "WAL B/row",
                "REST calls/row",
                "load average",
            ),
        ),
    ),
    "latency": Section(
        "Latency",
        (
            ("contender", "one insert every", "rows", "p50 ms", "p95 ms", "p99 ms"),
            ("median ms by stage", "bell", "claim", "turn", "fence", "send"),
        ),
    ),
    "idle": Section(
        "Idle and start",
        (("start", "ready after s", "doorbell ready after s", "RSS MB"), ("idle", "value")),
    ),
    "growth": Section("Growth", (("ms (p50 / p99) for 32 rows", *CALLS, "stats"),)),
    "fanin": Section(
        "Several bridges, order, bursts",
        (
            ("replicas", "rows/s", "out of order", "sent twice"),
            ("bell", "first after s", "last after s"),
        ),
    ),
    "identity": Section("Identity", (("one insert", "p50 ms", "p95 ms", "p99 ms"),)),
    "crowd": Section(
        "One chat with very many rows, and a bulk insert",
        (("ms (p50 / p99) for 32 rows", *CALLS),),
    ),
    "jit": Section(
        "JIT", (("claim of one row", "p50 ms", "p99 ms"), ("event", "p50 ms", "p99 ms"))
    ),
    "feed": Section(
        "The changes bell during a drain",
        (("Realtime reports", "p50 s", "latest s", "slot behind, MB", "seconds behind"),),
    ),
    "fleet": Section(
        "A fleet under Telegram's limits",
        (("replicas", "sent", "answers of 429", "messages/s", "out of order"),),
    ),
    "priority": Section(
        "An answer among bulk",
        (("ms from insert to arrival", "p50", "p99", "most", "bulk's share of the limit"),),
    ),
    "distance": Section(
        "Distance",
        (
            ("lines", "ms to the database", "ms to Telegram", "floor, ms"),
            (
                "contender",
                "lines",
                "one insert every",
                "rows",
                "p50 ms",
                "p99 ms",
                "p50 relative to the floor",
            ),
            ("median ms by stage", "bell", "claim", "turn", "fence", "send"),
        ),
    ),
    "share": Section(
        "Our own share of a message",
        (("one message", "whole", "without aiogram's call and the socket", "share"),),
    ),
    "dashboard": Section(
        "The dashboard",
        (
            ("ms until all is shown", "rows of the last hour", "median", "most"),
            ("rows that end, four a second", "ms to the page, p50", "p99", "longest frame, ms"),
        ),
    ),
}
PARTS = tuple(SECTIONS)
