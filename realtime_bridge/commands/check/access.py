"""What gives users of the Mini App their rights, and nobody more."""

from collections.abc import Mapping
from typing import Any

from realtime_bridge.commands.check.finding import Fix
from realtime_bridge.commands.check.fixes import Fixes, sql

Report = Mapping[str, Any]

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
    return [f"alter table public.{table} enable row level security;" for table in tables]


def narrowing(report: Report) -> list[str]:
    """Drop the policies beside the bridge's own, and end the leave to have any."""
    drops = [
        f"drop policy {_quoted(one['policy'])} on public.{one['table']};"
        for one in report["open_policies"]
    ]
    if report["allow_unverified"]:
        drops.append("update bridge.settings set allow_unverified = false;")
    return drops


def closing(report: Report, fixes: Fixes) -> Fix:
    """Close what lets users do more than they may; the rules themselves, if nothing else does."""
    statements = [*protecting(unprotected(report)), *narrowing(report)]
    return sql(*statements) if statements else fixes.rules()


def _quoted(name: str) -> str:
    return '"{}"'.format(name.replace('"', '""'))
