"""Findings about the configuration itself."""

from collections.abc import Sequence

from realtime_bridge.commands.check.finding import Finding, failed
from realtime_bridge.commands.check.fixes import Fixes
from realtime_bridge.settings import Settings

NAME = "settings"


def settings_findings(problems: Sequence[str], fixes: Fixes) -> list[Finding]:
    """One finding for each problem of a ConfigurationError; each begins with a setting's name."""
    return [failed(NAME, problem, fixes.settings(problem.split()[0])) for problem in problems]


def use(settings: Settings) -> None:
    """Read the templates and import the planner that are named, as `run` would.

    Raises ConfigurationError.
    """
    if settings.templates_dir:
        from realtime_bridge.messages import load_messages  # noqa: PLC0415 - Babel takes its time

        load_messages(settings)
    if settings.planner or settings.playbook or settings.request_tables:
        from realtime_bridge.request_tables import load_request_tables  # noqa: PLC0415 - and so may what users name

        load_request_tables(settings)
