"""The stack's settings in a .env file, and everything else in it left as it is."""

import pytest
from dotenv import dotenv_values

from tma_sandbox import envfile
from tma_sandbox.errors import StackError

OURS = {"SUPABASE_URL": "http://127.0.0.1:1", "BOT_TOKEN": "1:made-up"}
LATER = {"SUPABASE_URL": "http://127.0.0.1:2", "BOT_TOKEN": "2:made-up"}


@pytest.fixture
def env_file(tmp_path):
    """A path where there is no file yet."""
    return tmp_path / ".env"


def test_the_settings_are_there_for_as_long_as_it_runs(env_file):
    """A file with nothing else in it is removed with them; only its owner can read it."""
    with envfile.lent(env_file, OURS):
        assert dotenv_values(env_file) == OURS
        assert env_file.stat().st_mode & 0o777 == 0o600

    assert not env_file.exists()


@pytest.mark.parametrize(
    "mine",
    [
        "# note\n\nX=y\n",
        "X=y",
        "X=y\r\nZ='a\r\nb'\r\n",
        "BOT_TOKEN=\n#BOT_TOKEN=1:A\n",
        "\ufeffX=ї\n",
    ],
)
def test_what_else_is_in_the_file_stays_byte_by_byte(env_file, mine):
    """Comments, line endings and empty settings too; only a missing last newline is added."""
    env_file.write_bytes(mine.encode())

    with envfile.lent(env_file, OURS):
        between = dotenv_values(env_file)
    after = env_file.read_bytes().decode()

    assert OURS.items() <= between.items()
    assert after == (mine if mine.endswith("\n") else f"{mine}\n")


@pytest.mark.parametrize(
    ("mine", "named"),
    [
        ("BOT_TOKEN=1:real\nX=y\n", "BOT_TOKEN"),
        ("export SUPABASE_URL='https://x.supabase.co'\nBOT_TOKEN=1:A", "BOT_TOKEN, SUPABASE_URL"),
        ("SUPABASE_URL=http://127.0.0.1:54321\n", "SUPABASE_URL"),
        ("'BOT_TOKEN'=1:real\n", "BOT_TOKEN"),
    ],
)
def test_settings_of_somebody_else_are_never_written_over(env_file, mine, named):
    """The error names them without their values, with an option to paste."""
    env_file.write_text(mine)

    with pytest.raises(StackError) as refused, envfile.lent(env_file, OURS):
        pass

    assert f"not this stack's: {named}.\n" in str(refused.value)
    assert "1:real" not in str(refused.value)
    assert "--env-file .env.stack" in str(refused.value)
    assert env_file.read_text() == mine


def test_what_a_killed_stack_left_is_replaced(env_file):
    """Its settings are no longer valid, so they are not kept."""
    env_file.write_text(envfile.merged("X=y\n", OURS))

    with envfile.lent(env_file, LATER):
        assert dotenv_values(env_file) == {"X": "y"} | LATER

    assert env_file.read_text() == "X=y\n"


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace("1:made-up", "1:real"),
        lambda text: text.replace("http://127.0.0.1:1", "https://x.supabase.co"),
        lambda text: text.rpartition("# tma-sandbox")[0],
        lambda text: text.replace("BOT_TOKEN", "MINI_APP_URL=https://t.me/x\nBOT_TOKEN"),
    ],
)
def test_a_block_that_was_edited_is_somebodys_own(env_file, edit):
    """A real token in place of a generated one is kept, both at the start and at the end."""
    edited = edit(envfile.merged("", OURS))
    env_file.write_text(edited)

    with pytest.raises(StackError), envfile.lent(env_file, LATER):
        pass
    assert env_file.read_text() == edited

    env_file.unlink()
    with envfile.lent(env_file, OURS):
        env_file.write_text(edited)
    assert env_file.read_text() == edited


def test_a_block_with_other_line_ends_is_still_ours():
    """Windows line endings from an editor are not an edit."""
    text = envfile.merged("", OURS).replace("\n", "\r\n")

    assert envfile.at_stake(text, set(OURS)) == []
    assert envfile.merged(text, LATER) == envfile.merged("", LATER)


def test_the_settings_of_a_second_stack_outlive_the_first(env_file):
    """Each stack removes only its own block."""
    with envfile.lent(env_file, OURS):
        second = envfile.lent(env_file, LATER)
        second.__enter__()
    between = dotenv_values(env_file)
    second.__exit__(None, None, None)

    assert between == LATER
    assert not env_file.exists()


def test_a_link_keeps_pointing(env_file, tmp_path):
    """A symbolic link is followed, and stays when its file is empty again."""
    real = tmp_path / "real"
    real.touch()
    env_file.symlink_to(real)

    with envfile.lent(env_file, OURS):
        assert dotenv_values(real) == OURS

    assert env_file.is_symlink()
    assert real.read_text() == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env", "real"]


@pytest.mark.parametrize("content", [b"\xff\xfeB\x00O\x00T\x00", b"BOT_TOKEN=\xe9\n"])
def test_a_file_that_is_no_text_is_told_and_kept(env_file, content):
    """UTF-16 or an old encoding: an error without a traceback, and nothing lost."""
    env_file.write_bytes(content)

    assert "cannot read" in envfile.obstacle(env_file, set(OURS))
    assert env_file.read_bytes() == content


def test_a_place_that_takes_no_file_is_told(tmp_path):
    """A directory, and a path without one."""
    assert "name a file" in envfile.obstacle(tmp_path, set(OURS))
    assert "there is no directory" in envfile.obstacle(tmp_path / "x" / ".env", set(OURS))
