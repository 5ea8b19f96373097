"""Notifying systemd of our state: https://www.freedesktop.org/software/systemd/man/sd_notify.html."""

import asyncio
import os
import socket
from contextlib import suppress
from typing import NoReturn

READY = "READY=1"
STOPPING = "STOPPING=1"
_BEAT = "WATCHDOG=1"


def notify_systemd(state: str) -> None:
    """Notify systemd, if it started us and asked for it. Never raises or waits."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        channel.connect(f"\0{address[1:]}" if address.startswith("@") else address)
        channel.send(state.encode())


async def beat_watchdog() -> NoReturn:
    """Feed systemd's watchdog, if it asked for that, to show that the event loop runs."""
    microseconds = int(os.environ.get("WATCHDOG_USEC") or 0)
    if not microseconds:
        await asyncio.Event().wait()
    while True:
        notify_systemd(_BEAT)
        await asyncio.sleep(microseconds / 2e6)
