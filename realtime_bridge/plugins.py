"""Users' own code, named in settings as module:object."""

import importlib
import sys
import traceback
from pathlib import Path
from typing import Any

from realtime_bridge.settings import ConfigurationError


def load_object(setting: str, name: str) -> Any:
    """Import `module:object`; the working directory is searched first.

    Raises ConfigurationError that says what is wrong with `setting`.
    """
    module_name, _, path = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:  # a console script has its own directory there instead
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise _problem(
                setting, name, f"there is no module {error.name} in {here} or installed"
            ) from error
        raise _problem(setting, name, _what(error)) from error
    except (Exception, SystemExit) as error:
        raise _problem(setting, name, _what(error)) from error
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise _problem(setting, name, f"there is no {path} in {module_name}") from error
    return found


def _problem(setting: str, name: str, why: str) -> ConfigurationError:
    return ConfigurationError([f"{setting}={name} cannot be used: {why}"])


def _what(error: BaseException) -> str:
    """An error of somebody else's module on one line, with its place."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}, line {frame.lineno}"
    return f"importing it failed: {type(error).__name__}: {error} ({where})"
