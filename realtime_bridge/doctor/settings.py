"""What the doctor says of the configuration itself."""

from collections.abc import Sequence

from realtime_bridge.doctor.finding import Finding, failed
from realtime_bridge.doctor.fixes import Fixes

NAME = "settings"


def settings_findings(problems: Sequence[str], fixes: Fixes) -> list[Finding]:
    """One finding for each problem of a ConfigurationError; each begins with a setting's name."""
    return [failed(NAME, problem, fixes.settings(problem.split()[0])) for problem in problems]
