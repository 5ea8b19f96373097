"""The events of a run, of every kind: told alone, in digests, in place, withdrawn, muted."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.chaos.tellings import Telling, Tellings

# Of twenty events in a row, 11 are told alone, 5 are gathered, 3 are told in place, and 1 is news,
# which every second chat has muted. Users tap one after the other; eight planners work at a time.
INSERT = """
insert into tma_events (telegram_id, event_type, payload, replaces, dedupe_key)
select 1 + abs(hashint4(whose) / 2) %% %(chats)s, kind,
    jsonb_build_object('mark', format('no%%sx', n)), replaces, n::text
from (select n, n * 7 %% 20 as place from generate_series(%(first)s::int, %(last)s) n) numbered
cross join lateral (
    select 'told' as kind, n as whose, null as replaces where place < 11
    union all
    select 'tapped', n / 20, null where place between 11 and 15
    union all
    select 'planned', n / 400 * 8 + n %% 8, format('plan:%%s', n / 400)
    where place between 16 and 18
    union all
    select 'news', n, null where place = 19
) kinds
order by n
on conflict do nothing
"""

MUTE = """
insert into tma_chat_settings (telegram_id, muted)
select chat, '{news}' from generate_series(2, %(chats)s::int, 2) chat
on conflict do nothing
"""

# A row's user is who it is for: the header says so, as it comes from a Mini App.
WITHDRAW = """
select withdraw_tma_event(%(key)s) ->> 'done' as done
from set_config('request.headers', %(headers)s, false)
"""

ROWS = """
select id, telegram_id, status, failure, error, attempt, message_id, dedupe_key, replaces, edits,
    gathered_into, exists (
        select from tma_chat_settings s
        where s.telegram_id = e.telegram_id and e.event_type = any (s.muted)
    ) as unwanted
from tma_events e order by id
"""


def withdrawn_after(number: int) -> float | None:
    """After how many seconds an event's user wants it back; None: never.

    Two taps and one event that is told alone of twenty: around the time when they are sent.
    """
    return number % 8 * 0.2 if number * 7 % 20 in {4, 12, 15} else None


def write_templates(folder: Path) -> None:
    """Write the messages; taps are gathered for a second."""
    texts = folder / "en"
    texts.mkdir()
    for kind in ("told", "tapped", "planned", "news"):
        (texts / f"{kind}.html").write_text("{{ mark }}")
    (texts / "tapped.digest.html").write_text(
        "{% for tap in events %}{{ tap.mark }} {% endfor %}{% if more %}and {{ more }}{% endif %}"
    )
    (folder / "events.toml").write_text('[tapped]\ndigest = "1s"\n')


def numbers_in(message: bytes) -> Iterator[int]:
    """The numbers of the events in a message."""
    return (int(number) for number in re.findall(rb"no(\d+)x", message))


def tellings(messages: list[dict[str, Any]], ids: dict[int, int]) -> Tellings:
    """What messages tell now, and told before they were edited, in the order of time.

    `ids`: the row of each event's number.
    """
    versions = []
    for message in messages:
        now = {**message, "at": message["edited_at"] or message["received_at"]}
        for version in (*message["history"], now):
            rows = tuple(ids[number] for number in numbers_in(version["text"].encode()))
            versions.append((version["at"], Telling(message["message_id"], rows)))
    return Tellings(telling for _, telling in sorted(versions, key=lambda version: version[0]))
