"""The systemd unit: what it takes from the bridge, and that the bridge does not miss it."""

import asyncio
import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.integration.kit import Process, until
from tests.packaging import confine
from tests.packaging.conftest import REPOSITORY
from tests.run_mark import mark

UNIT = REPOSITORY / "deploy" / "realtime-bridge.service"
# What keeps whoever gets hold of the process in it; systemd.exec(5) has them.
HARDENED = {
    "CapabilityBoundingSet": "",
    "DevicePolicy": "closed",
    "DynamicUser": "yes",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "NoNewPrivileges": "yes",
    "PrivateDevices": "yes",
    "PrivateTmp": "yes",
    "PrivateUsers": "yes",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHome": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectProc": "invisible",
    "ProtectSystem": "strict",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "SystemCallArchitectures": "native",
    "SystemCallErrorNumber": "EPERM",
    "UMask": "0077",
}
# In tenths. What remains is the network and /proc/stat.
EXPOSURE = 12


def test_it_takes_what_the_bridge_does_not_need():
    """One line missing is one thing more that a hijacked process can do."""
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read_string(UNIT.read_text())

    assert HARDENED.items() <= dict(unit["Service"]).items()


def test_the_filter_of_system_calls_is_narrow():
    """What a service needs, without what needs privileges or takes others' resources."""
    lines = re.findall(r"^SystemCallFilter=(.*)$", UNIT.read_text(), re.MULTILINE)

    assert lines == ["@system-service", "~@privileged @resources"]


def test_systemd_itself_finds_little_to_say():
    """Its own measure of exposure, where there is systemd."""
    if analyze := shutil.which("systemd-analyze"):
        words = [analyze, "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager"]
        judged = subprocess.run([*words, UNIT], check=False, capture_output=True, text=True)
        assert judged.returncode == 0, judged.stdout


@pytest.fixture(scope="module")
def confined():
    """The words before a command that put the unit's filter on it, where this machine can."""
    words = [sys.executable, str(Path(confine.__file__)), str(UNIT)]
    return words if confine.possible() else []


async def start(*words, cwd, env):
    return Process(
        await asyncio.create_subprocess_exec(
            *words,
            cwd=cwd,
            env={
                **mark(),
                "PYTHONPATH": str(REPOSITORY),
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                **env,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    )


async def test_the_filter_refuses_and_does_not_kill(confined, tmp_path):
    """The calls that are taken away fail as they would for want of rights."""
    attempts = "os.chown('.', 1, 1)", "os.setpriority(0, 0, 5)", "os.sched_setaffinity(0, {0})"
    for attempt in attempts if confined else ():
        process = await start(
            *confined, sys.executable, "-c", f"import os; {attempt}", cwd=tmp_path, env={}
        )
        assert await process.ended() == 1
        assert "PermissionError" in process.output


async def test_the_bridge_works_under_the_filter(confined, world, tmp_path, unused_tcp_port):
    """From start to stop: a message is delivered, the metrics are served."""
    environment = world.environment(HTTP_PORT=str(unused_tcp_port))
    command = [*confined, sys.executable, "-m", "realtime_bridge", "run"]
    bridge = await start(*command, cwd=tmp_path, env=environment)
    url = f"http://localhost:{unused_tcp_port}/metrics"

    async def served():
        try:
            async with aiohttp.ClientSession() as http, http.get(url) as answer:
                return await answer.text()
        except aiohttp.ClientConnectionError:
            return None

    try:
        await bridge.says("started")
        await world.insert(1, payload={"new_status": "Won", "lead_name": "Ann"})
        await world.settled(1)
        metrics = await until(served)
    finally:
        code = await bridge.stop()

    assert await world.texts() == ["Lead status updated: Ann → Won"]
    assert "process_start_time_seconds" in metrics
    assert code == 0, bridge.output
    assert "PermissionError" not in bridge.output
