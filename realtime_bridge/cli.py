"""The command line. Commands import what they need when they run: --help answers at once."""

import asyncio
import logging
import signal
import sys
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, assert_never

import click

from realtime_bridge.outcomes import Failure

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from realtime_bridge.commands.check import Status
    from realtime_bridge.credentials import Redactor
    from realtime_bridge.settings import Settings

EXIT_FAILURE = 1
EXIT_CONFIGURATION = 78  # EX_CONFIG of sysexits.h

_env_file = click.option(
    "--env-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Read settings from this file instead of ./.env.",
)
_json = click.option("--json", "as_json", is_flag=True, help="For a machine to read.")


def main() -> None:
    """Entry point of `realtime-bridge` and `python -m realtime_bridge`."""
    try:
        cli(prog_name="realtime-bridge")
    except Exception:  # noqa: BLE001 - a bug, whose text may quote anything
        _tell_crash()
        sys.exit(EXIT_FAILURE)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="realtime-bridge")
def cli() -> None:
    """Rows that a Telegram Mini App inserts into Supabase become Telegram messages."""


@cli.command()
@_env_file
def run(env_file: Path | None) -> None:
    """Run the bridge until Ctrl-C or SIGTERM."""
    # Until the bridge listens itself. As process 1 of a container we would ignore SIGTERM.
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: sys.exit(0))
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
        signal.signal(signal.SIGHUP, lambda *_: None)  # what it asks for is about to be done
    settings = _settings(env_file)
    from realtime_bridge.observe import configure_logging
    from realtime_bridge.process import run_until_signal
    from realtime_bridge.settings import ConfigurationError

    configure_logging(settings.log_level, settings.log_format, redact=settings.redact)
    try:
        asyncio.run(run_until_signal(settings))
    except ConfigurationError as error:
        _fail_configuration(error, settings.redact)
    except Exception:
        logging.getLogger(__name__).critical("crashed", exc_info=True)
        sys.exit(EXIT_FAILURE)


@cli.command()
@_env_file
@_json
def check(env_file: Path | None, *, as_json: bool) -> None:
    """Look at everything the bridge needs; say what is wrong and what mends it.

    Exits with 0 when all is well, 1 when something is not, 78 when the settings are wrong.
    """
    from realtime_bridge.commands.check.command import run_check

    sys.exit(asyncio.run(run_check(env_file, as_json=as_json, echo=click.echo, paint=_paint)))


