"""`realtime-bridge check`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

from realtime_bridge.commands import exit_codes
from realtime_bridge.commands.check.examination import examine
from realtime_bridge.commands.check.finding import Finding, Status
from realtime_bridge.commands.check.fixes import Fixes
from realtime_bridge.commands.check.settings import settings_findings, use
from realtime_bridge.credentials import Redactor
from realtime_bridge.observe import configure_logging
from realtime_bridge.settings import (
    ConfigurationError,
    Settings,
    Source,
    build,
    makeshift_redactor,
    source_of,
)

_GOOD = 0
_WORDS = {
    Status.OK: "ok",
    Status.WARNING: "warn",
    Status.FAILED: "FAIL",
    Status.SKIPPED: "skip",
}


async def run_check(
    env_file: Path | None,
    *,
    as_json: bool,
    echo: Callable[[str], None],
    paint: Callable[[str, Status], str] = lambda text, _: text,
) -> int:
    """Print each finding as it comes, or all of them as JSON; return the exit code.

    `paint` may add colour to the word that says how bad it is.
    """
    configure_logging("CRITICAL")  # the doorbell would tell it all in its own words
    values, settings, problems = _read(source_of(env_file=env_file))
    echo = (settings.redact if settings else makeshift_redactor(values)).before(echo)
    findings: list[Finding] = []

    def tell(finding: Finding) -> None:
        findings.append(finding)
        if not as_json:
            echo(text_of(finding, paint))

    code = await _check(settings, problems, Fixes(values, env_file), tell)
    if as_json:
        told = {"ok": code == _GOOD, "findings": [asdict(finding) for finding in findings]}
        echo(json.dumps(told, indent=2, ensure_ascii=False))
    return code


async def gather(source: Source) -> list[Finding]:
    """All findings at once, with no secret in them."""
    values, settings, problems = _read(source)
    redact = settings.redact if settings else makeshift_redactor(values)
    findings: list[Finding] = []
    await _check(settings, problems, Fixes(values, source.env_file), findings.append)
    return [_redacted(finding, redact) for finding in findings]


def _redacted(finding: Finding, redact: Redactor) -> Finding:
    fix = finding.fix and replace(finding.fix, text=redact(finding.fix.text))
    return replace(finding, detail=redact(finding.detail), fix=fix)


def _read(source: Source) -> tuple[Mapping[str, str | None], Settings | None, list[str]]:
    """The settings as they were given, as they are used, and why they cannot be."""
    values: Mapping[str, str | None] = {}
    try:
        values = source.read()
        return values, build(source), []
    except ConfigurationError as error:
        return values, None, error.problems


async def _check(
    settings: Settings | None,
    problems: list[str],
    fixes: Fixes,
    tell: Callable[[Finding], None],
) -> int:
    try:
        if settings:
            use(settings)
    except ConfigurationError as error:
        settings, problems = None, error.problems
    if settings is None:
        for finding in settings_findings(problems, fixes):
            tell(finding)
        return exit_codes.CONFIGURATION
    worst = _GOOD
    async for finding in examine(settings, fixes):
        tell(finding)
        if finding.status is Status.FAILED:
            worst = exit_codes.FAILURE
    return worst


def text_of(finding: Finding, paint: Callable[[str, Status], str] = lambda text, _: text) -> str:
    r"""One finding for a person; each line of a fix can be copied whole.

    >>> from realtime_bridge.commands.check.finding import failed, ok
    >>> from realtime_bridge.commands.check.fixes import sql
    >>> text_of(ok("telegram", "@my_bot", 81.2))
    'ok    telegram     @my_bot (81 ms)'
    >>> print(text_of(failed("access", "it is open", sql("close it;"))))
    FAIL  access       it is open
          fix (SQL editor):
    close it;
    """
    word = paint(_WORDS[finding.status].ljust(4), finding.status)
    took = "" if finding.milliseconds is None else f" ({finding.milliseconds:.0f} ms)"
    line = f"{word}  {finding.name:<12} {finding.detail}{took}"
    if finding.fix is None:
        return line
    return f"{line}\n      fix ({finding.fix.where.value}):\n{finding.fix.text}"
