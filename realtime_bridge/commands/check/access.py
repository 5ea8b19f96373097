"""SQL that restores the access rules of Mini App users, or closes what is open."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from realtime_bridge.commands.check.finding import Fix
from realtime_bridge.commands.check.fixes import Fixes, sql

Report = Mapping[str, Any]

EVENTS = "tma_events"
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
# As in the migrations.
GRANTS = """\
grant usage on schema bridge to anon, authenticated, service_role, tma_bridge;
grant execute on function public.tma_user_id() to anon, authenticated, service_role, tma_bridge;
grant execute on function bridge.user_id() to anon, authenticated, service_role, tma_bridge;
grant execute on function bridge.must_be_own(bigint, bigint) to anon, authenticated;
grant execute on function bridge.statement_user_id(), bridge.statement_user_locale() to public;
grant select on public.tma_events to anon, authenticated;
grant insert (telegram_id, event_type, lead_id, payload, dedupe_key, deliver_after)
    on public.tma_events to anon, authenticated;"""


def grants() -> Fix:
    """Give the roles of Mini Apps what the migrations gave them."""
    return sql("grant usage on schema public to anon, authenticated;", GRANTS)


def unprotected(report: Report) -> list[str]:
    """The tables on which row level security is off."""
    tables = report["tables"]
    return [table for table in sorted(tables) if not tables[table]["row_security"]]


def protecting(tables: list[str]) -> list[str]:
    """Switch row level security on."""
    return [f"alter table public.{_quoted(table)} enable row level security;" for table in tables]


def narrowing(report: Report) -> list[str]:
    """Drop the policies beside the bridge's own, and end the leave to have any."""
    drops = [
        f"drop policy {_quoted(one['policy'])} on public.{_quoted(one['table'])};"
        for one in report["open_policies"]
    ]
    if report["allow_unverified"]:
        drops.append("update bridge.settings set allow_unverified = false;")
    return drops


def closing(report: Report, tables: Iterable[str], fixes: Fixes) -> Fix:
    """Close tables that let users do more than they may.

    If the report does not say what opens them, the bridge's own policies are not as they were.
    """
    if statements := [*protecting(unprotected(report)), *narrowing(report)]:
        return sql(*statements)
    if EVENTS in tables:
        return fixes.rules()
    return sql(*(made_request_table(table) for table in sorted(tables)))


def made_request_table(table: str) -> str:
    """Put everything back that a request table needs."""
    name = _quoted(table).replace("'", "''")
    return f"select bridge.make_request_table('public.{name}');"


def _quoted(name: str) -> str:
    """A name as SQL needs it."""
    if _PLAIN.fullmatch(name):
        return name
    return '"{}"'.format(name.replace('"', '""'))
