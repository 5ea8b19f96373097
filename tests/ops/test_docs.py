"""The documents: links lead somewhere, commands are ours, what they say of rights is so."""

import asyncio
import json
import re
import shlex
from pathlib import Path

import click
import pytest

from realtime_bridge.cli import cli
from realtime_bridge.settings import Settings
from tests.integration.kit import Process, until
from tests.sql.test_privileges import BRIDGES, FUNCTIONS, INSERTABLE, USERS

REPOSITORY = Path(__file__).parents[2]
PAGES = [
    *(REPOSITORY / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG", "SECURITY")),
    *sorted((REPOSITORY / "docs").glob("*.md")),
    REPOSITORY / "tma_sandbox" / "README.md",
]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)
FENCED = re.compile(r"```.*?```", re.DOTALL)
COMMAND = re.compile(r"(?:`|\$ |\(|&& )realtime-bridge ((?:[a-z]|--?[a-z])[^`\n|>)&;]*)")
NAMED = re.compile(r"`([A-Z][A-Z_]{5,})(?:=[^`]*)?`")
FILES = {"NAME_FILE", "BOT_TOKEN_FILE", "SUPABASE_KEY_FILE"}
STACK_NAMES = {"SUPABASE_SECRET_KEY", "SUPABASE_PUBLISHABLE_KEY"}  # what `local` writes besides
OTHER_NAMES = {
    *("SUPABASE_JWT_SECRET", "DATABASE_URL", "SIGTERM", "TMA_SANDBOX_PG_BIN"),
    *STACK_NAMES,
    *FILES,
}


PAGE = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def text_of(page):
    return page.read_text(encoding="utf-8")


def anchors(page):
    """What a page's headings are called in addresses."""
    for line in FENCED.sub("", text_of(page)).splitlines():
        if heading := re.match(r"#+ (.*)", line):
            yield re.sub(r"[^\w\- ]", "", heading[1].lower()).replace(" ", "-")


