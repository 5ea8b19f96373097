"""The Mini App's side, in its own language: types, its tests on the real parts, its docs."""

import asyncio
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
TEST = ("--test", "--test-isolation=none", "--test-timeout=30000")


async def node(*arguments, cwd=MINI_APP, env=None):
    """Run Node.js to its end, which must be a good one."""
    process = await asyncio.create_subprocess_exec(
        NODE,
        *arguments,
        cwd=cwd,
        env={**os.environ, **(env or {})},
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


async def test_its_types_are_right():
    """Strictly, and with nothing in them that Node.js could not run as it is."""
    await node(TSC)


async def test_it_works_on_the_real_parts(clean_stack):
    """Its own tests pass: real supabase-js, real PostgREST, a network that fails."""
    output = await node(*TEST, "test/*.test.ts", env=clean_stack.env())

    assert int(re.search(r"pass (\d+)", output)[1]) > 40


async def test_it_gets_along_with_the_bridge(world, start):
    """What it sends is told in the chat, and what it asks is answered."""
    midnight = "00:00"  # so that what is due today is due now
    bridge = await start("run", env=world.environment(REMINDER_TIME=midnight))
    await bridge.says("started")

    await node(*TEST, "test/end-to-end.ts", env=world.stack.env())


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
