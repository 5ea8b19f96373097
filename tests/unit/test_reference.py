"""Files that are generated from the code match it."""

import importlib.util
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "settings_reference.py"


def load_script():
    spec = importlib.util.spec_from_file_location("settings_reference", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", list(load_script().FILES), ids=lambda path: path.name)
def test_the_settings_reference_matches_the_code(path):
    """Whoever adds a setting runs `make reference`."""
    assert path.read_text(encoding="utf-8") == load_script().FILES[path]()
