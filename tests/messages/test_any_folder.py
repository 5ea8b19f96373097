"""TEMPLATES_DIR of any content: messages, or a word on which file cannot be used."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime_bridge.messages import Messages
from realtime_bridge.messages.templates import BadTemplates


def use(folder):
    return Messages(templates_dir=folder, default_locale="en")


@pytest.mark.parametrize(
    "template",
    [
        "{{ " + "9" * 5000 + " }}",
        "{{ " + "(" * 2000 + "1" + ")" * 2000 + " }}",
        "{% if a %}" * 200 + "{% endif %}" * 200,
        "{{ 1 // 0 }}{{ " + "[" * 300 + "]" * 300 + " }}",
        "{{ a" + ".a" * 20_000 + " }}",
    ],
    ids=["endless number", "parentheses", "blocks", "lists", "attributes"],
)
def test_templates_that_python_refuses(tmp_path, template):
    """Jinja writes Python, which has limits of its own: the file is named."""
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "x.html").write_text(template)

    with pytest.raises(BadTemplates, match=r"^en/x\.html"):
        use(tmp_path)


def test_words_that_are_nested_without_end(tmp_path):
    """The parser of TOML calls itself."""
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "words.toml").write_text("a = " + "[" * 5000)

    with pytest.raises(BadTemplates, match=r"words\.toml"):
        use(tmp_path)


def test_what_is_no_file_is_no_template(tmp_path):
    """Folders, pipes and links to nowhere may be called like one."""
    (tmp_path / "en" / "folder.html").mkdir(parents=True)
    (tmp_path / "en" / "nowhere.html").symlink_to("nothing")
    (tmp_path / "uk").mkdir()
    os.mkfifo(tmp_path / "uk" / "words.toml")

    assert use(tmp_path)


PIECES = [
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "if",
    "for x in",
    "end",
    "lead_name",
    "|",
    "(",
    "[",
    "'",
]
CONTENT = st.one_of(
    st.binary(max_size=60),
    st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=5)), max_size=12).map(
        lambda pieces: " ".join(pieces).encode("utf-8", "surrogatepass")
    ),
)
NAMES = st.sampled_from(
    [
        "x.html",
        "words.toml",
        "_part.html",
        ".html",
        "step_completed.html",
        "\udcff.html",
        "a b.html",
    ]
)
LOCALES = st.sampled_from(
    ["en", "xx", "pt_BR", "no-such-locale-at-all", ".", "en/deeper", "\udcff"]
)


@given(files=st.dictionaries(st.tuples(LOCALES, NAMES), CONTENT, max_size=4))
@settings(deadline=None)
def test_no_content_is_a_crash(files):
    """It is used, or refused in words."""
    with tempfile.TemporaryDirectory() as folder:
        for (locale, name), content in files.items():
            path = Path(folder) / locale / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

        with suppress(BadTemplates):
            use(Path(folder))
