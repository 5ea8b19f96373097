"""Users' own code, named in settings."""

import sys

import pytest

from realtime_bridge import Bridge
from realtime_bridge.request_tables.loader import import_object, load_request_tables
from realtime_bridge.request_tables.table import RequestTable
from realtime_bridge.settings import ConfigurationError, parse
from tests.unit.test_settings import GOOD

CODE = """
from realtime_bridge.request_tables.handler import RequestTable

class Needy:
    def __init__(self, key): ...

async def make_plan(request): ...

class inner:
    make_plan = make_plan

drafts = RequestTable("draft_requests", make_plan)
plans = RequestTable("plan_requests", make_plan)
number = 5
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with modules of a user's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(tmp_path)])
    before = set(sys.modules)
    (tmp_path / "own.py").write_text(CODE)
    (tmp_path / "broken.py").write_text("\n\nraise ValueError('no key')")
    (tmp_path / "leaves.py").write_text("import sys\nsys.exit('bye')")
    (tmp_path / "needs.py").write_text("import own_missing.part")
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in {"own", "broken", "leaves", "needs"}:
            del sys.modules[name]


def tables(**values):
    return load_request_tables(parse({**GOOD, **values}))


def problem(**values):
    with pytest.raises(ConfigurationError) as error:
        tables(**values)
    (text,) = error.value.problems
    return text


def test_a_module_beside_the_env_file_is_found(folder):
    """A console script does not search the working directory by itself."""
    assert import_object("PLANNER", "own:inner.make_plan").__name__ == "make_plan"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nowhere:x", "there is no module nowhere in "),
        ("nowhere.at.all:x", "there is no module nowhere in "),
        ("own:missing", "there is no missing in own"),
        ("own:inner.missing", "there is no inner.missing in own"),
        ("broken:x", "importing it failed: ValueError: no key (broken.py, line 3)"),
        ("leaves:x", "importing it failed: SystemExit: bye (leaves.py, line 2)"),
        (
            "needs:x",
            "importing it failed: ModuleNotFoundError: No module named 'own_missing' (needs.py",
        ),
        ("own:number", "calling it failed: TypeError: a planner is a function"),
        ("own:Needy", "calling it failed: TypeError: "),
    ],
)
def test_a_planner_that_cannot_be_had_is_a_configuration_error(folder, name, why):
    """One line that names the setting and what is wrong, with the place in the user's code."""
    text = problem(PLANNER=name)

    assert text.startswith(f"PLANNER={name} cannot be used: {why}")


async def test_the_bridge_does_not_start_with_it(folder):
    """It fails before it calls any server: these addresses lead nowhere."""
    bridge = Bridge(parse({**GOOD, "PLANNER": "nowhere:x", "HTTP_PORT": "0"}))

    with pytest.raises(ConfigurationError, match="nowhere"):
        await bridge.run()


def test_without_a_planner_the_playbook_plans():
    """Plans work without configuration."""
    (plans,) = tables()

    assert (plans.name, plans.failed_event) == ("plan_requests", "plan_failed")


def test_a_playbook_with_a_mistake_is_a_configuration_error(folder):
    """It names the place of the mistake."""
    (folder / "plans.toml").write_text("[[steps]]\nday = 1")

    text = problem(PLAYBOOK=str(folder / "plans.toml"))

    assert text.startswith("PLAYBOOK cannot be used: ")
    assert "steps.0.description" in text


def test_plans_can_be_left_to_others():
    """Then nothing claims from plan_requests."""
    assert tables(PLANNER="off") == []


def test_limits_of_the_planner_are_settings():
    """The lease of a request is a little longer than its time limit."""
    (plans,) = tables(PLANNER_TIMEOUT="7", PLANNER_CONCURRENCY="3")

    assert (plans.timeout, plans.concurrency, plans.lease) == (7, 3, 22)


def test_more_tables_are_named_or_given(folder):
    """By setting in a sidecar, by argument in a program."""
    given = RequestTable("proof_requests", print)

    found = load_request_tables(
        parse({**GOOD, "REQUEST_TABLES": "own:drafts", "PLANNER": "off"}), more=[given]
    )

    assert [table.name for table in found] == ["draft_requests", "proof_requests"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("own:number", "REQUEST_TABLES=own:number cannot be used: it is not a RequestTable"),
        ("own:plans", "plan_requests is configured twice"),
        ("own:drafts, own:drafts", "draft_requests is configured twice"),
    ],
)
def test_a_table_that_cannot_be_answered_is_a_configuration_error(folder, name, why):
    """Two lanes for one table would compete for its rows."""
    assert problem(REQUEST_TABLES=name).startswith(why)
