"""Loads request tables and the planner: users' own code, named in settings as module:object."""

import importlib
import sys
import traceback
from collections.abc import Sequence
from datetime import time
from pathlib import Path
from typing import Any

from realtime_bridge.request_tables.plans import plan_table
from realtime_bridge.request_tables.playbook import PACKAGED, Playbook, PlaybookError
from realtime_bridge.request_tables.table import RequestTable
from realtime_bridge.settings import PLANNER_OFF, ConfigurationError, Settings


def load_request_tables(
    settings: Settings, *, planner: Any = None, more: Sequence[RequestTable] = ()
) -> list[RequestTable]:
    """List all request tables: plans, those that settings name, and `more`.

    A `planner` replaces the one that PLANNER names. Raises ConfigurationError.
    """
    tables = [*_plan_tables(settings, planner), *_named_tables(settings), *more]
    names = [table.name for table in tables]
    if duplicates := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigurationError(
            [f"{duplicates[0]} is configured twice: name it once in REQUEST_TABLES"]
        )
    return tables


def _plan_tables(settings: Settings, planner: Any) -> list[RequestTable]:
    if planner is None and settings.planner == PLANNER_OFF:
        return []
    try:
        if planner is None and settings.planner:
            planner = import_object("PLANNER", settings.planner)
        table = plan_table(
            planner or Playbook.load(settings.playbook or PACKAGED),
            timeout=settings.planner_timeout,
            concurrency=settings.planner_concurrency,
            reminder_time=time.fromisoformat(settings.reminder_time),
        )
    except PlaybookError as error:
        raise ConfigurationError([f"PLAYBOOK cannot be used: {error}"]) from error
    except (ConfigurationError, KeyboardInterrupt):
        raise
    except Exception as error:  # a planner's class is a user's code
        why = _one_line("calling it", error)
        raise _unusable("PLANNER", settings.planner or "", why) from error
    return [table]


def _named_tables(settings: Settings) -> list[RequestTable]:
    tables = []
    for name in filter(None, map(str.strip, settings.request_tables.split(","))):
        table = import_object("REQUEST_TABLES", name)
        if not isinstance(table, RequestTable):
            raise _unusable("REQUEST_TABLES", name, "it is not a RequestTable")
        tables.append(table)
    return tables


def import_object(setting: str, name: str) -> Any:
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
            why = f"there is no module {error.name} in {here} or installed"
        else:
            why = _one_line("importing it", error)
        raise _unusable(setting, name, why) from error
    except (Exception, SystemExit) as error:
        raise _unusable(setting, name, _one_line("importing it", error)) from error
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            raise _unusable(setting, name, f"there is no {path} in {module_name}") from error
    return found


def _unusable(setting: str, name: str, why: str) -> ConfigurationError:
    return ConfigurationError([f"{setting}={name} cannot be used: {why}"])


def _one_line(doing: str, error: BaseException) -> str:
    """An error of a user's code on one line, with the place in that code."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(frame.filename).name}, line {frame.lineno}"
    return f"{doing} failed: {type(error).__name__}: {error} ({where})"
