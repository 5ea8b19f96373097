"""`realtime-bridge migrations`, into projects of every history, pushed by the Supabase CLI."""

import dataclasses
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from realtime_bridge.commands import migrations as upgrade
from realtime_bridge.commands.migrations import NothingNew, NoVersionLeftError
from realtime_bridge.database import schema
from tests.sql.support import connect, dumped
from tests.sql.test_additive import FIRST_USERS_TABLE, THEIR_ROWS, shape

CLI = Path(__file__).parents[2] / "node_modules" / ".bin" / "supabase"
NOW = datetime(2026, 12, 24, 20, 30, tzinfo=UTC)
PARTS = schema.schema_parts()
RELEASE = "0.1.0"
THEIRS = "create table public.notes (id bigint primary key)"


@pytest.fixture
def folder(tmp_path):
    """Where a project's migrations are to be; it is not there yet."""
    return tmp_path / "supabase" / "migrations"


def bring(folder, *, parts=PARTS, release=RELEASE, now=NOW):
    """What the command does."""
    return upgrade.bring(folder, parts, release, now)


def add(folder, name, text=THEIRS):
    """Put a migration there, as its owner would."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def cloned(folder):
    """Our small files, as a clone of the repository has them."""
    shutil.copytree(schema.migrations_directory(), folder)


def contents(folder):
    """All that is there."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def edited(part):
    """A part of another release: it says something else in a comment of its text."""
    return dataclasses.replace(part, text=f"-- As it was.\n{part.text}")


def push(dsn, folder):
    """Apply a project's migrations; what the CLI says."""
    pushed = subprocess.run(
        [CLI, "db", "push", "--yes", f"--remote={dsn}?sslmode=disable"],
        cwd=folder.parents[1],
        env={**os.environ, "SUPABASE_TELEMETRY_DISABLED": "1"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
        check=False,
    )
    assert pushed.returncode == 0, pushed.stdout + pushed.stderr
    return pushed.stdout + pushed.stderr


def test_an_empty_project_gets_the_whole_schema_in_one_file(folder, postgres, platform_db, db):
    """The same database as our small files make, and nothing to do a second time."""
    first = bring(folder)
    push(platform_db, folder)
    before = contents(folder)
    second = bring(folder, now=NOW + timedelta(days=1))

    assert first.file == folder / "20261224203000_realtime_bridge_0_1_0.sql"
    assert first.whole
    assert second == NothingNew(RELEASE, [])
    assert contents(folder) == before
    assert "up to date" in push(platform_db, folder)
    assert public(postgres, platform_db) == public(postgres, db)


def test_a_history_that_is_newer_than_ours(folder, platform_db):
    """What db push refused as long as our files had stamps of their own."""
    add(folder, "20200101000000_old.sql", "create table public.old ()")
    add(folder, "20261225203000_tomorrow.sql")
    push(platform_db, folder)

    written = bring(folder)
    push(platform_db, folder)

    assert written.file.name == "20261225203001_realtime_bridge_0_1_0.sql"
    assert checks(platform_db)


def test_tables_made_by_hand_keep_their_rows(folder, platform_db, db):
    """They become today's in the one transaction of the one file."""
    add(folder, "20250101000000_tma_events.sql", FIRST_USERS_TABLE + THEIR_ROWS)
    push(platform_db, folder)

    written = bring(folder)
    push(platform_db, folder)

    assert written.whole
    with connect(platform_db) as theirs, connect(db) as fresh:
        rows = theirs.execute("select status from tma_events order by id").fetchall()
        plans = theirs.execute("select status from plan_requests order by id").fetchall()
        assert shape(theirs) == shape(fresh)
    assert [row["status"] for row in rows] == [
        *["pending"] * 3,
        *["delivered"] * 2,
        *["failed"] * 2,
        "pending",
    ]
    assert len(plans) == 6


def test_an_upgrade_brings_what_is_new_and_what_has_changed(folder, postgres, platform_db, db):
    """Between migrations of the user's; nothing else is applied again."""
    *most, last = PARTS
    claim = next(part for part in most if part.name == "claim_tma_events")
    was = dataclasses.replace(claim, text=claim.text.replace("'your lead'", "'some lead'"))
    older = [was if part is claim else part for part in most]
    add(folder, "20250101000000_first.sql", "create table public.first ()")
    bring(folder, parts=older, release="0.0.9")
    add(folder, "20261224210000_theirs.sql")
    push(platform_db, folder)
    before = public(postgres, platform_db)

    written = bring(folder, now=NOW + timedelta(minutes=1))
    push(platform_db, folder)
    with connect(platform_db) as connection:
        connection.execute("drop table first, notes")

    assert written.parts == ["claim_tma_events", last.name]
    assert not written.whole
    assert written.file.name == "20261224210001_realtime_bridge_0_1_0.sql"
    assert bring(folder) == NothingNew(RELEASE, [])
    assert public(postgres, platform_db) == public(postgres, db) != before


def test_a_clone_of_the_repository_has_it_all(folder, platform_db):
    """Nothing is written beside our small files, restamped or not."""
    cloned(folder)
    (last,) = (part for part in PARTS if part.name == "tma_event_stats")  # none needs it to be made
    (folder / last.file).rename(folder / f"20270101000000_{last.name}.sql")
    before = contents(folder)
    push(platform_db, folder)

    outcome = bring(folder)

    assert outcome == NothingNew(RELEASE, [])
    assert contents(folder) == before
    assert checks(platform_db)


def test_an_older_clone_gets_the_rest(folder):
    """Of what it has, only what has changed."""
    cloned(folder)
    (folder / PARTS[0].file).unlink()
    (folder / PARTS[5].file).write_text(edited(PARTS[5]).text)
    before = contents(folder)

    written = bring(folder)
    again = bring(folder)

    assert written.parts == [PARTS[0].name, PARTS[5].name]
    assert [(copy.file, copy.release) for copy in written.changed] == [(PARTS[5].file, None)]
    assert again == NothingNew(RELEASE, [])
    assert before.items() <= contents(folder).items()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text.replace("\n", "  \n") + "\n\n",
    ],
    ids=["as it is", "CRLF", "BOM, blanks"],
)
def test_a_copy_is_known_under_any_name(folder, change):
    """Renamed, restamped, or saved by another editor."""
    file = bring(folder).file
    text = change(file.read_text(encoding="utf-8"))
    file.unlink()
    (folder / "20270101000000_telegram.sql").write_bytes(text.encode())

    assert bring(folder) == NothingNew(RELEASE, [])


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("create or replace", "create", 1),
        lambda text: f"set lock_timeout = '5s';\n{text}",
        lambda text: text + "drop table public.tma_events;\n",
        lambda text: "\n".join(text.splitlines()[: len(PARTS) + 2]),
        lambda text: text + text,
    ],
    ids=["inside", "before", "after", "emptied", "twice"],
)
def test_a_copy_that_was_changed_is_said_and_kept(folder, change):
    """It counts as what it was: whoever changed it meant to."""
    file = bring(folder).file
    file.write_text(change(file.read_text()))
    before = contents(folder)

    outcome = bring(folder)

    assert isinstance(outcome, NothingNew)
    assert [(copy.file, copy.release) for copy in outcome.changed] == [(file.name, RELEASE)]
    assert contents(folder) == before


