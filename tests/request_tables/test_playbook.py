"""Plans from a file."""

from datetime import date

import pytest

from realtime_bridge.request_tables.playbook import PACKAGED, Playbook, PlaybookError
from tests.request_tables.builders import request

TWO = """
    summary = "For {lead_name}."
    [[steps]]
    description = "Call {lead_name}"
    day = 0
    [[steps]]
    step_id = "mail"
    description = "Write"
    day = 40

    [status."Closed Won"]
    [[status."Closed Won".steps]]
    description = "Thank {lead_name}"
    day = 1
"""


async def test_steps_are_due_so_many_days_from_today():
    """Days are the user's; step ids are numbers unless the file says otherwise."""
    plan = await Playbook(TWO).generate_plan(request())

    assert plan.summary == "For Ann."
    assert [(step.step_id, step.description, step.due) for step in plan.steps] == [
        (1, "Call Ann", date(2026, 11, 23)),
        ("mail", "Write", date(2027, 1, 2)),
    ]


@pytest.mark.parametrize(
    ("fields", "first"),
    [
        ({"payload": {"lead_status": "closed won"}}, "Thank Ann"),
        ({"lead": {"status": " Closed Won "}}, "Thank Ann"),
        ({"payload": {"lead_status": "new"}, "lead": {"status": "Closed Won"}}, "Call Ann"),
        ({"payload": {"lead_status": 3}}, "Call Ann"),
        ({}, "Call Ann"),
    ],
)
async def test_the_leads_status_chooses(fields, first):
    """The Mini App's word wins over the database's; other statuses get the default steps."""
    plan = await Playbook(TWO).generate_plan(request(**fields))

    assert plan.steps[0].description == first


async def test_a_name_is_no_template():
    """Braces in a name are just text."""
    plan = await Playbook(TWO).generate_plan(request(lead_name="{0.__class__} {x"))

    assert plan.steps[0].description == "Call {0.__class__} {x"


@pytest.mark.parametrize("status", ["", "won", "lost"])
async def test_the_packaged_one_works(status):
    """It needs no configuration, and names the lead."""
    plan = await Playbook.load().generate_plan(request(payload={"lead_status": status}))

    assert len(plan.steps) >= 2
    assert "Ann" in plan.summary
    assert "{" not in plan.model_dump_json(exclude={"steps"}).removeprefix("{")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "steps"),
        ("steps = []", "steps"),
        ("steps = [1]", "steps.0"),
        ("[[steps]]\nday = 1", "steps.0.description"),
        ('[[steps]]\ndescription = "x"', "steps.0.day"),
        ('[[steps]]\ndescription = "x"\nday = "1"', "steps.0.day"),
        ('[[steps]]\ndescription = "x"\nday = -1', "steps.0.day"),
        ('[[steps]]\ndescription = "x"\nday = 1\ndays = 2', "steps.0.days"),
        ('[[steps]]\nstep_id = 2\ndescription = "x"\nday = 1\n' * 2, "same step_id"),
        (TWO + '[status.lost]\nsummary = "x"', "status.lost.steps"),
        ("steps = ", "Invalid value"),
    ],
)
def test_a_mistake_is_named_with_its_place(text, place):
    """This ends the start of the bridge."""
    with pytest.raises(PlaybookError, match=place) as error:
        Playbook(text, "plans.toml")

    assert "plans.toml" in str(error.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    """Whatever the reason."""
    binary = tmp_path / "plans.toml"
    binary.write_bytes(b"\xff\xfe")

    for path in (binary, tmp_path):
        with pytest.raises(PlaybookError, match=str(path)):
            Playbook.load(path)


def test_the_packaged_file_is_in_the_package():
    """It lies beside the code, so a wheel contains it."""
    assert PACKAGED.name == "playbook.toml"
    assert PACKAGED.is_file()
