"""A project that can be broken, examined, and mended by what `check` prints."""

import asyncio
import json
import os
import sys
from pathlib import Path

from realtime_bridge.commands.check.command import run_check
from realtime_bridge.credentials import web_app_key
from tests.integration.kit import until
from tests.run_mark import mark

PATIENCE = 60  # where PostgREST looks just when something is dropped it looks again much later
REPOSITORY = Path(__file__).parents[2]


class Project:
    """A stack and the folder of a project with its .env."""

    def __init__(self, world, folder):
        self.world = world
        self.folder = folder
        self.env_file = folder / ".env"
        self.configure()

    def configure(self, **changes):
        """Write the .env; a setting of None is left out."""
        settings = {**self.world.stack.env(), "HTTP_PORT": "0", **changes}
        lines = [f"{name}={value}\n" for name, value in settings.items() if value is not None]
        self.env_file.write_text("".join(lines))

    async def register_bot(self):
        """Do what the start of a bridge does, so that users of the Mini App may write."""
        token = self.world.stack.env()["BOT_TOKEN"]
        await self.world.sql("delete from bridge.bot_keys")
        await self.world.sql(
            "select register_tma_bot(%s, %s)", int(token.partition(":")[0]), web_app_key(token)
        )

    async def check(self):
        """Run check; return its exit code and its findings by name."""
        said = []
        code = await run_check(self.env_file, as_json=True, echo=said.append)
        told = json.loads("".join(said))
        assert told["ok"] == (code == 0)
        return code, {finding["name"]: finding for finding in told["findings"]}

    async def until_found(self, name, says):
        """Check until a finding says this: PostgREST may still know the schema of before."""

        async def found():
            code, findings = await self.check()
            return (code, findings) if says in findings[name]["detail"] else None

        return await until(found, PATIENCE)

    async def until_well(self):
        """Check until all is well: PostgREST has to learn of what was mended."""

        async def well():
            code, findings = await self.check()
            return findings if code == 0 else None

        return await until(well, PATIENCE)

    async def paste(self, fix):
        """Do what the fix says, where it says."""
        assert fix["where"] in {"SQL editor", "shell"}, fix
        if fix["where"] == "SQL editor":
            await self.world.sql(fix["text"])
            return
        await self.shell(fix["text"])

    async def shell(self, line):
        """Run a line in the project's folder, with the tools that a user has."""
        node_modules = self.folder / "node_modules"
        if not node_modules.exists():
            node_modules.symlink_to(REPOSITORY / "node_modules")
        psql = self.world.stack.postgres.tool("psql").parent
        process = await asyncio.create_subprocess_exec(
            "bash",
            "-c",
            line,
            cwd=self.folder,
            env={
                **mark(),
                "PATH": f"{Path(sys.executable).parent}:{psql}:{os.environ['PATH']}",
                "HOME": str(self.folder),
                "SUPABASE_YES": "1",
                "SUPABASE_TELEMETRY_DISABLED": "1",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
