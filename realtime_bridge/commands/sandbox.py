"""`realtime-bridge local` and `demo`: the sandbox, which is an extra of the package."""

import asyncio
import sys
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from realtime_bridge.commands import exit_codes

if TYPE_CHECKING:
    from collections.abc import Callable

    from tma_sandbox.page import Timelines
    from tma_sandbox.stack import LocalStack

_DEMO_MINI_APP = "https://t.me/demo_bot/app"
_SEEN = 100  # rows; as many as the dashboard shows, and some that are scheduled


@click.command()
@click.option("--port", default=54321, show_default=True, help="One port for everything.")
@click.option(
    "--env-file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(".env.local"),
    show_default=True,
    help="Keep the settings for `run` in this file until the sandbox stops. Other settings in it "
    "stay.",
)
@click.option(
    "--changes-poll",
    type=(float, float),
    default=(0.1, 0.5),
    show_default=True,
    metavar="BUSY IDLE",
    help="Seconds between polls of the WAL by the local Realtime, after changes that nobody "
    "subscribed to and after none. The default is a real server's: notices come within 500 ms.",
)
@click.option(
    "--data",
    "data_dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the database and the keys here; without it everything is gone at the end.",
)
@click.option(
    "--migrations",
    "migrations_dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Apply your project's migrations from this folder instead of the bridge's alone. They "
    "must include the bridge's.",
)
@click.option(
    "--signing-keys",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also trust tokens signed with these keys: a file like the Supabase CLI's "
    "auth.signing_keys_path. The first private key signs the tokens of sb_ keys.",
)
def local(
    port: int,
    env_file: Path,
    changes_poll: tuple[float, float],
    data_dir: Path | None,
    *,
    migrations_dir: Path | None,
    signing_keys: Path | None,
) -> None:
    """Run Postgres, PostgREST, Realtime and a Bot API on this machine, for trials and tests."""
    _need_local()
    from realtime_bridge.database import migrations_directory
    from tma_sandbox.command import run_local
    from tma_sandbox.stack import LocalStack

    stack = partial(
        LocalStack,
        port,
        changes_poll=changes_poll,
        data_dir=data_dir,
        migrations=migrations_dir or migrations_directory(),
        signing_keys=signing_keys,
    )
    command, run = "realtime-bridge local", "realtime-bridge run"
    sys.exit(asyncio.run(run_local(stack, env_file, command=command, run=run, echo=click.echo)))


@click.command()
@click.option("--port", default=0, help="Port of the sandbox (default: any free one).")
@click.option("--every", default=4.0, show_default=True, help="Seconds between new events.")
@click.option("--count", type=int, help="Stop after so many events (default: go on).")
def demo(port: int, every: float, count: int | None) -> None:
    """See it work: the sandbox, the bridge, and a simulated Mini App."""
    _need_local()
    from realtime_bridge.commands.dashboard import STYLESHEET
    from realtime_bridge.commands.demo_bridge import TEMPLATES, make_plan
    from realtime_bridge.database import migrations_directory
    from tma_sandbox.demo import BridgeProgram, Front, run_demo

    bridge = BridgeProgram(
        command=[sys.executable, "-m", "realtime_bridge", "run"],
        settings={
            "HTTP_PORT": "0",
            "LOG_FORMAT": "json",
            # The page opens the Mini App at links to this address, as Telegram would.
            "MINI_APP_URL": _DEMO_MINI_APP,
            "TEMPLATES_DIR": str(TEMPLATES),
            "PLANNER": f"{make_plan.__module__}:{make_plan.__name__}",
        },
        ready='"doorbell_ready"',
    )
    work = run_demo(
        migrations=migrations_directory(),
        bridge=bridge,
        front=Front(STYLESHEET, _dashboard),
        port=port,
        every=every,
        count=count,
    )
    sys.exit(asyncio.run(work))


def _dashboard(
    stack: "LocalStack", environment: Mapping[str, str], timelines: "Timelines"
) -> "AbstractAsyncContextManager[Callable[[], str]]":
    """The dashboard of the demo's stack, beside the Mini App and the chat."""
    from realtime_bridge.commands.dashboard import Seen, demo_dashboard

    async def seen() -> dict[int, Seen]:
        return {
            row.id: Seen(
                None if row.sent_ms is None else row.inserted + row.sent_ms / 1000, row.lead_name
            )
            for row in await timelines.latest(_SEEN)
        }

    return demo_dashboard(environment, f"{stack.url}/demo/panes", seen)


def _need_local() -> None:
    try:
        import psycopg  # noqa: F401
    except ImportError:
        click.echo(
            "The sandbox is not installed. Install it with:\n"
            "  pip install 'realtime-bridge[local]'",
            err=True,
        )
        sys.exit(exit_codes.CONFIGURATION)
