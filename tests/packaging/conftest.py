"""A world where the package is not installed yet."""

import os
import site
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def dependencies(tmp_path_factory):
    """A folder with everything that this environment has installed, but not with ourselves."""
    view = tmp_path_factory.mktemp("dependencies")
    for path in Path(site.getsitepackages()[0]).iterdir():
        if not path.name.lower().startswith(("realtime_bridge", "__pycache__", "pip")):
            (view / path.name).symlink_to(path)
    return view


@pytest.fixture(scope="session")
def clean(dependencies):
    """The environment of a shell in which pip finds all dependencies, with no network."""
    return {
        "PATH": f"{Path(sys.executable).resolve().parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(dependencies),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "PYTHONPATH": str(dependencies),
        "PIP_NO_INDEX": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # by pip's reckoning this means: do not isolate
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