@cli.command()
@_env_file
@_json
@click.option("--watch", is_flag=True, help="Look again every two seconds, until Ctrl-C.")
@click.option(
    "--replica",
    "replicas",
    multiple=True,
    metavar="URL",
    help="Where a running bridge serves /readyz; may be repeated. Default: HTTP_HOST:HTTP_PORT.",
)
def status(env_file: Path | None, replicas: tuple[str, ...], *, as_json: bool, watch: bool) -> None:
    """Show what waits, what is on its way, and how the last hour went."""
    from realtime_bridge.commands.status import run_status

    settings = _settings(env_file)
    work = run_status(settings, replicas, as_json=as_json, watch=watch, echo=click.echo)
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
    from realtime_bridge.commands.tail import run_tail
    from realtime_bridge.commands.timespan import seconds_of

    try:
        seconds = seconds_of(since)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--since") from error
    settings = _settings(env_file)
    work = run_tail(settings, seconds, follow=not no_follow, as_json=as_json, echo=click.echo)
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
@click.option("--limit", default=1000, show_default=True, help="At most so many.")
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
    from realtime_bridge.commands.timespan import moment_of

    now = datetime.now(UTC)
    try:
        filters = Filters(
            ids=ids or None,
            failure=failure,
            since=moment_of(since, now) if since else None,
            until=moment_of(until, now) if until else None,
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    work = run_retry(
        _settings(env_file),
        filters,
        limit,
        confirm=(lambda _: True) if yes else click.confirm,
        echo=click.echo,
    )
    sys.exit(asyncio.run(work))


@cli.command()
@_env_file
@click.option("--port", type=click.IntRange(0, 65_535), default=8787, show_default=True)
@click.option(
    "--replica",
    "replicas",
    multiple=True,
    metavar="URL",
    help="Where a running bridge serves /readyz; may be repeated. Default: HTTP_HOST:HTTP_PORT.",
)
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
    from realtime_bridge.credentials import mint, read_signing_key, secret_of
    from realtime_bridge.settings import ConfigurationError, source_of

    now, lifetime = datetime.now(UTC), timedelta(days=days)
    try:
        values = source_of(env_file=env_file).read()
        if signing_key is None:
            key = mint(secret_of(values), now=now, lifetime=lifetime)
        else:
            key = read_signing_key(signing_key).mint(now=now, lifetime=lifetime)
    except (ConfigurationError, ValueError) as error:
        _fail_configuration(error)
    click.echo(key)
    if not values.get("SUPABASE_ANON_KEY"):
        click.echo("Set SUPABASE_ANON_KEY as well: Supabase's gateway asks for it.", err=True)


@cli.command()
@click.argument("folder", required=False, type=click.Path(file_okay=False, path_type=Path))
def migrations(folder: Path | None) -> None:
    """Write what FOLDER lacks of the database schema as one migration, or say where its parts are.

    For `npx supabase db push` the folder is supabase/migrations. The migration's version is later
    than every other one there. What is there already is kept as it is.
    """
    from realtime_bridge.commands import migrations as upgrade
    from realtime_bridge.database import migrations_directory, schema_parts

    if folder is None:
        click.echo(migrations_directory())
        return
    release = metadata.version("realtime-bridge")
    try:
        outcome = upgrade.bring(folder, schema_parts(), release, datetime.now(UTC))
    except OSError as error:
        where = click.format_filename(error.filename or folder)
        click.echo(f"{where}: {error.strerror}; nothing was written", err=True)
        sys.exit(EXIT_FAILURE)
    except upgrade.NoVersionLeftError as error:
        click.echo(f"{error}; nothing was written", err=True)
        sys.exit(EXIT_FAILURE)
    for copy in outcome.changed:
        click.echo(f"{click.format_filename(copy.file)} {_difference(copy.release)}", err=True)
    match outcome:
        case upgrade.Written(file, parts, whole):
            these = "" if whole else f" ({', '.join(parts)})"
            click.echo(f"1 new: {click.format_filename(file)}{these}")
        case upgrade.NothingNew(present):
            click.echo(f"0 new: version {present} is there")
        case _:
            assert_never(outcome)


@cli.command()
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


@cli.command()
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


def _settings(env_file: Path | None) -> "Settings":
    from realtime_bridge.settings import ConfigurationError, load

    try:
        return load(env_file=env_file)
    except ConfigurationError as error:
        _fail_configuration(error)


def _until_interrupted(work: "Coroutine[Any, Any, int]") -> int:
    """Run what ends by Ctrl-C, which is no failure then."""
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        return 0


def _paint(text: str, status: "Status") -> str:
    colors = {"ok": "green", "warning": "yellow", "failed": "red"}
    return click.style(text, fg=colors.get(status.value))


def _difference(release: str | None) -> str:
    if release is None:
        return "is not as this release has it; it stays as it is"
    return f"was changed since version {release} wrote it; it stays as it is"


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


def _tell_crash() -> None:
    import traceback

    from realtime_bridge.credentials import Redactor
    from realtime_bridge.settings import ConfigurationError, redactor, source_of

    try:
        redact = redactor(source_of().read())
    except ConfigurationError:
        redact = Redactor()
    click.echo(redact(traceback.format_exc()), err=True)


def _fail_configuration(error: Exception, redact: "Redactor | None" = None) -> NoReturn:
    problems = getattr(error, "problems", [str(error)])
    click.echo("realtime-bridge cannot start with this configuration:", err=True)
    for problem in problems:
        click.echo(f"  - {redact(problem) if redact else problem}", err=True)
    sys.exit(EXIT_CONFIGURATION)
