"""What a visit as a Mini App means: the finding, most serious problem first."""

from collections.abc import Mapping
from typing import Any

from realtime_bridge.commands.check import access
from realtime_bridge.commands.check.finding import Finding, Fix, Where, failed, ok, skipped, warning
from realtime_bridge.commands.check.fixes import Fixes
from realtime_bridge.commands.check.mini_app import Refusal, Visit

NAME = "mini-app"
_OWN_REASON = Fix(
    Where.PERSON,
    "a trigger or constraint of your own on tma_events refuses the row; `\\d tma_events` in psql "
    "lists them",
)


def mini_app_finding(visit: Visit, report: Mapping[str, Any], bot: int, fixes: Fixes) -> Finding:
    """Say what users of this bot's Mini App can do here.

    An opening that the project has asked for (`allow_unverified`) is a warning.
    """
    if visit.openings:
        texts = "; ".join(opening.text for opening in visit.openings)
        tell = warning if report["allow_unverified"] else failed
        fix = access.closing(report, {opening.table for opening in visit.openings}, fixes)
        return tell(NAME, f"{texts}. The anon key is public", fix)
    if visit.key_refused:
        text = f"Supabase refuses SUPABASE_ANON_KEY: {visit.key_refused}"
        return failed(NAME, text, fixes.mini_app_key())
    if visit.trouble:
        return skipped(NAME, visit.trouble)
    if visit.user_id.refusal:
        return _refused("users are not recognised", visit.user_id.refusal, fixes)
    if visit.user_id.data != visit.users.writer:
        return _unproven(visit, report, bot, fixes)
    if visit.written.refusal:
        return _refused("a user's own row is refused", visit.written.refusal, fixes)
    if visit.read_back.refusal:
        return _refused("a user cannot read own rows", visit.read_back.refusal, fixes)
    if not visit.read_back.data:
        return failed(NAME, "a user does not see own rows", fixes.rules())
    return ok(NAME, "users write and read their own rows, and no others", visit.milliseconds)


def _refused(what: str, refusal: Refusal, fixes: Fixes) -> Finding:
    text = f"{what}: {refusal.text}"
    if refusal.of_a_grant:
        return failed(NAME, text, access.grants())
    if refusal.of_a_policy or refusal.of_what_is_gone:
        return failed(NAME, text, fixes.rules())
    return failed(NAME, text, _OWN_REASON)


def _unproven(visit: Visit, report: Mapping[str, Any], bot: int, fixes: Fixes) -> Finding:
    """The database did not accept Telegram's signature, or took it for somebody else's."""
    if visit.user_id.data is not None:
        return failed(NAME, "tma_user_id() takes one user for another", fixes.rules())
    bots = report["bots"]
    if not bots:
        return skipped(NAME, "no bot is registered yet: `realtime-bridge run` does that")
    if bot not in bots:
        others = ", ".join(map(str, bots))
        text = f"users of bot {bot} are refused: only other bots are registered, by id: {others}"
        return failed(NAME, text, fixes.other_bot())
    text = f"users of bot {bot} are refused: it is registered with another token than BOT_TOKEN"
    return failed(NAME, text, fixes.old_bot_token())
