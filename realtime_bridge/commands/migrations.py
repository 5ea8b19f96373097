"""What a project's migrations have of our schema, and the one that brings it what it lacks.

A project gets one migration per release. Its head says what is in it:

    -- realtime-bridge 0.1.0 sha256:5d4c...         the release, and a seal of all other lines
    -- part claim_tma_events sha256:91ab...         for each of our small files that it contains

So it is known again under whatever name, and what changed since can be told. A file that is one of
our small files, as in a clone of our repository, is known by its text.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import metadata
from pathlib import Path
from typing import assert_never

import click

from realtime_bridge.database import SchemaPart, migrations_directory, schema_parts

_MIGRATION = re.compile(r"([0-9]+)_.*\.sql")  # what the Supabase CLI applies
_HEAD = re.compile(
    r"^-- realtime-bridge ([\w.+-]{1,40}) sha256:([0-9a-f]{16})$", re.MULTILINE | re.ASCII
)
_PART = re.compile(r"^-- part (\w{1,100}) sha256:([0-9a-f]{16})$", re.MULTILINE | re.ASCII)
_STAMP = "%Y%m%d%H%M%S"
_DIGITS = 14
_LARGEST = 4 << 20  # many times what is ours; a project's data may be many times that


@dataclass(frozen=True, slots=True)
class Copy:
    """A migration of the project that is ours: one that we wrote, or one of our small files."""

    file: str
    release: str | None
    digests: Mapping[str, str]
    """Of each part as it was when we wrote it."""
    changed: bool
    """By hand, since then; of a small file: it is not as this release has it."""


@dataclass(frozen=True, slots=True)
class Written:
    """What was new is in this migration now."""

    file: Path
    parts: Sequence[str]
    whole: bool
    changed: Sequence[Copy]


@dataclass(frozen=True, slots=True)
class NothingNew:
    """All of the schema is there, or that of a later release."""

    release: str
    changed: Sequence[Copy]


class NoVersionLeftError(ValueError):
    """A migration has a version that no other can follow."""


def run_migrations(
    folder: Path | None, *, echo: Callable[[str], None], warn: Callable[[str], None]
) -> int:
    """Bring a folder what it lacks and say so, or say where the parts are; the exit code."""
    if folder is None:
        echo(str(migrations_directory()))
        return 0
    release = metadata.version("realtime-bridge")
    try:
        outcome = bring(folder, schema_parts(), release, datetime.now(UTC))
    except OSError as error:
        where = click.format_filename(error.filename or folder)
        warn(f"{where}: {error.strerror}; nothing was written")
        return 1
    except NoVersionLeftError as error:
        warn(f"{error}; nothing was written")
        return 1
    for copy in outcome.changed:
        warn(f"{click.format_filename(copy.file)} {_difference(copy.release)}")
    match outcome:
        case Written(file, parts, whole):
            these = "" if whole else f" ({', '.join(parts)})"
            echo(f"1 new: {click.format_filename(file)}{these}")
        case NothingNew(present):
            echo(f"0 new: version {present} is there")
        case _:
            assert_never(outcome)
    return 0


def _difference(release: str | None) -> str:
    if release is None:
        return "is not as this release has it; it stays as it is"
    return f"was changed since version {release} wrote it; it stays as it is"


def bring(
    folder: Path, parts: Sequence[SchemaPart], release: str, now: datetime
) -> Written | NothingNew:
    """Write into `folder` one migration of what it lacks, if it lacks anything.

    Raises OSError where the folder cannot be read or written; then nothing is written.
    """
    ours = {digest_of(part.text): part for part in parts}
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    copies = [
        copy
        for name in names
        if _is_migration(folder / name)
        and (copy := recognised(name, (folder / name).read_text("utf-8-sig", "replace"), ours))
    ]
    newest = {name: copy for copy in copies for name in copy.digests}
    changed = list({copy.file: copy for copy in newest.values() if copy.changed}.values())
    if later := [copy.release for copy in copies if _order(copy.release) > _order(release)]:
        return NothingNew(max(later, key=_order) or release, changed)
    new = lacking(newest, parts)
    if not new:
        return NothingNew(release, changed)
    label = re.sub(r"\W", "_", release)
    file = folder / f"{version(names, now)}_realtime_bridge_{label}.sql"
    folder.mkdir(parents=True, exist_ok=True)
    _write(file, composed(new, release))
    return Written(file, [part.name for part in new], len(new) == len(parts), changed)


def recognised(file: str, text: str, ours: Mapping[str, SchemaPart]) -> Copy | None:
    """What a migration has of our parts, which are told by their digests; None if nothing."""
    text = _plain(text)
    heads = list(_HEAD.finditer(text))
    if heads:
        release = max((head[1] for head in heads), key=_order)
        sealed = heads[0][2] == _seal(text)
        return Copy(file, release, dict(_PART.findall(text)), changed=not sealed)
    digest = digest_of(text)
    if digest in ours:
        return Copy(file, None, {ours[digest].name: digest}, changed=False)
    for part in ours.values():
        if file == part.file:
            return Copy(file, None, {part.name: digest}, changed=True)
    return None


def lacking(newest: Mapping[str, Copy], parts: Sequence[SchemaPart]) -> list[SchemaPart]:
    """The parts that are new, or differ from how they were written last."""
    return [
        part
        for part in parts
        if part.name not in newest or newest[part.name].digests[part.name] != digest_of(part.text)
    ]


def composed(parts: Sequence[SchemaPart], release: str) -> str:
    """One migration of these parts."""
    lines = [
        "-- Written by `realtime-bridge migrations`, which knows it again by these lines.",
        *(f"-- part {part.name} sha256:{digest_of(part.text)}" for part in parts),
    ]
    for part in parts:
        lines += ["", "", f"-- {part.name} ".ljust(100, "-"), "", part.text.strip()]
    text = "\n".join(lines) + "\n"
    return f"-- realtime-bridge {release} sha256:{digest_of(text)}\n{text}"


def version(names: Iterable[str], now: datetime) -> str:
    """The stamp of a migration that `db push` takes: now, or after all that are there.

    Versions are compared as the CLI does it: as text.

    >>> now = datetime(2026, 11, 24, 20, 30, tzinfo=UTC)
    >>> version(["0001_init.sql", "20251231000000_users.sql"], now)
    '20261124203000'
    >>> version(["20261231235959_tomorrow.sql"], now)
    '20270101000000'
    """
    stamp = now.astimezone(UTC).strftime(_STAMP)
    found = (_MIGRATION.fullmatch(name) for name in names)
    newest = max((match[1] for match in found if match), default="")
    if newest < stamp:
        return stamp
    last = newest[:_DIGITS].ljust(_DIGITS, "0")
    try:
        time = datetime.strptime(last, _STAMP).replace(tzinfo=UTC) + timedelta(seconds=1)
        return time.strftime(_STAMP)
    except (ValueError, OverflowError):  # digits that are no time
        after = str(int(last) + 1)
    if len(after) > _DIGITS:
        raise NoVersionLeftError(f"no migration can follow version {newest[:40]}: rename that one")
    return after


def digest_of(text: str) -> str:
    """Of what a text says."""
    return hashlib.sha256(_plain(text).encode()).hexdigest()[:16]


def _plain(text: str) -> str:
    """Line ends, and blanks before them, may be any editor's."""
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def _seal(text: str) -> str:
    """The digest of all lines but the one that holds it."""
    return digest_of(_HEAD.sub("", text, count=1))


def _is_migration(path: Path) -> bool:
    """Whether the CLI applies it, and it could be ours."""
    named = _MIGRATION.fullmatch(path.name)
    return bool(named) and path.is_file() and path.stat().st_size <= _LARGEST


def _order(release: str | None) -> list[int]:
    """What releases are compared by: their numbers.

    >>> _order("0.10.0") > _order("0.9.1")
    True
    """
    numbers = re.match(r"[0-9]{1,9}(\.[0-9]{1,9})*", release or "", re.ASCII)
    return [int(number) for number in numbers[0].split(".")] if numbers else []


def _write(file: Path, text: str) -> None:
    """A new file, whole or not at all."""
    with file.open("x", encoding="utf-8", newline="\n") as new:
        try:
            new.write(text)
            new.flush()
        except OSError:
            file.unlink()
            raise
