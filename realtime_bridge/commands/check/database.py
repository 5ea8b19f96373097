"""Findings about the database, from what tma_bridge_check() reports."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from math import inf
from typing import Any

from realtime_bridge.commands.check import access, broadcast
from realtime_bridge.commands.check.finding import (
    Finding,
    Fix,
    Status,
    Where,
    failed,
    ok,
    skipped,
    warning,
)
from realtime_bridge.commands.check.fixes import Fixes, sql
from realtime_bridge.credentials import ROLE, SECRET, Key, claims_of, end_of, key_id_of
from realtime_bridge.database import Refused, Unavailable
from realtime_bridge.worker import AGREE_ON_LIMITS

Report = Mapping[str, Any]

PUBLISH = sql("alter publication supabase_realtime add table bridge.bells;")
SCHEMA_VERSION = 1  # as tma_bridge_check() must say at least
KEY_DAYS_LEFT = 14
CLOCK_WARNING_SECONDS = 2.0
CLOCK_WRONG_SECONDS = 60.0
_DAY = 86_400
_NAME_FUNCTION = (
    "create or replace function public.tma_lead_name(p_lead_id bigint) returns text "
    "language sql stable set search_path = '' "
    "as $$ select {column}::text from public.leads where id = p_lead_id $$;"
)
_LEAD_RIGHTS = (
    "give users the right to read their own leads (grant select, and a policy with "
    "tma_user_id()), or say who may see which lead: replace tma_may_see_lead(), as "
    "docs/security.md shows"
)
_SCHEMA = ("migrations", "publication", "access", "bells", "limits")


@dataclass(frozen=True, slots=True)
class HeldKey:
    """The key in use, how long it lasts, and how a running bridge gets another one."""

    key: Key
    seconds: float  # inf: it does not say
    renewal: str


def refusal_findings(
    error: Unavailable | Refused,
    *,
    url: str,
    key: Key,
    partly: bool,
    stranger: str | None = None,
    fixes: Fixes,
) -> list[Finding]:
    """Explain why the database could not be asked.

    `partly`: other functions of ours are there. `stranger` says so if the key is signed with a key
    that the project does not know.
    """
    if isinstance(error, Unavailable):
        text = f"{url} does not answer: {error}"
        return [failed("supabase", text, fixes.supabase()), *_skip(("key", *_SCHEMA), "supabase")]
    answers = ok("supabase", f"{url} answers")
    if error.missing_function:
        text = "this database has no tma_bridge_check()"
        fix = fixes.functions(["tma_bridge_check"]) if partly else fixes.migrations()
        accepted = ok("key", f"accepted, {key.kind}")
        missing = failed("migrations", text, fix)
        return [answers, accepted, missing, *_skip(_SCHEMA[1:], "migrations")]
    if error.bad_key:
        return [answers, _bad_key(error, key, stranger, fixes), *_skip(_SCHEMA, "key")]
    return [
        failed("supabase", error.what, fixes.address()),
        *_skip(("key", *_SCHEMA), "supabase"),
    ]


def report_findings(
    report: Report, *, fixes: Fixes, held: HeldKey, changes: bool
) -> Iterator[Finding]:
    """Turn what tma_bridge_check() returned into findings.

    `changes`: whether the bridge is to be rung by Postgres Changes.
    """
    yield _key(report, fixes, held)
    yield _migrations(report, fixes)
    yield _publication(report, needed=changes)
    yield _access(report)
    yield _bells(report)
    yield _limits(report)


def nonsense_finding(fixes: Fixes) -> Finding:
    """tma_bridge_check() is somebody else's function, or of another version."""
    text = "tma_bridge_check() returned something that the bridge cannot use"
    return failed("migrations", text, fixes.migrations())


