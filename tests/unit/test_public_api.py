"""What docs and examples import is public, and is there."""

import re
from pathlib import Path

import pytest

import realtime_bridge

ROOT = Path(__file__).parents[2]
SHOWN = sorted(
    [
        ROOT / "README.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "examples").glob("*.py"),
        *list((ROOT / "examples" / "draft_requests").glob("*.py")),
    ]
)
IMPORT = re.compile(r"^\W*(?:from|import) (realtime_bridge[\w.]*)(?: import (.*))?$", re.MULTILINE)


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: path.name)
def test_docs_and_examples_import_the_public_api_only(path: Path) -> None:
    """Inner modules may move between releases."""
    for module, names in IMPORT.findall(path.read_text(encoding="utf-8")):
        assert module == "realtime_bridge"
        imported = {name.partition(" as ")[0].strip(" ()") for name in names.split(",")}
        assert imported <= {*realtime_bridge.__all__, ""}


@pytest.mark.parametrize("name", realtime_bridge.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """It is imported when it is first used."""
    assert getattr(realtime_bridge, name) is not None


def test_a_name_that_is_not_there_is_said() -> None:
    """As of any module."""
    with pytest.raises(AttributeError, match="has no attribute 'Brigde'"):
        realtime_bridge.Brigde  # noqa: B018
