"""The Mini App's side, in its own language: types, its tests on the real parts, its docs."""

import asyncio
import importlib.util
import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parents[2]
MINI_APP = ROOT / "examples" / "mini-app"
NODE = Path(sys.executable).with_name("node")
TSC = MINI_APP / "node_modules" / "typescript" / "bin" / "tsc"
SCRIPT = ROOT / "scripts" / "database_types.py"
STACKS = ("SUPABASE_", "BOT_")  # how the names of a stack's settings begin


async def node(*arguments, program=NODE, cwd=MINI_APP, env=None):
    """Run Node.js, or what comes with it, to its end, which must be a good one."""
    path = {"PATH": f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"}
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments,
        cwd=cwd,
        env={**os.environ, **path, **(env or {})},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)  # it is a small program that starts Node.js
    assert process.returncode == 0, output.decode()
    return output.decode()


async def npm(script, env=None):
    """Run a script of its package.json; what its runner says."""
    return await node("run", script, program=NODE.with_name("npm"), env=env)


def passed(output):
    """How many tests the runner counted as passed."""
    return int(re.search(r"pass (\d+)", output)[1])


async def test_its_types_are_right():
    """Strictly, and with nothing in them that Node.js could not run as it is."""
    await node(TSC)


async def test_npm_test_needs_nothing_else(monkeypatch):
    """Its unit tests pass after `npm install`, with no stack, no bridge and no network."""
    for name in [name for name in os.environ if name.startswith(STACKS)]:
        monkeypatch.delenv(name)

    assert passed(await npm("test")) >= 20


async def test_it_works_on_the_real_parts(clean_stack):
    """Its other tests pass: real supabase-js, real PostgREST, a network that fails."""
    assert passed(await npm("test:stack", env=clean_stack.env())) > 40


async def test_it_gets_along_with_the_bridge(world, start):
    """What it sends is told in the chat, and what it asks is answered."""
    midnight = "00:00"  # so that what is due today is due now
    bridge = await start("run", env=world.environment(REMINDER_TIME=midnight))
    await bridge.says("started")

    assert passed(await npm("test:bridge", env=world.stack.env())) > 1


async def test_its_database_types_are_those_of_the_schema(db):
    """What the Supabase CLI makes of the migrations of today: else `make types`."""
    spec = importlib.util.spec_from_file_location("database_types", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    made = await asyncio.to_thread(script.generate, f"{db}?sslmode=disable")

    assert script.TYPES.read_text() == made


async def test_what_its_docs_show_can_be_copied(tmp_path):
    """Every snippet, in a file of its own name, passes the type check."""
    docs = (ROOT / "docs" / "mini-app.md").read_text()
    snippets = re.findall(r"^```tsx? file=(\S+)\n(.*?)^```", docs, re.MULTILINE | re.DOTALL)
    assert len(snippets) == len(re.findall(r"^```tsx?\b", docs, re.MULTILINE)) > 0
    for name, text in snippets:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "src" / "mini-app").symlink_to(MINI_APP / "src")
    (tmp_path / "node_modules").symlink_to(MINI_APP / "node_modules")
    config = {
        "extends": str(MINI_APP / "tsconfig.json"),
        "compilerOptions": {"types": [], "jsx": "react-jsx"},
        "include": ["src"],
    }
    (tmp_path / "tsconfig.json").write_text(json.dumps(config))

    await node(TSC, cwd=tmp_path)
