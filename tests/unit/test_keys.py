"""The key in use changes while the bridge runs, and only to a good one."""

import asyncio
import os
from contextlib import suppress
from itertools import repeat

import jwt
import pytest
from structlog.testing import capture_logs

from realtime_bridge.database.keys import Keys
from realtime_bridge.database.rpc import Refused, Unavailable
from realtime_bridge.settings import load, parse
from tests.unit.virtual_time import in_virtual_time

NOON = 1_800_000_000


def key(name, role="service_role", **claims):
    return jwt.encode({"role": role, "jti": name, **claims}, "s" * 32, algorithm="HS256")


ONE, TWO, THREE = key("one"), key("two", exp=NOON), key("three")
GOOD = {
    "SUPABASE_URL": "https://abcdefgh.supabase.co/",
    "BOT_TOKEN": "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1",
}


class Supabase:
    """Accepts some keys, refuses others, or does not answer."""

    def __init__(self):
        self.revoked, self.away, self.tried = set(), False, []

    async def __call__(self, shown):
        self.tried.append(shown.secret)
        await asyncio.sleep(0)
        if self.away:
            raise Unavailable("no answer")
        if shown.secret in self.revoked:
            raise Refused("Supabase refused the key", "Set another one", status=401)


class Clock:
    """A clock that the test moves."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def file(tmp_path):
    """The file of SUPABASE_KEY_FILE, with the first key in it."""
    path = tmp_path / "supabase_key"
    path.write_text(ONE)
    return path


@pytest.fixture
def supabase():
    return Supabase()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def keys(file, supabase, clock):
    """Keys that have had their first look."""
    made = Keys(
        parse({**GOOD, "SUPABASE_KEY_FILE": str(file)}),
        supabase,
        waits=lambda: repeat(5.0),
        clock=clock,
    )
    await made.step()
    return made


def write_in_place(file, content):
    file.write_text(content)


def write_beside(file, content):
    (new := file.with_suffix(".new")).write_text(content)
    new.replace(file)


def swap_link(file, content):
    """As kubelet does: the file is a link into a folder that is a link, which is replaced."""
    folder = file.parent / f"..{len(list(file.parent.iterdir()))}"
    folder.mkdir()
    (folder / file.name).write_text(content)
    data, link = file.parent / "..data", file.parent / "..new"
    link.symlink_to(folder.name)
    link.replace(data)
    if not file.is_symlink():
        file.unlink()
        file.symlink_to(f"..data/{file.name}")


WAYS = [write_in_place, write_beside, swap_link]


@pytest.mark.parametrize("write", WAYS)
async def test_a_new_key_in_the_file_is_taken(keys, file, write):
    """However it was written, the next look finds it, and the log says when it expires."""
    received = []
    keys.subscribe(received.append)

    with capture_logs() as lines:
        for secret in (TWO, THREE, TWO):
            write(file, secret)
            await keys.step()

    assert [new.secret for new in received] == [TWO, THREE, TWO]
    assert keys.current().secret == TWO
    assert [line["event"] for line in lines] == ["key_changed"] * 3
    assert lines[0]["ends"] == "2027-01-15 08:00 UTC"
    assert str(file) in lines[0]["read_from"]
    assert TWO not in str(lines)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        (TWO[:-5], "truncated"),
        (TWO[:60], "neither a JWT nor"),
        (key("anon", role="anon"), "anon key"),
        ("sb_publishable_abc", "publishable"),
        (f"{TWO}\n{THREE}", "one key on one line"),
        ("sb_secret_abc\r\nX-Evil: 1", "one key on one line"),
        ("sb_secret_aёb", "one key on one line"),
        ("x" * 100_000, "neither a JWT nor"),
        (jwt.encode({"role": "anon", "exp": 10**400}, "s" * 32), "anon key"),
    ],
)
async def test_a_wrong_key_is_refused_with_one_line(keys, file, supabase, content, says):
    """The problem and the fix are logged once; the key in use stays; Supabase is not called."""
    with capture_logs() as lines:
        write_beside(file, content)
        for _ in range(3):
            await keys.step()
            assert not await keys.replace(keys.current())

    (line,) = lines
    assert (line["event"], line["log_level"]) == ("key_not_taken", "error")
    assert "SUPABASE_KEY" in line["error"]
    assert says in line["error"]
    assert str(file) in line["fix"]
    assert content not in str(lines) or not content
    assert keys.current().secret == ONE
    assert supabase.tried == []


async def test_a_file_that_is_not_text_or_gone_is_refused(keys, file):
    """Any bytes, and a missing file."""
    with capture_logs() as lines:
        file.write_bytes(b"\xff\xfe" * 20)
        await keys.step()
        file.unlink()
        await keys.step()

    assert ["not text" in line["error"] for line in lines] == [True, False]
    assert "cannot be read" in lines[1]["error"]
    assert keys.current().secret == ONE


async def test_a_key_that_is_whole_after_a_while_is_taken(keys, file):
    """Half of a write is refused, the whole is not."""
    file.write_text(TWO[:-5])
    await keys.step()
    file.write_text(TWO)
    await keys.step()

    assert keys.current().secret == TWO


async def test_the_same_key_again_is_said_once(keys, file, supabase):
    """Secrets of several values are replaced as a whole, so a file may change without its key."""
    with capture_logs() as lines:
        write_beside(file, ONE)
        await keys.step()
        await keys.step()

    assert [line["event"] for line in lines] == ["key_unchanged"]
    assert supabase.tried == []


async def test_a_key_that_supabase_refuses_is_tried_again_later(keys, file, supabase, clock):
    """A gateway may learn about a new key later than we do; the old one stays until then."""
    supabase.revoked.add(TWO)
    file.write_text(TWO)
    with capture_logs() as lines:
        await keys.step()
        for _ in range(4):
            clock.seconds += 1
            await keys.step()
        assert (keys.current().secret, supabase.tried) == (ONE, [TWO])
        supabase.revoked.clear()
        clock.seconds += 1
        await keys.step()

    assert keys.current().secret == TWO
    assert [line["event"] for line in lines] == ["key_not_taken", "key_changed"]
    assert "Supabase refused the key" in lines[0]["error"]


async def test_a_key_that_nobody_answers_is_tried_until_somebody_does(keys, file, supabase, clock):
    """An outage speaks neither for nor against a key."""
    supabase.away = True
    file.write_text(TWO)
    with capture_logs() as lines:
        await keys.step()
        assert keys.current().secret == ONE
        supabase.away = False
        clock.seconds += 5
        await keys.step()

    assert keys.current().secret == TWO
    assert [line["event"] for line in lines if line["log_level"] != "debug"] == ["key_changed"]


async def test_refused_callers_share_one_look(keys, file, supabase):
    """A hundred calls refused together make one trial, and all learn about the new key."""
    old = keys.current()
    file.write_text(TWO)

    assert all(await asyncio.gather(*(keys.replace(old) for _ in range(100))))
    assert supabase.tried == [TWO]
    assert await keys.replace(old)  # a late one
    assert supabase.tried == [TWO]


async def test_refused_callers_share_the_look_at_a_bad_key_too(keys, file, supabase):
    """A hundred make two trials at most: one for the first call, one for all later ones."""
    supabase.revoked.add(TWO)
    file.write_text(TWO)

    assert not any(await asyncio.gather(*(keys.replace(keys.current()) for _ in range(100))))
    assert supabase.tried in ([TWO], [TWO, TWO])


async def test_refused_callers_without_another_key_learn_that_there_is_none(keys, supabase):
    """They fail as before, and nothing is logged."""
    with capture_logs() as lines:
        assert not any(await asyncio.gather(*(keys.replace(keys.current()) for _ in range(10))))
        keys.suspect()
        await keys.step()
    assert lines == []
    assert supabase.tried == []


async def test_a_key_of_the_env_file_is_read_at_a_reload_only(tmp_path, supabase):
    """SIGHUP is how a person says that the file is ready."""
    env_file = tmp_path / "bridge.env"

    def write(**values):
        env_file.write_text("".join(f"{k}={v}\n" for k, v in {**GOOD, **values}.items()))

    write(SUPABASE_KEY=ONE)
    keys = Keys(load(environ={}, env_file=env_file), supabase)
    await keys.step()
    with capture_logs() as lines:
        write(SUPABASE_KEY=TWO, CONCURRENCY="7")
        await keys.step()
        assert keys.current().secret == ONE
        keys.reload()
        await keys.step()
        keys.reload()
        await keys.step()

    assert keys.current().secret == TWO
    assert [line["event"] for line in lines] == [
        "key_changed",
        "restart_needed",
        "key_unchanged",
        "restart_needed",
    ]
    assert lines[1]["changed"] == ["CONCURRENCY"]


@pytest.mark.parametrize(
    ("values", "says"),
    [({"LEASE_SECONDS": "soon"}, None), ({"SUPABASE_KEY": key("x", "anon")}, "anon key")],
)
async def test_an_env_file_with_something_wrong_in_it(tmp_path, supabase, values, says):
    """A wrong key is refused; another wrong setting does not hold up a good key."""
    env_file = tmp_path / "bridge.env"

    def write(values):
        env_file.write_text("".join(f"{k}={v}\n" for k, v in {**GOOD, **values}.items()))

    write({"SUPABASE_KEY": ONE})
    keys = Keys(load(environ={}, env_file=env_file), supabase)
    await keys.step()
    write({"SUPABASE_KEY": TWO, **values})
    with capture_logs() as lines:
        keys.reload()
        await keys.step()

    assert keys.current().secret == (ONE if says else TWO)
    assert says is None or says in lines[0]["error"]


async def test_an_env_file_that_is_gone_at_a_reload(tmp_path, supabase):
    """The bridge goes on with the key in use."""
    env_file = tmp_path / "bridge.env"
    env_file.write_text("".join(f"{k}={v}\n" for k, v in {**GOOD, "SUPABASE_KEY": ONE}.items()))
    keys = Keys(load(environ={}, env_file=env_file), supabase)
    await keys.step()
    env_file.unlink()

    with capture_logs() as lines:
        keys.reload()
        await keys.step()

    assert [line["event"] for line in lines] == ["key_not_taken"]
    assert keys.current().secret == ONE


async def test_the_anon_key_is_read_again_too(tmp_path, supabase):
    """The gateway's key changes with its file, the other one stays."""
    files = {name: tmp_path / name for name in ("SUPABASE_KEY", "SUPABASE_ANON_KEY")}
    files["SUPABASE_KEY"].write_text(key("own", "tma_bridge"))
    files["SUPABASE_ANON_KEY"].write_text("sb_publishable_one")
    named = {f"{name}_FILE": str(path) for name, path in files.items()}
    keys = Keys(parse({**GOOD, **named}), supabase)
    await keys.step()
    assert keys.current().gateway == "sb_publishable_one"

    files["SUPABASE_ANON_KEY"].write_text("sb_publishable_two")
    await keys.step()

    assert keys.current().gateway == "sb_publishable_two"
    assert keys.current().secret == key("own", "tma_bridge")


