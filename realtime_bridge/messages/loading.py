"""The messages of a bridge with these settings."""

from realtime_bridge.messages.renderer import Messages
from realtime_bridge.settings import ConfigurationError, Settings


def load_messages(settings: Settings) -> Messages:
    """Load the templates. Raises ConfigurationError if they cannot be used."""
    try:
        return Messages(
            templates_dir=settings.templates_dir,
            default_locale=settings.default_locale,
            mini_app_url=settings.mini_app_url,
        )
    except ValueError as error:
        raise ConfigurationError([f"TEMPLATES_DIR cannot be used: {error}"]) from error
