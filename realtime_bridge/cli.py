"""The command line. Commands import what they need when they run: --help answers at once."""

import asyncio
import sys
from pathlib import Path
from typing import NoReturn

import click

EXIT_FAILURE = 1
EXIT_CONFIGURATION = 78  # EX_CONFIG of sysexits.h

_env_file = click.option(
    "--env-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Read settings from this file instead of ./.env.",
)


def main() -> None:
    """Entry point of `realtime-bridge` and `python -m realtime_bridge`."""
    cli(prog_name="realtime-bridge")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="realtime-bridge")
def cli() -> None:
    """Rows that a Telegram Mini App inserts into Supabase become Telegram messages."""


@cli.command()
@_env_file
def run(env_file: Path | None) -> None:
    """Run the bridge until Ctrl-C or SIGTERM."""
    from realtime_bridge.settings import ConfigurationError, load

    try:
        settings = load(env_file=env_file)
    except ConfigurationError as error:
        _fail_configuration(error)

    from realtime_bridge import logs
    from realtime_bridge.service import run_until_signal

    logs.configure(
        settings.log_level,
        settings.log_format,
        secrets=[
            settings.supabase_key.get_secret_value(),
            settings.bot_token.get_secret_value(),
        ],
    )
    try:
        asyncio.run(run_until_signal(settings))
    except ConfigurationError as error:
        _fail_configuration(error)


@cli.command()
@click.option("--port", default=54321, show_default=True, help="One port for everything.")
@click.option(
    "--env-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the settings that `run` needs into this file.",
)
@click.option(
    "--changes-poll",
    type=(float, float),
    default=(0.1, 0.5),
    show_default=True,
    metavar="MIN MAX",
    help="Seconds between the local Realtime's looks at the WAL. The default is a real "
    "server's: notices come after 100 to 500 ms.",
)
@click.option(
    "--data",
    "data_dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the database here; without it everything is gone at the end.",
)
def local(
    port: int, env_file: Path | None, changes_poll: tuple[float, float], data_dir: Path | None
) -> None:
    """Run Postgres, PostgREST, Realtime and a Bot API on this machine, for trying and testing."""
    _need_local()
    from realtime_bridge.local.command import run_local

    sys.exit(
        asyncio.run(
            run_local(port, env_file, changes_poll=changes_poll, data_dir=data_dir, echo=click.echo)
        )
    )


@cli.command()
@click.option("--port", default=0, help="Port of the embedded stack (default: any free one).")
@click.option("--every", default=4.0, show_default=True, help="Seconds between new events.")
@click.option("--count", type=int, help="Stop after so many events (default: go on).")
def demo(port: int, every: float, count: int | None) -> None:
    """See it work: the embedded stack, the bridge, and a simulated Mini App."""
    _need_local()
    from realtime_bridge.local.demo import run_demo

    sys.exit(asyncio.run(run_demo(port=port, every=every, count=count)))


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


def _fail_configuration(error: Exception) -> NoReturn:
    problems = getattr(error, "problems", [str(error)])
    click.echo("realtime-bridge cannot start with this configuration:", err=True)
    for problem in problems:
        click.echo(f"  - {problem}", err=True)
    sys.exit(EXIT_CONFIGURATION)