async def test_a_pipe_is_not_read_again(tmp_path, supabase):
    """`SUPABASE_KEY_FILE=<(pass show key)`: opening it again would block forever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writing = asyncio.create_task(asyncio.to_thread(pipe.write_text, ONE))
    settings = await asyncio.to_thread(parse, {**GOOD, "SUPABASE_KEY_FILE": str(pipe)})
    await writing
    keys = Keys(settings, supabase)

    async with asyncio.timeout(5):
        await keys.step()
        assert not await keys.replace(keys.current())

    assert keys.current().secret == ONE


async def test_the_log_hides_the_new_key_and_the_old_one(keys, file):
    """Even one that does not look like a secret."""
    redact = keys._settings.redact  # what the log was set up with
    file.write_text(TWO)
    await keys.step()

    for secret in (ONE, TWO):
        assert redact(f"key={secret}") == "key=[secret]"


async def test_the_log_says_how_another_key_is_given(file, supabase, tmp_path):
    """That depends on where the key in use is kept."""
    env_file = tmp_path / "bridge.env"
    env_file.write_text(f"SUPABASE_KEY={ONE}\n")
    sources = {
        str(file): parse({**GOOD, "SUPABASE_KEY_FILE": str(file)}),
        "SIGHUP": load(environ=GOOD, env_file=env_file),
        "keeps its environment": load(environ={**GOOD, "SUPABASE_KEY": ONE}, env_file=env_file),
    }

    for says, settings in sources.items():
        with capture_logs() as lines:
            Keys(settings, supabase).log_current()
        (line,) = lines
        assert line["event"] == "key_in_use"
        assert says in line["another"]
        assert line["kind"] == "a JWT of the role service_role (HS256)"


def test_a_change_is_found_within_a_second_or_so(file, supabase):
    """By polling the file; a reload or a refusal is handled at once."""

    async def scenario():
        clock = asyncio.get_running_loop().time
        keys = Keys(parse({**GOOD, "SUPABASE_KEY_FILE": str(file)}), supabase, clock=clock)
        running = asyncio.create_task(keys.run())
        await asyncio.sleep(1.5)

        file.write_text(TWO)
        await asyncio.sleep(1.1)
        assert keys.current().secret == TWO

        file.write_text(THREE)
        keys.suspect()
        await asyncio.sleep(0.01)
        assert keys.current().secret == THREE

        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    in_virtual_time(scenario())