def with_registration(telegram: Finding, report: Report, token: str) -> Finding:
    """Say whose Mini App users may write: not yet the bot's, or those of other bots too."""
    own = int(token.partition(":")[0])
    others = ", ".join(str(bot) for bot in report["bots"] if bot != own)
    details = [telegram.detail]
    if telegram.status is Status.OK and own not in report["bots"]:
        details.append("its Mini App users can write once `realtime-bridge run` has registered it")
    if others:
        details.append(f"bridge.bot_keys lets users of other bots write too, by id: {others}")
    return replace(telegram, detail="; ".join(details))


def clock_finding(report: Report, asked_at: float, answered_at: float, fixes: Fixes) -> Finding:
    """Compare this machine's time of day, around the question, with the database's."""
    theirs = datetime.fromisoformat(report["now"]).timestamp()
    off = max(theirs - answered_at, asked_at - theirs, 0.0)
    if off < CLOCK_WARNING_SECONDS:
        return ok("clock", f"agrees with the database's to {answered_at - asked_at:.2f} s")
    way = "behind" if theirs > answered_at else "ahead of"
    text = f"this machine's is {off:.0f} s {way} the database's"
    finding = failed("clock", text, fixes.clock())
    return finding if off >= CLOCK_WRONG_SECONDS else warning("clock", text, finding.fix)


def names_finding(report: Report) -> Finding:
    """Where the leads' names come from."""
    columns = report["lead_columns"]
    if report["lead_names"] and columns is not None and not report["lead_rights"]:
        return warning(
            "names",
            f"of leads come from {report['lead_names']}, but no user may read public.leads, so "
            'messages about rows that users write say "your lead"',
            Fix(Where.PERSON, _LEAD_RIGHTS),
        )
    if report["lead_names"]:
        return ok("names", f"of leads come from {report['lead_names']}")
    if columns is None:
        return ok("names", "of leads come from each payload's lead_name (no table public.leads)")
    return failed(
        "names",
        'public.leads has no column prospect_name, so messages say "your lead"',
        sql(_NAME_FUNCTION.format(column=_likely(columns))),
    )


def _skip(names: tuple[str, ...], because: str) -> list[Finding]:
    return [skipped(name, f"{because} failed") for name in names]


def _bad_key(error: Refused, key: Key, stranger: str | None, fixes: Fixes) -> Finding:
    text = f"{error.what}; it is {key.kind}"
    if "set role" in error.what:
        return failed("key", text, sql(f"grant {ROLE} to authenticator;"))
    if "permission denied" in error.what:
        return failed("key", text, fixes.key())
    narrow = (claims_of(key.secret) or {}).get("role") == ROLE
    if narrow and (not fixes.has_anon_key or "API key" in error.what):
        return failed("key", text, fixes.anon_key())
    if stranger:
        return failed("key", stranger, fixes.signing_key(key_id_of(key.secret)))
    if fixes.signed_with_the_secret and "expired" not in error.what:
        text = f"this project does not trust its JWT secret: {text}, which {SECRET} signed"
        return failed("key", text, fixes.no_jwt_secret())
    return failed("key", text, fixes.key())


def broadcast_fix(report: Report, fixes: Fixes) -> Fix:
    """How to let the bridge's role receive broadcasts."""
    try:
        role, ways = str(report["role"]), report["tma_bridge"]
        grantable = ways.get("broadcasts_grantable") is not False  # older schemas do not say
    except (LookupError, TypeError, AttributeError):
        return broadcast.broadcast_fix(ROLE, grantable=True, fixes=fixes)
    return broadcast.broadcast_fix(role, grantable=grantable, fixes=fixes)


def _key(report: Report, fixes: Fixes, held: HeldKey) -> Finding:
    role = report["role"]
    own = (claims_of(held.key.secret) or {}).get("role")
    text = held.key.kind if own == role else f"{held.key.kind} of the role {role}"
    if role != ROLE:
        text += f", which may do everything; {ROLE} is enough: `realtime-bridge token`"
    if held.seconds == inf:
        return ok("key", f"{text}; does not expire. To change it: {held.renewal}")
    days = held.seconds / _DAY
    ends = end_of(held.key.secret)
    if days < KEY_DAYS_LEFT:
        text = f"{held.key.kind}, but it expires in {days:.1f} days ({ends}). Before that: "
        return warning("key", text + held.renewal, fixes.key())
    return ok("key", f"{text}; expires in {days:.0f} days ({ends}). To change it: {held.renewal}")


