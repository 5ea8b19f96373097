"""The env file: whatever is in its place, there are settings or a word on what to do."""

import os
import threading
from contextlib import suppress

import jwt
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from realtime_bridge.commands.check import Fixes
from realtime_bridge.settings import ConfigurationError, Settings, load, parse, redactor
from realtime_bridge.wiring import limits_of

GOOD = {
    "SUPABASE_URL": "https://abcdefgh.supabase.co",
    "SUPABASE_KEY": jwt.encode({"role": "service_role"}, "s" * 32, algorithm="HS256"),
    "BOT_TOKEN": "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1",
}
TEXT = "".join(f"{name}={value}\n" for name, value in GOOD.items())
NAMES = [str(field.alias) for field in Settings.model_fields.values()]
MANY = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_text_as_editors_write_it(tmp_path, encoding, newline):
    """With and without a mark at its beginning, and with any line ends."""
    (tmp_path / ".env").write_bytes(TEXT.replace("\n", newline).encode(encoding))

    assert load({}, tmp_path / ".env").supabase_url == GOOD["SUPABASE_URL"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (TEXT.encode("utf-16"), "is UTF-16 text: save it as UTF-8"),
        (TEXT.encode("utf-16-be"), "has NUL bytes, which no text has: save it as UTF-8"),
        (TEXT.encode() + b"X=caf\xe9", r"is not UTF-8 text \(line 4\): save it as UTF-8"),
        (b"X=\0", "has NUL bytes"),
        (b"X=" + b"y" * 2**20, "larger than a mebibyte"),
    ],
)
def test_what_is_no_text_is_told_with_the_fix(tmp_path, content, says):
    """Nothing of it is quoted: it may be a secret."""
    (tmp_path / ".env").write_bytes(content)

    with pytest.raises(ConfigurationError, match=says) as error:
        load({}, tmp_path / ".env")

    assert GOOD["BOT_TOKEN"] not in str(error.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "is not a file: name the env file itself"),
        ("nothing", "there is no env file"),
        (".env.local", "there is no env file .*`realtime-bridge local` has one while it runs"),
        ("good/below", "cannot be read: Not a directory"),
        ("loop", "cannot be read: Too many levels of symbolic links"),
        ("x" * 300, "cannot be read: File name too long"),
        ("nul\0", "cannot be read: its name cannot be one"),
    ],
)
def test_what_is_no_file_is_told(tmp_path, name, says):
    """Of a file that somebody named."""
    (tmp_path / "good").write_text(TEXT)
    (tmp_path / "loop").symlink_to("loop")

    with pytest.raises(ConfigurationError, match=says):
        load({}, tmp_path / name)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    """Also the one that nobody named: its settings were meant."""
    (tmp_path / ".env").write_text(TEXT)
    monkeypatch.chdir(tmp_path)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)

    with pytest.raises(ConfigurationError, match=r"permission denied\. Run this as the user whose"):
        load({})


def test_a_folder_called_env_is_somebody_elses(tmp_path, monkeypatch):
    """A virtual environment, mostly: the settings are in the environment then."""
    (tmp_path / ".env").mkdir()
    monkeypatch.chdir(tmp_path)

    assert load(GOOD).supabase_url == GOOD["SUPABASE_URL"]


def test_a_pipe_is_read(tmp_path):
    """Password managers serve the file as one."""
    os.mkfifo(tmp_path / ".env")
    threading.Thread(target=(tmp_path / ".env").write_text, args=[TEXT], daemon=True).start()

    assert load({}, tmp_path / ".env").supabase_url == GOOD["SUPABASE_URL"]


LINES = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.tuples(st.sampled_from(NAMES), st.text(max_size=40)).map(
        lambda pair: f"{pair[0]}={pair[1]}".encode("utf-8", "surrogatepass")
    ),
    st.sampled_from(
        [b'X="', b"X='\\", b"${SUPABASE_URL}", b"A=${A}", b"export", b"=", b"\xff\xfe"]
    ),
)


@given(lines=st.lists(LINES, max_size=8))
@MANY
def test_no_content_is_a_crash(tmp_path, lines):
    """Settings, or problems in words that can be printed and mended."""
    (tmp_path / ".env").write_bytes(b"\n".join(lines))

    try:
        load({}, tmp_path / ".env")
    except ConfigurationError as error:
        for problem in error.problems:
            assert problem.encode("utf-8", "backslashreplace")
            assert Fixes({}).settings(problem.split()[0]).text


NUMBERS = st.one_of(
    st.sampled_from(["nan", "inf", "-inf", "1e999", "9" * 5000, "0x10", "٣", "1_0", "-0", "+1"]),
    st.floats().map(str),
    st.integers().map(str),
)
ADDRESSES = st.sampled_from(
    [
        "http://[",
        "http://[::1",
        "https://a:b",
        "http://a:99999",
        "http://\0",
        "http:// ",
        "https://é",
    ]
)


@example(values={"TEMPLATES_DIR": "x" * 300, "PLAYBOOK": "y" * 300}, good=True)
@example(values={"SUPABASE_URL": "http://["}, good=True)
@given(
    values=st.dictionaries(st.sampled_from(NAMES), st.one_of(st.text(), NUMBERS, ADDRESSES)),
    good=st.booleans(),
)
@MANY
def test_no_value_is_a_crash(values, good):
    """Nor is it one for what is made of the settings, or of those that are wrong."""
    values = {**(GOOD if good else {}), **values}

    with suppress(ConfigurationError):
        made = parse(values)
        assert made.key
        assert limits_of(made).bot_per_second > 0
    assert redactor(values)("text") == "text" or "text" in str(values)
    assert Fixes(values).supabase().text
    assert Fixes(values).telegram().text
