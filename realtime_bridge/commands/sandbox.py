"""`realtime-bridge local` and `demo`: the embedded stack, which is an extra of the package."""

import asyncio
import sys
from pathlib import Path

import click

EXIT_CONFIGURATION = 78  # EX_CONFIG of sysexits.h


@click.command()
@click.option("--port", default=54321, show_default=True, help="One port for everything.")
@click.option(
    "--env-file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(".env.local"),
    show_default=True,
    help="Keep the settings that `run` needs in this file, until it ends. Other settings in it "
    "stay.",
)
@click.option(
    "--changes-poll",
    type=(float, float),
    default=(0.1, 0.5),
    show_default=True,
    metavar="BUSY IDLE",
    help="Seconds until the local Realtime looks at the WAL again, after changes that nobody "
    "listens for and after none. The default is a real server's: notices come within 500 ms.",
)
@click.option(
    "--data",
    "data_dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the database here; without it everything is gone at the end.",
)
@click.option(
    "--migrations",
    "migrations_dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Apply your project's migrations in this folder, which has the bridge's among them, "
    "instead of the bridge's alone.",
)
@click.option(
    "--signing-keys",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Trust tokens signed with these keys too: a file as the CLI's auth.signing_keys_path. "
    "The first private one signs what the gateway puts in the place of sb_ keys.",
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
    """Run Postgres, PostgREST, Realtime and a Bot API on this machine, for trying and testing."""
    _need_local()
    from realtime_bridge.database import migrations_directory
    from tma_sandbox.command import run_local

    work = run_local(
        port,
        env_file,
        changes_poll=changes_poll,
        data_dir=data_dir,
        migrations=migrations_dir or migrations_directory(),
        signing_keys=signing_keys,
        run="realtime-bridge run",
        echo=click.echo,
    )
    sys.exit(asyncio.run(work))


@click.command()
@click.option("--port", default=0, help="Port of the embedded stack (default: any free one).")
@click.option("--every", default=4.0, show_default=True, help="Seconds between new events.")
@click.option("--count", type=int, help="Stop after so many events (default: go on).")
def demo(port: int, every: float, count: int | None) -> None:
    """See it work: the embedded stack, the bridge, and a simulated Mini App."""
    _need_local()
    from realtime_bridge.database import migrations_directory
    from tma_sandbox.demo import run_demo

    work = run_demo(
        migrations=migrations_directory(),
        bridge=[sys.executable, "-m", "realtime_bridge", "run"],
        port=port,
        every=every,
        count=count,
    )
    sys.exit(asyncio.run(work))


def _need_local() -> None:
    try:
        import psycopg  # noqa: F401
    except ImportError:
        click.echo(
            "The embedded stack is not installed. Install it with:\n"
            "  pip install 'realtime-bridge[local]'",
            err=True,
        )
        sys.exit(EXIT_CONFIGURATION)
