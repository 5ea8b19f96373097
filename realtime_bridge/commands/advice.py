"""What to do about a database that does not answer, or says no."""

from realtime_bridge.commands.check.fixes import Fixes
from realtime_bridge.database import Refused, Unavailable
from realtime_bridge.settings import ConfigurationError, Settings

_EXAMINE = "Run `realtime-bridge check`: it says what is wrong."


def advice(error: Unavailable | Refused, settings: Settings) -> str:
    """Say what happened and what fixes it, for whoever typed the command."""
    if isinstance(error, Refused):
        return str(error) if error.fix else f"{error}. {_EXAMINE}"
    fix = _fixes(settings).supabase()
    return f"No answer from {settings.supabase_url}: {error}\nTo fix it: {fix.text}"


def _fixes(settings: Settings) -> Fixes:
    source = settings.provenance.source
    if source is None:
        return Fixes({"SUPABASE_URL": settings.supabase_url})
    try:
        return Fixes(source.read(), source.env_file if source.must_exist else None)
    except ConfigurationError:  # gone by now
        return Fixes(settings.provenance.values)
