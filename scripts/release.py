"""Check that a tag may be released, and write its notes; run by the workflow `release`.

    python scripts/release.py check v0.2.0 https://github.com/owner/name
    python scripts/release.py notes

Needs nothing but Python, so that nothing is installed before the tag is known to be right.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEADING = re.compile(r"^## (?P<version>\S+) \((?P<date>[^)]*)\)$", re.MULTILINE)
DATE = re.compile(r"\d{4}-\d\d-\d\d")
# As PEP 440 writes them, and as a tag of an image may be: no epoch, no local part.
VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")
RELATIVE_LINK = re.compile(r"\]\((?![a-z]+:|#)")
# The end of a line in the middle of a paragraph, which GitHub would show as the end of a line.
WRAP = re.compile(r"(?<!\n)\n(?!\n|[ \t]*(?:[-*+#>|`]|\d+\.))[ \t]*")
# How long a section of the changelog has to be to say something.
FEW_LETTERS = 20


@dataclass(frozen=True)
class Section:
    """What the changelog says of one version; the newest comes first."""

    version: str
    date: str
    text: str


@dataclass(frozen=True)
class Project:
    """What the repository says of the release to come."""

    version: str
    repository: str
    sections: tuple[Section, ...]


def read(root: Path = ROOT) -> Project:
    """What pyproject.toml and CHANGELOG.md in this folder say."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    return Project(project["version"], project["urls"]["Repository"], tuple(sections(changelog)))


def sections(changelog: str) -> Iterator[Section]:
    """The sections of a changelog, from `## version (date)` to the next one."""
    headings = list(HEADING.finditer(changelog))
    ends = [*(heading.start() for heading in headings[1:]), len(changelog)]
    for heading, end in zip(headings, ends, strict=False):
        yield Section(heading["version"], heading["date"], changelog[heading.end() : end].strip())


def objections(project: Project, tag: str, repository: str) -> Iterator[str]:
    """Why this tag must not be released from this repository; nothing if it may."""
    if not VERSION.fullmatch(project.version):
        yield f"the version {project.version} is not like 1.2.3 or 1.2.3rc1"
    if tag != f"v{project.version}":
        yield f"the tag is {tag}, but the version in pyproject.toml is {project.version}"
    if repository != project.repository:
        yield (
            f"this is {repository}, but pyproject.toml says {project.repository}: "
            "the links on PyPI and the commands in the README would lead there"
        )
    newest = project.sections[0] if project.sections else Section("nothing", "", "")
    if newest.version != project.version:
        yield f"the newest section of CHANGELOG.md is of {newest.version}, not {project.version}"
    elif not DATE.fullmatch(newest.date):
        yield f"CHANGELOG.md dates {newest.version} as ({newest.date}): write its day, 2027-01-15"
    elif len(newest.text) < FEW_LETTERS:
        yield f"CHANGELOG.md says nothing of {newest.version}"


def notes(project: Project) -> str:
    """The notes of the release: the changelog's newest section, with links that lead somewhere."""
    newest = project.sections[0]
    text = WRAP.sub(" ", newest.text)
    return RELATIVE_LINK.sub(f"]({project.repository}/blob/v{newest.version}/", text) + "\n"


def main(arguments: list[str]) -> int:
    """Do what the first word says; return the exit code."""
    match arguments:
        case ["check", tag, repository]:
            found = list(objections(read(), tag, repository))
            for one in found:
                print(f"error: {one}", file=sys.stderr)
            return 1 if found else 0
        case ["notes"]:
            print(notes(read()), end="")
            return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
