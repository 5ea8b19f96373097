"""What may be released: a tag, a version and a changelog that agree, at one address."""

import dataclasses
import importlib.util
import re
import subprocess
import sys

import pytest

from tests.packaging.conftest import REPOSITORY

SCRIPT = REPOSITORY / "scripts" / "release.py"


def module():
    spec = importlib.util.spec_from_file_location("release", SCRIPT)
    made = importlib.util.module_from_spec(spec)
    sys.modules["release"] = made  # dataclasses look their module up
    spec.loader.exec_module(made)
    return made


release = module()
PROJECT = release.Project(
    version="1.2.3",
    repository="https://github.com/owner/name",
    sections=(
        release.Section("1.2.3", "2027-01-15", "- Something that users will notice."),
        release.Section("1.2.2", "2026-12-01", "- Something else that they noticed."),
    ),
)


def objections(tag="v1.2.3", repository=PROJECT.repository, **changes):
    return list(release.objections(dataclasses.replace(PROJECT, **changes), tag, repository))


def test_the_changelog_speaks_of_the_version():
    """Its newest section is the version's; all that may be missing is the day."""
    project = release.read()
    newest, *others = project.sections
    if newest.date == "unreleased":
        newest = dataclasses.replace(newest, date="2027-01-15")
    ready = dataclasses.replace(project, sections=(newest, *others))

    assert list(release.objections(ready, f"v{project.version}", project.repository)) == []


@pytest.mark.parametrize("version", ["1.2.3", "10.0.0", "1.2.3rc1", "1.2.3a2"])
def test_what_fits_together_may_be_released(version):
    """Also a candidate, with a section of its own."""
    newest = dataclasses.replace(PROJECT.sections[0], version=version)

    assert objections(f"v{version}", version=version, sections=(newest,)) == []


@pytest.mark.parametrize("tag", ["1.2.3", "v1.2.4", "v1.2.3-rc1", "v1.2.30", "v1.2.3\n", ""])
def test_a_tag_that_is_not_the_version_is_refused(tag):
    """By both names, so that one sees which is wrong."""
    (objection,) = objections(tag)

    assert repr(tag)[1:-1] in repr(objection)
    assert "1.2.3" in objection


@pytest.mark.parametrize("version", ["1.2", "1.2.3.dev1", "1.2.3+local", "1!1.2.3", "v1.2.3"])
def test_a_version_that_is_no_tag_of_an_image_is_refused(version):
    """Nor one that PyPI would write differently."""
    newest = dataclasses.replace(PROJECT.sections[0], version=version)

    (objection,) = objections(f"v{version}", version=version, sections=(newest,))

    assert version in objection


def test_a_repository_at_another_address_is_refused():
    """PyPI would link to somebody else's."""
    (objection,) = objections(repository="https://github.com/somebody/else")

    assert "https://github.com/somebody/else" in objection
    assert PROJECT.repository in objection


@pytest.mark.parametrize(
    ("newest", "named"),
    [
        ({"version": "1.2.2"}, "of 1.2.2, not 1.2.3"),
        ({"date": "unreleased"}, "(unreleased)"),
        ({"date": "tomorrow"}, "(tomorrow)"),
        ({"text": ""}, "says nothing of 1.2.3"),
        ({"text": "TODO"}, "says nothing of 1.2.3"),
    ],
)
def test_a_changelog_that_is_not_ready_is_refused(newest, named):
    """Of another version, without a day, or without a word."""
    section = dataclasses.replace(PROJECT.sections[0], **newest)

    (objection,) = objections(sections=(section,))

    assert named in objection


def test_a_changelog_without_any_section_is_refused():
    """As when a heading is misspelt."""
    (objection,) = objections(sections=tuple(release.sections("# Changelog\n\n## 1.2.3\n")))

    assert "not 1.2.3" in objection


def test_sections_end_where_the_next_begins():
    """With the headings of their own that they have."""
    newer = "# Changelog\n\n## 2.0.0 (2027-01-15)\n\n- new\n\n### More\n\n"
    text = newer + "## 1.0.0 (2026-12-01)\n\n- old\n"

    assert list(release.sections(text)) == [
        release.Section("2.0.0", "2027-01-15", "- new\n\n### More"),
        release.Section("1.0.0", "2026-12-01", "- old"),
    ]


def test_notes_can_be_read_on_github():
    """Which ends a line where the text does, and resolves links by another page."""
    bullet = "- One, see\n  [this](docs/sql.md#x) and\n  [that](https://a.test/)\n  - in it\n- b"
    text = f"Two\nlines.\n\n{bullet}"
    section = dataclasses.replace(PROJECT.sections[0], text=text)

    notes = release.notes(dataclasses.replace(PROJECT, sections=(section,)))

    assert notes == (
        "Two lines.\n\n"
        "- One, see [this](https://github.com/owner/name/blob/v1.2.3/docs/sql.md#x) and"
        " [that](https://a.test/)\n  - in it\n- b\n"
    )


@pytest.mark.parametrize(
    ("words", "code"), [(("check", "v0.0.0", "https://a.test/b"), 1), (("notes",), 0), ((), 2)]
)
def test_the_script_needs_nothing_installed(words, code):
    """It runs before anything is; its exit code stops the workflow."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", SCRIPT, *words], check=False, capture_output=True, text=True
    )

    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert bool(done.stdout) == (code == 0)
    assert ("error: the tag is v0.0.0" in done.stderr) == (code == 1)


def test_all_places_have_the_same_address():
    """Whoever moves the repository finds here what is to be changed."""
    ours = release.read().repository.removeprefix("https://github.com/")
    address = re.compile(r"\b(?:github\.com/|ghcr\.io/|--repo )([\w.-]+/realtime-bridge)\b")
    folders = [*REPOSITORY.glob("*"), *(REPOSITORY / name for name in ("docs", "deploy"))]
    files = [
        path
        for folder in folders
        for path in (folder.glob("*") if folder.name in {"docs", "deploy"} else [folder])
        if path.suffix in {".md", ".toml", ".yml", ".yaml", ".service"}
    ]
    found = {(path.name, name) for path in files for name in address.findall(path.read_text())}

    assert {path for path, name in found if name != ours} == set()
    assert {path for path, _ in found} >= {"pyproject.toml", "README.md", "SECURITY.md"}
