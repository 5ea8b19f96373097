"""`realtime-bridge run`: the bridge as a process, with its log.

Imports nothing that takes its time before signals are answered.
"""

import asyncio
import logging
import signal
import sys
from importlib import metadata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realtime_bridge.settings import Settings

_STOPPED = 0
_CRASHED = 1


def answer_signals() -> None:
    """End at SIGINT and SIGTERM, until the bridge listens itself.

    As process 1 of a container we would ignore SIGTERM.
    """
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: sys.exit(0))
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, lambda *_: None)  # what it asks for is about to be done


def run_bridge(settings: "Settings") -> int:
    """Run the bridge until a signal; return the exit code. Raises ConfigurationError."""
    from realtime_bridge.observe import configure_logging
    from realtime_bridge.settings import ConfigurationError

    configure_logging(settings.log_level, settings.log_format, redact=settings.redact)
    _say_starting(settings)
    # After this word: it imports aiogram, which takes seconds on a small machine.
    from realtime_bridge.process import run_until_signal

    try:
        asyncio.run(run_until_signal(settings))
    except ConfigurationError:
        raise
    except Exception:
        logging.getLogger(__name__).critical("crashed", exc_info=True)
        return _CRASHED
    return _STOPPED


def _say_starting(settings: "Settings") -> None:
    import structlog

    version = metadata.version("realtime-bridge")
    structlog.get_logger().info("starting", version=version, supabase=settings.supabase_url)
