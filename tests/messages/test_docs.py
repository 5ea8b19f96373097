"""The examples of the manual and the docstrings are true."""

import doctest
import re
from pathlib import Path

import pytest

from realtime_bridge.messages import dates, humanize, markup, message, renderer, templates

from .events import NOW, event
from .test_texts import ENGLISH

MANUAL = Path(__file__).parents[2] / "docs" / "messages.md"
FENCE = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_snippet_of_the_manual_runs(tmp_path, monkeypatch):
    """Files are written and Python is executed in the order of the page."""
    monkeypatch.chdir(tmp_path)
    names = {}
    kinds = []

    for kind, file, content in FENCE.findall(MANUAL.read_text(encoding="utf-8")):
        kinds.append(kind)
        if file:
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).write_text(content, encoding="utf-8")
        else:
            assert kind == "python"
            snippet = doctest.DocTestParser().get_doctest(content, names, "messages.md", None, 0)
            result = doctest.DocTestRunner().run(snippet, clear_globs=False)
            names = snippet.globs
            assert result.attempted
            assert not result.failed

    assert sorted(kinds) == [
        "html",
        "html",
        "html",
        "python",
        "python",
        "python",
        "python",
        "toml",
        "toml",
    ]


def test_the_manuals_table_shows_tested_texts():
    """Each example in the table of default texts is one of the texts that other tests check."""
    section = MANUAL.read_text(encoding="utf-8").split("## ")[1]
    _, _, *rows = [line for line in section.splitlines() if line.startswith("|")]
    tested = {text for _, _, text in ENGLISH}

    examples = [row.strip("| ").split("| ")[-1].replace("<br>", "\n") for row in rows]

    assert len(examples) == 10
    assert set(examples) <= tested


@pytest.mark.parametrize("module", [templates, dates, markup, message, humanize])
def test_the_examples_in_docstrings_hold(module):
    """The results shown in docstrings are the real ones."""
    result = doctest.testmod(module)

    assert result.attempted
    assert not result.failed


def test_every_packaged_event_type_exists_in_every_packaged_language():
    """A language that lacks a text would switch to English for some events only."""
    languages = [path for path in templates.PACKAGED.iterdir() if path.is_dir()]

    files = {path.name: {file.name for file in path.iterdir()} for path in languages}

    assert files["en"] == files["uk"]
    assert len(files) == 2
    assert len(files["en"]) == 10 + 1


def test_the_package_renders_without_a_folder():
    """The templates are found beside the code, wherever it runs from."""
    rendered = renderer.Messages().render(event("step_skipped"), now=NOW)

    assert rendered.plain == "Step skipped for Ann Lee."
