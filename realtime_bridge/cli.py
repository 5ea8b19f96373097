"""The command line. Commands import what they need when they run: --help answers at once."""

import asyncio
import sys
from contextlib import contextmanager
from datetime import timedelta
from importlib import metadata
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from realtime_bridge.commands import exit_codes
from realtime_bridge.commands.sandbox import demo, local
from realtime_bridge.outcomes import Failure

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from realtime_bridge.commands.check import Status
    from realtime_bridge.credentials import Redactor
    from realtime_bridge.settings import Settings

_env_file = click.option(
    "--env-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Read settings from this file instead of ./.env.",
)
_replicas = click.option(
    "--replica",
    "replicas",
    multiple=True,
    metavar="URL",
    help="Where a running bridge serves /readyz; may be repeated. Default: HTTP_HOST:HTTP_PORT.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")


def main() -> None:
    """Entry point of `realtime-bridge` and `python -m realtime_bridge`."""
    for stream in (sys.stdout, sys.stderr):  # what the locale has no character for is escaped
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        cli(prog_name="realtime-bridge")
    except Exception:  # noqa: BLE001 - a bug, whose text may quote anything
        _tell_crash()
        sys.exit(exit_codes.FAILURE)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="realtime-bridge")
def cli() -> None:
    """Rows that a Telegram Mini App inserts into Supabase become Telegram messages."""


@cli.command()
@_env_file
def run(env_file: Path | None) -> None:
    """Run the bridge until Ctrl-C or SIGTERM."""
    from realtime_bridge.commands.run import answer_signals, run_bridge

    answer_signals()
    if sys.stderr.isatty():  # at once, for whoever waits; a log has it in its own format
        _warn(f"realtime-bridge {metadata.version('realtime-bridge')}")
    settings = _settings(env_file)
    with _explained(settings.redact):
        sys.exit(run_bridge(settings))


@cli.command()
@_env_file
@_json
def check(env_file: Path | None, *, as_json: bool) -> None:
    """Examine everything the bridge needs, and print the fix for each problem.

    Exits with 0 when all is well, 1 when something is not, 78 when the settings are wrong.
    """
    from realtime_bridge.commands.check.command import run_check

    sys.exit(asyncio.run(run_check(env_file, as_json=as_json, echo=click.echo, paint=_paint)))


@cli.command()
@_env_file
@_json
@click.option("--watch", is_flag=True, help="Look again every two seconds, until Ctrl-C.")
@_replicas
def status(env_file: Path | None, replicas: tuple[str, ...], *, as_json: bool, watch: bool) -> None:
    """Show what waits, what is on its way, and how the last hour went."""
    from realtime_bridge.commands.status import run_status

    settings = _settings(env_file)
    work = run_status(settings, replicas, as_json=as_json, watch=watch, echo=click.echo, warn=_warn)
    sys.exit(_until_interrupted(work))


@cli.command()
@_env_file
@_json
@click.option(
    "--since",
    default="10m",
    show_default=True,
    metavar="AGO",
    help="Begin with rows that ended so long ago: 30s, 10m, 2h, 1d.",
)
@click.option("--no-follow", is_flag=True, help="Do not wait for more.")
def tail(env_file: Path | None, since: str, *, as_json: bool, no_follow: bool) -> None:
    """Show rows as they end, until Ctrl-C."""
    from realtime_bridge.base import seconds_of
    from realtime_bridge.commands.tail import run_tail

    try:
        seconds = seconds_of(since)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--since") from error
    settings = _settings(env_file)
    work = run_tail(
        settings, seconds, follow=not no_follow, as_json=as_json, echo=click.echo, warn=_warn
    )
    sys.exit(_until_interrupted(work))


