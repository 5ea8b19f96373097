"""events.toml: how the messages of each event type are sent."""

import json
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from realtime_bridge.messages.renderer import Message, Messages
from realtime_bridge.messages.templates import BadTemplates
from realtime_bridge.model import SendOptions

from .events import NOW, event


def messages(folder, toml):
    """Messages of a folder with this events.toml, in which `tapped` may be gathered."""
    (folder / "en").mkdir(exist_ok=True)
    (folder / "en" / "_unused.digest.html").write_text("x")
    (folder / "events.toml").write_bytes(toml if isinstance(toml, bytes) else toml.encode())
    return Messages(templates_dir=folder)


def options(of, event_type="tapped", **columns):
    return of.render(event(event_type, **columns), now=NOW).options


def test_an_event_type_has_options(tmp_path):
    """They are on each of its messages, and on no other's."""
    of = messages(tmp_path, "[tapped]\nsilent = true\nthread = 7\nprotect = true\npreview = true")

    assert options(of) == SendOptions(silent=True, thread=7, protect=True, preview=True)
    assert options(of, "other") == SendOptions()
    assert options(Messages()) == SendOptions()


def test_a_row_overrides_them_key_by_key(tmp_path):
    """Also with false."""
    of = messages(tmp_path, "[tapped]\nsilent = true\nthread = 7")

    said = options(of, options={"silent": False, "preview": True})

    assert said == SendOptions(silent=False, thread=7, preview=True)


def test_a_function_has_options_of_its_own(tmp_path):
    """They go before events.toml, and the row's before them."""
    of = messages(tmp_path, "[tapped]\nsilent = true\nthread = 7\npreview = true")
    own = SendOptions(silent=False, thread=8)
    of.register("tapped", lambda _: Message.from_html("x", options=own))

    assert options(of, options={"thread": 9}) == SendOptions(silent=False, thread=9, preview=True)


def test_the_generic_text_has_the_options_too(tmp_path):
    """A template that fails must not make a quiet message loud."""
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "tapped.html").write_text("{{ 1 / 0 }}")

    assert options(messages(tmp_path, "[tapped]\nsilent = true")).silent


@pytest.mark.parametrize(
    ("digest", "seconds"), [("10s", 10.0), ("0.5s", 0.5), ("2m", 120.0), ("1h", 3600.0)]
)
def test_events_are_gathered_for_a_time(tmp_path, digest, seconds):
    """Of the types that say so."""
    of = messages(tmp_path, f'[step_completed]\ndigest = "{digest}"\n[tapped]\nsilent = true')

    assert of.digests == {"step_completed": seconds}


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[tapped", r"events\.toml cannot be read: "),
        (b"\xff", r"events\.toml cannot be read: "),
        ("a = " + "[" * 5000, r"events\.toml cannot be read: it is nested too deeply"),
        ("silent = true", r"events\.toml: silent .* begin with a line such as \[step_completed\]"),
        ("[[tapped]]\nsilent = true", r"events\.toml: tapped .* such as \[step_completed\]"),
        ("[tapped]\nsilnet = true", r"\[tapped\] cannot have silnet, only digest, silent, thread"),
        ("[tapped.digest]\nx = 1", r"\[tapped\] digest must be a time such as \"10s\""),
        ("[tapped]\nsilent = 1", r"\[tapped\] silent must be true or false"),
        ('[tapped]\nprotect = "yes"', r"\[tapped\] protect must be true or false"),
        ("[tapped]\npreview = []", r"\[tapped\] preview must be true or false"),
        ("[tapped]\nthread = 0", r"\[tapped\] thread must be a topic's message_thread_id"),
        ("[tapped]\nthread = 2147483648", r"\[tapped\] thread must be"),
        ("[tapped]\nthread = 7.0", r"\[tapped\] thread must be"),
        ("[tapped]\nthread = true", r"\[tapped\] thread must be"),
        (
            "[tapped]\ndigest = 10",
            r"\[tapped\] digest must be a time such as \"10s\", up to \"1h\"",
        ),
        ('[tapped]\ndigest = "0s"', r"\[tapped\] digest must be"),
        ('[tapped]\ndigest = "61m"', r"\[tapped\] digest must be"),
        (f'[tapped]\ndigest = "{"9" * 400}s"', r"\[tapped\] digest must be"),
        ('[tapped]\ndigest = "soon"', r"\[tapped\] digest must be"),
        (
            '[tapped]\ndigest = "10s"',
            r"\[tapped\] digest needs a template: .*/en/tapped\.digest",
        ),
        ('["../x\\u0000"]\ndigest = "10s"', r"needs a template"),
    ],
)
def test_a_mistake_is_refused_at_start(tmp_path, toml, says):
    """With the file, the key and the fix."""
    with pytest.raises(BadTemplates, match=says):
        messages(tmp_path, toml)


def test_a_digest_that_is_never_used_is_refused(tmp_path):
    """A line of events.toml is easily forgotten."""
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "tapped.digest.html").write_text("x")

    with pytest.raises(BadTemplates, match=r'tapped\.digest\.html .* digest = "10s" .*\[tapped\]'):
        messages(tmp_path, "[tapped]\nsilent = true")


def test_a_digest_for_some_users_only_is_refused(tmp_path):
    """Whose language has none would have no text; the default's or the English one is for all."""
    (tmp_path / "de").mkdir()
    (tmp_path / "de" / "tapped.digest.html").write_text("x")
    toml = '[tapped]\ndigest = "10s"'

    with pytest.raises(BadTemplates, match="needs a template"):
        messages(tmp_path, toml)
    assert Messages(templates_dir=tmp_path, default_locale="de").digests


def test_a_file_in_a_language_is_refused(tmp_path):
    """It would not be read."""
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "events.toml").write_text("")

    with pytest.raises(BadTemplates, match=r"en/events\.toml would not be read"):
        Messages(templates_dir=tmp_path)


VALUES = st.recursive(
    st.sampled_from(
        ['"10s"', '"1h"', '"2h"', '"-1s"', "true", "false", "7", "-7", "1e400", "nan", '"x"']
    )
    | st.text(max_size=4).map(json.dumps),
    lambda inner: st.lists(inner, max_size=2).map(lambda items: f"[{', '.join(items)}]"),
    max_leaves=3,
)
KEYS = st.sampled_from(["digest", "silent", "thread", "protect", "preview", "other", '""', "a.b"])
TYPES = st.sampled_from(["step_completed", "tapped", '"a b"', '""', '"\\u0000"', "a.b"])
LINES = st.one_of(
    st.builds("{} = {}".format, KEYS, VALUES), st.builds("[{}]".format, TYPES), st.text(max_size=9)
)


@given(
    toml=st.one_of(
        st.binary(max_size=60),
        st.lists(LINES, max_size=6).map(lambda lines: "\n".join(lines).encode("utf-8", "replace")),
    )
)
@example(toml=b'[step_completed]\ndigest = "10s"\nthread = 7')
@settings(deadline=None, max_examples=60)
def test_any_content_works_or_is_refused_in_words(tmp_path_factory, toml):
    """What is taken can be told to the database, and sent."""
    with suppress(BadTemplates):
        of = messages(tmp_path_factory.mktemp("templates"), toml)

        assert all(0 < seconds <= 3600 for seconds in of.digests.values())
        assert "\\u0000" not in json.dumps(dict(of.digests))
        for event_type in ("step_completed", "tapped", "", "a"):
            assert isinstance(options(of, event_type), SendOptions)
