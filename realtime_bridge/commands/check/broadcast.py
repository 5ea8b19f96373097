"""The fix where Realtime refuses the bridge the broadcast bell."""

from realtime_bridge.commands.check.finding import Fix, Where
from realtime_bridge.commands.check.fixes import Fixes, sql
from realtime_bridge.credentials import ROLE

# As in the migration that gives the role tma_bridge its ears.
_GRANTS = (
    "grant usage on schema realtime to {role};",
    "grant select on realtime.messages to {role};",
)
_POLICY = f"""\
drop policy if exists "the bridge hears its bell" on realtime.messages;
create policy "the bridge hears its bell" on realtime.messages
    for select to {ROLE}
    using (extension = 'broadcast' and (select realtime.topic()) = 'tma_bell');"""
_HOSTED = (
    "nothing that you may do: on this project's Realtime the role postgres may not grant on "
    "realtime.messages, which Supabase gave back in September 2026. Ask Supabase's support to "
    "update the project's Realtime, then run in the SQL editor:\n{statements}\n"
    "Until then Postgres Changes ring alone: messages go out up to half a second later, and none "
    "is lost. DOORBELL=changes ends this warning; with an sb_secret_ key both bells ring."
)
_OWN = (
    "# As supabase_admin, because postgres may not grant on realtime.messages here. Until then\n"
    "# Postgres Changes ring alone: messages go out up to half a second later, and none is lost.\n"
    "docker exec -i \"$(docker ps -qf name='supabase[-_]db')\" "
    "psql -v ON_ERROR_STOP=1 -h 127.0.0.1 -U supabase_admin -d postgres <<'SQL'\n"
    "{statements}\nSQL"
)


def broadcast_fix(role: str, *, grantable: bool, fixes: Fixes) -> Fix:
    """Let `role` hear; `grantable`: whether the project's owner may give what is missing."""
    named = role if role.isidentifier() else ROLE
    grants = [grant.format(role=named) for grant in _GRANTS]
    statements = [*grants, *([_POLICY] if named == ROLE else [])]
    if grantable:
        return sql(*statements)
    text = "\n".join(statements)
    if fixes.hosted:
        return Fix(Where.PERSON, _HOSTED.format(statements=text))
    return Fix(Where.SHELL, _OWN.format(statements=text))
