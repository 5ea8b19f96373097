"""The bridge as a process: signals and systemd."""

import asyncio
import os
import signal
from collections.abc import Callable

from realtime_bridge.bridge import Bridge
from realtime_bridge.observe import beat_watchdog, notify_systemd
from realtime_bridge.settings import Settings


async def run_until_signal(settings: Settings) -> None:
    """Run a bridge as a process.

    SIGINT and SIGTERM stop it cleanly, SIGHUP makes it read its keys again; systemd gets its
    notifications. Raises what Bridge.run() raises.
    """
    bridge = Bridge(settings, notify=notify_systemd)
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, bridge.request_stop)
    loop.add_signal_handler(signal.SIGHUP, _on_hangup(bridge))
    heartbeat = asyncio.create_task(beat_watchdog())
    try:
        await bridge.run()
    finally:
        heartbeat.cancel()
        await asyncio.gather(heartbeat, return_exceptions=True)


def _on_hangup(bridge: Bridge) -> Callable[[], None]:
    """SIGHUP means stop if our terminal is gone, and reload if somebody sent it."""
    may_stop = _has_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN  # nohup

    def handler() -> None:
        if may_stop and not _has_terminal():
            bridge.request_stop()
        else:
            bridge.reload()

    return handler


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