@cli.command()
@_env_file
@click.argument("ids", nargs=-1, type=int, metavar="[ID]...")
@click.option(
    "--failure",
    type=click.Choice([one.value for one in Failure]),
    help="Rows that failed for this reason.",
)
@click.option("--since", metavar="WHEN", help="Rows that failed from then on: 2h (ago), or a time.")
@click.option("--until", metavar="WHEN", help="Rows that failed before then.")
@click.option("--limit", default=1000, show_default=True, help="Maximum number of rows.")
@click.option("--yes", is_flag=True, help="Do not ask, not even about uncertain rows.")
def retry(
    env_file: Path | None,
    ids: tuple[int, ...],
    *,
    failure: str | None,
    since: str | None,
    until: str | None,
    limit: int,
    yes: bool,
) -> None:
    """Give failed rows another chance: those with these IDs, or that match all filters.

    Rows that failed as uncertain may have been sent. They are sent again only if you say so.
    """
    from realtime_bridge.commands.retry import Filters, run_retry

    try:
        filters = Filters.typed(ids, failure, since, until)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    work = run_retry(
        _settings(env_file),
        filters,
        limit,
        confirm=(lambda _: True) if yes else click.confirm,
        echo=click.echo,
        warn=_warn,
    )
    sys.exit(asyncio.run(work))


@cli.command()
@_env_file
@click.option("--port", type=click.IntRange(0, 65_535), default=8787, show_default=True)
@_replicas
def dashboard(env_file: Path | None, port: int, replicas: tuple[str, ...]) -> None:
    """Show and mend on a page what status, tail, retry and check do; for this machine only."""
    settings = _settings(env_file)
    from realtime_bridge.commands.dashboard import run_dashboard
    from realtime_bridge.observe import configure_logging

    configure_logging(settings.log_level, settings.log_format, redact=settings.redact)
    work = run_dashboard(settings, env_file, port=port, replicas=replicas, echo=click.echo)
    sys.exit(_until_interrupted(work))


@cli.command()
@_env_file
@click.option(
    "--days",
    type=click.IntRange(1, 36_500),
    default=365,
    show_default=True,
    help="How long it is valid.",
)
@click.option(
    "--signing-key",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Sign with this JWK (ES256 or RS256), as `npx supabase gen signing-key` writes it, whose "
    "public half the project knows. For projects without a JWT secret.",
)
def token(env_file: Path | None, days: int, signing_key: Path | None) -> None:
    """Print a key of the narrow role tma_bridge, for SUPABASE_KEY.

    Signed with the project's JWT secret: SUPABASE_JWT_SECRET, or SUPABASE_JWT_SECRET_FILE; or with
    a signing key of yours that the project has imported.
    """
    from realtime_bridge.commands.token import mint_token

    with _explained():
        key, complete = mint_token(env_file, timedelta(days=days), signing_key)
    click.echo(key)
    if not complete:
        click.echo("Set SUPABASE_ANON_KEY as well: Supabase's gateway asks for it.", err=True)


@cli.command()
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
def migrations(folder: Path | None) -> None:
    """Write what FOLDER lacks of the database schema as one migration, or say where its parts are.

    For `npx supabase db push` the folder is supabase/migrations. The migration's version is later
    than every other one there. What is there already is kept as it is.
    """
    from realtime_bridge.commands.migrations import run_migrations

    sys.exit(run_migrations(folder, echo=click.echo, warn=_warn))


cli.add_command(local)
cli.add_command(demo)


def _settings(env_file: Path | None) -> "Settings":
    from realtime_bridge.settings import load

    with _explained():
        return load(env_file=env_file)


@contextmanager
def _explained(redact: "Redactor | None" = None) -> "Iterator[None]":
    """End with a word on each problem where the configuration is wrong."""
    from realtime_bridge.settings import ConfigurationError

    try:
        yield
    except ConfigurationError as error:
        click.echo("realtime-bridge cannot start with this configuration:", err=True)
        for problem in error.problems:
            click.echo(f"  - {redact(problem) if redact else problem}", err=True)
        sys.exit(exit_codes.CONFIGURATION)


def _warn(text: str) -> None:
    click.echo(text, err=True)


def _until_interrupted(work: "Coroutine[Any, Any, int]") -> int:
    """Run what ends by Ctrl-C, which is no failure then."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        return 0


def _paint(text: str, status: "Status") -> str:
    colors = {"ok": "green", "warning": "yellow", "failed": "red"}
    return click.style(text, fg=colors.get(status.value))


def _tell_crash() -> None:
    import traceback

    from realtime_bridge.credentials import Redactor
    from realtime_bridge.settings import ConfigurationError, redactor, source_of

    try:
        redact = redactor(source_of().read())
    except ConfigurationError:
        redact = Redactor()
    click.echo(redact(traceback.format_exc()), err=True)