def commands(page):
    """What a page tells to type, of our own, with continued lines joined."""
    return [match.strip() for match in COMMAND.findall(text_of(page).replace("\\\n", " "))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    """To files that there are, and to headings in them."""
    for target in LINK.findall(text_of(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in set(anchors(file)), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_understood(page):
    """Each has a name and options that the command line knows."""
    for line in commands(page):
        name, *arguments = shlex.split(line, comments=True)
        if name.startswith("-"):
            continue
        command = cli.commands[name]
        try:
            command.make_context(name, [word for word in arguments if word != "..."])
        except click.exceptions.Exit:
            pass  # --help
        except click.UsageError as error:
            pytest.fail(f"{line}: {error.message}")


def test_every_command_is_documented():
    """Somewhere a page says what it is for."""
    told = {line.split()[0] for page in PAGES for line in commands(page)}

    assert set(cli.commands) <= told


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_are_called_by_their_names(page):
    """A misspelled one would be set in vain."""
    known = {str(field.alias) for field in Settings.model_fields.values()} | OTHER_NAMES

    assert {name for name in NAMED.findall(text_of(page)) if "_" in name} <= known


def rows_of(page, heading):
    """The cells of the table whose first column is called so."""
    lines = text_of(page).splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    for line in lines[at + 2 :]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def test_rights_to_functions_are_as_the_page_says():
    """The page, the test of the database, and so the database, say the same."""
    told = {}
    for names, *answers in rows_of(REPOSITORY / "docs" / "security.md", "function"):
        groups = zip((USERS, {"tma_bridge"}, {"service_role"}), answers, strict=True)
        allowed = {role for group, answer in groups if answer == "yes" for role in group}
        told |= dict.fromkeys(re.findall(r"`([^`]+)`", names), allowed)

    truth = {signature.partition("(")[0]: roles for signature, roles in FUNCTIONS.items()}
    assert told == truth
    assert {"tma_bridge", "service_role"} == BRIDGES


def test_rights_to_columns_are_as_the_page_says():
    """What users may insert, by table."""
    told = {
        table.strip("`"): set(re.findall(r"`([^`]+)`", users))
        for table, users, *_ in rows_of(REPOSITORY / "docs" / "security.md", "table")
        if "bridge" not in table
    }

    assert told == INSERTABLE


def test_the_script_finds_the_packages_that_the_page_names():
    """Debian's names, in one line, as `scripts/bare_debian.sh` takes them."""
    script = (REPOSITORY / "scripts" / "bare_debian.sh").read_text(encoding="utf-8")
    (pattern,) = re.findall(r"sed -n 's/\^\\\$ (.*)\\\(\.\*\\\)/", script)

    named = re.findall(rf"^\$ {pattern}(.*)$", PAGE, re.MULTILINE)

    assert len(named) == 1
    assert re.fullmatch(r"[a-z0-9-]+( [a-z0-9-]+)+", named[0])


SKIPS = {"plpgsql-check": 2, "x86-64": 1, "root": 1}
REASON = re.compile(r'reason="([^"]+)"')


def test_what_is_skipped_where_is_as_the_page_says():
    """Each reason to skip a test is in the README; what `make` installs is never missing."""
    reasons = [
        reason
        for folder in ("tests", "tma_sandbox/tests")
        for file in sorted((REPOSITORY / folder).rglob("test_*.py"))
        for skipped in file.read_text(encoding="utf-8").split("skip" + "if(")[1:]
        for reason in REASON.findall(skipped.split("\n)")[0])[:1]
        if "make install" not in reason
    ]
    (told,) = re.findall(r"(\w+) tests are skipped where[^\n]*\n.*?\n\n", PAGE, re.DOTALL)

    assert sorted(word for reason in reasons for word in SKIPS if word in reason) == sorted(SKIPS)
    assert len(reasons) == len(SKIPS)
    assert told == {4: "Four"}[sum(SKIPS.values())]
    assert all(word in PAGE for word in SKIPS)


def typed(title, port):
    """The commands under a heading of getting-started, up to the next one, for another port."""
    section = text_of(REPOSITORY / "docs" / "getting-started.md").split(f"# {title}\n")[1]
    blocks = CONSOLE.findall(section.split("\n#")[0])
    return [
        " ".join(line.split())
        for block in blocks
        for line in block.replace("\\\n", " ").replace("54321", str(port)).split("$ ")
        if line.strip()
    ]


def words(line):
    return shlex.split(line.removeprefix("realtime-bridge "))


async def test_getting_started_works_as_written(tmp_path, unused_tcp_port):
    """The first section, line by line, on another port, and how Telegram is made to misbehave."""
    lines = typed("Without an account", unused_tcp_port)
    faults = typed("Make Telegram misbehave", unused_tcp_port)
    install, local, check, run, source, insert, look, sign = lines
    assert install.startswith("pip install")
    environment = {"HTTP_PORT": "0"}

    stack = await Process.start(*words(local), cwd=tmp_path)
    try:
        await stack.says("\nready")
        checked = await Process.start(*words(check), cwd=tmp_path, env=environment)
        assert await checked.ended() == 0, checked.output
        bridge = await Process.start(*words(run), cwd=tmp_path, env=environment)
        try:
            await bridge.says("started")
            answer = await shell(f"{source} && {insert}", tmp_path)
            assert answer == "", answer

            async def sent():
                return "Lead status updated" in await shell(f"{source} && {look}", tmp_path)

            await until(sent)
            assert "init_data" in await shell(f"{source} && {sign}", tmp_path)
            for fault in faults:
                answer = await shell(f"{source} && {fault}", tmp_path)
                assert "error" not in json.loads(answer), answer
        finally:
            assert await bridge.stop() == 0
    finally:
        assert await stack.stop() == 0


async def test_ones_own_migrations_apply_as_written(tmp_path, unused_tcp_port):
    """Older ones at the start, a new one with the real CLI while the stack runs."""
    copy, local, source, push = typed("Your own migrations", unused_tcp_port)
    folder = tmp_path / "supabase" / "migrations"
    folder.mkdir(parents=True)
    (folder / "20200101000000_old.sql").write_text(
        "create table profiles (id uuid primary key references auth.users on delete cascade)"
    )
    copied = await Process.start(*words(copy), cwd=tmp_path)
    assert await copied.ended() == 0, copied.output

    stack = await Process.start(*words(local), cwd=tmp_path)
    try:
        await stack.says("\nready")
        (folder / "29990101000000_new.sql").write_text(
            "create table notes (id uuid primary key default uuid_generate_v4())"
        )
        cli = shlex.quote(str(REPOSITORY / "node_modules" / ".bin" / "supabase"))
        pushed = await shell(f"{source} && {push.replace('npx supabase', cli)} --yes", tmp_path)
        assert "Finished supabase db push" in pushed, pushed

        async def seen():
            ask = 'curl -s "$SUPABASE_URL/rest/v1/notes" -H "apikey: $SUPABASE_PUBLISHABLE_KEY"'
            return await shell(f"{source} && {ask}", tmp_path) == "[]"

        await until(seen)
    finally:
        assert await stack.stop() == 0


async def shell(line, folder):
    """What a line of shell prints."""
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        line,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return output.decode()