def _migrations(report: Report, fixes: Fixes) -> Finding:
    version = report["schema_version"]
    if version < SCHEMA_VERSION:
        text = f"schema version {version}, but this bridge needs {SCHEMA_VERSION}"
        return failed("migrations", text, fixes.migrations())
    if missing := report["missing_functions"]:
        text = f"role {report['role']} cannot call {', '.join(missing)}"
        return failed("migrations", text, fixes.functions(missing))
    return ok("migrations", f"applied, schema version {version}")


def _publication(report: Report, *, needed: bool) -> Finding:
    if not report["publication"]:
        return failed(
            "publication",
            "there is no publication supabase_realtime",
            sql("create publication supabase_realtime for table bridge.bells;"),
        )
    if report["bells_published"]:
        return ok("publication", "supabase_realtime has bridge.bells")
    text = "supabase_realtime lacks bridge.bells: Postgres Changes do not ring"
    return failed("publication", text, PUBLISH) if needed else warning("publication", text, PUBLISH)


def _access(report: Report) -> Finding:
    if off := access.unprotected(report):
        return failed(
            "access",
            f"row level security is off on {', '.join(off)}: anybody may read and write it",
            sql(*access.protecting(off)),
        )
    if functions := report["open_functions"]:
        return failed(
            "access",
            f"the anon key may call {', '.join(functions)}",
            sql(
                *(
                    f"revoke execute on function {one} from public, anon, authenticated;"
                    for one in functions
                )
            ),
        )
    if policies := report["open_policies"]:
        named = ", ".join(f'"{one["policy"]}" on {one["table"]}' for one in policies)
        text = f"policies beside the bridge's own let users do more: {named}"
        return warning("access", text, sql(*access.narrowing(report)))
    if report["allow_unverified"]:
        return warning(
            "access",
            "allow_unverified is on: policies of your own may let anybody write",
            sql(*access.narrowing(report)),
        )
    return ok("access", "users reach their own rows only")


def _bells(report: Report) -> Finding:
    tables = report["tables"]
    if silent := [table for table in sorted(tables) if not tables[table]["rings"]]:
        return failed(
            "bells",
            f"inserts into {', '.join(silent)} do not ring: the trigger tma_bell is off or gone",
            sql(*map(_ringing, silent)),
        )
    if not report["realtime_send"]:
        return ok("bells", "Postgres Changes alone: this Realtime has no realtime.send()")
    return ok("bells", "inserts ring by broadcast and by Postgres Changes")


def _limits(report: Report) -> Finding:
    pace = report["pace"]
    if pace["limits_differ"]:
        return warning(
            "limits",
            "replicas have different limits, and each paces all of them whenever it asks",
            Fix(Where.ENV, AGREE_ON_LIMITS),
        )
    if pace["paused_seconds"] > 0:
        return warning(
            "limits",
            f"Telegram asked for a pause: no message for {pace['paused_seconds']:.0f} s",
            Fix(
                Where.PERSON,
                "wait; if it comes again, something else sends with this bot, or TELEGRAM_RATE is "
                "too high",
            ),
        )
    if limits := pace["limits"]:
        rate = limits["bot_per_second"]
        return ok("limits", f"{rate:g} messages a second, by all replicas together")
    return ok("limits", "no bridge has asked yet")


def _ringing(table: str) -> str:
    """What gives a table its bell back."""
    if table == access.EVENTS:
        return f"alter table public.{table} enable trigger tma_bell;"
    return access.made_request_table(table)


def _likely(columns: list[str]) -> str:
    """The column that most looks like a name."""
    for word in ("name", "title"):
        for column in columns:
            if word in column:
                return column
    return columns[0] if columns else "id"