def test_the_copy_that_is_applied_last_counts(folder):
    """A part that was changed, and changed back by a later release, is written again."""
    changed = [edited(PARTS[0]), *PARTS[1:]]
    bring(folder, release="0.1.0")
    bring(folder, parts=changed, release="0.2.0", now=NOW + timedelta(days=1))

    written = bring(folder, release="0.3.0", now=NOW + timedelta(days=2))

    assert written.parts == [PARTS[0].name]
    assert len(contents(folder)) == 3


def test_an_older_command_writes_nothing_over_a_later_release(folder):
    """0.10 is later than 0.9."""
    bring(folder, parts=[edited(PARTS[0]), *PARTS[1:]], release="0.10.0")
    before = contents(folder)

    assert bring(folder, release="0.9.0") == NothingNew("0.10.0", [])
    assert contents(folder) == before


def test_what_the_cli_does_not_apply_is_not_there(folder):
    """Files under other names, folders, links to nothing; a user's file of the name of ours.

    Nor is a file that is far too large to be ours: nobody's data is read for this.
    """
    bring(folder).file.rename(folder / "bridge.sql")
    large = add(folder, "20240101000002_large.sql", (folder / "bridge.sql").read_text())
    os.truncate(large, 8 << 20)
    (folder / "20270101000000_folder.sql").mkdir()
    (folder / "20270101000001_gone.sql").symlink_to("nowhere")
    add(folder, f"20240101000000_{PARTS[2].name}.sql", "create table public.tma_events ()")
    add(folder, "20240101000001_latin.sql").write_bytes(b"-- caf\xe9\0\xff\xfe")

    written = bring(folder)

    assert (written.whole, written.changed) == (True, [])


@pytest.mark.parametrize(
    ("newest", "stamp"),
    [
        ("0001", "20261224203000"),
        ("20261224203000", "20261224203001"),
        ("20261231235959", "20270101000000"),
        ("20261399000000", "20261399000001"),
        ("9", "90000000000001"),
        ("202699999999999999", "20269999999999" + "+1"),
        ("99991231235959", "99991231235960"),
    ],
)
def test_the_version_follows_whatever_is_there(newest, stamp):
    """As the CLI compares versions, which is as text; digits that are no time too."""
    expected = "20270000000000" if stamp.endswith("+1") else stamp

    found = upgrade.version(["0000_init.sql", f"{newest}_x.sql", "99999999999999.sql"], NOW)

    assert found == expected
    assert found > newest
    assert len(found) == 14


def test_a_version_that_nothing_can_follow(folder):
    """It is named, and nothing is written."""
    add(folder, "99999999999999_last.sql")

    with pytest.raises(NoVersionLeftError, match="99999999999999"):
        bring(folder)

    assert list(contents(folder)) == ["99999999999999_last.sql"]


def test_the_version_is_utc_wherever_the_user_lives():
    """Or a colleague to the west could not add a migration for hours."""
    there = NOW.astimezone(tz=datetime.strptime("+1400", "%z").tzinfo)

    assert upgrade.version([], there) == "20261224203000"


def test_every_part_has_a_name_of_its_own():
    """By which a later release replaces it."""
    names = [part.name for part in PARTS]

    assert len(set(names)) == len(names) > 10
    assert all(name.isidentifier() for name in names)


def test_what_is_written_reads_as_our_files_do(folder):
    """One after the other, word for word, under their names."""
    text = bring(folder).file.read_text()

    places = [text.index(f"-- {part.name} ---") for part in PARTS]
    assert places == sorted(places)
    assert all(part.text.strip() in text for part in PARTS)


def checks(dsn):
    """What the database says of itself."""
    with connect(dsn) as connection:
        answer = connection.execute("select tma_bridge_check() as answer").fetchone()["answer"]
    return answer["bells_published"] and not answer["missing_functions"]


def public(postgres, dsn):
    """The schema without the record of what was applied."""
    return [line for line in dumped(postgres, dsn) if "supabase_migrations" not in line]
