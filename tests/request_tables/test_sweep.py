"""What request tables add to the SQL contract: the common sweep, and a request's lead."""

import psycopg
import pytest
from psycopg.types.json import Jsonb

from tests.sql.support import Worker, connect, insert, put_back, read


@pytest.fixture
def owner(db):
    """A session of the owner, in a database of the test's own."""
    with connect(db) as connection:
        yield connection


@pytest.fixture
def bridge(db):
    """A bridge in the narrow role, with the rights that every bridge has."""
    with Worker(db, "plan_requests", role="tma_bridge") as worker:
        yield worker


def sweep(worker, leases, lease="120 seconds"):
    (row,) = worker.call("sweep_tma", lease, False, leases)
    return row["answer"]


def test_a_sweep_of_nothing_says_so_for_every_lane(bridge):
    """Null means that nothing waits."""
    assert sweep(bridge, {"plan_requests": 75}) == {
        "tma_events": {"returned": 0, "resent": 0, "uncertain": 0, "next_due_seconds": None},
        "plan_requests": {"returned": 0, "next_due_seconds": None},
    }


def test_a_sweep_takes_back_what_is_stale_in_each_lane_by_its_own_lease(db, owner, bridge):
    """It reports that they are due at once."""
    stale = insert(owner, "plan_requests")
    event = insert(owner)
    with Worker(db) as events:
        events.claim()
    bridge.claim()
    put_back(owner, 100, stale, table="plan_requests")
    put_back(owner, 100, event)

    swept = sweep(bridge, {"plan_requests": 75})

    assert swept["plan_requests"] == {"returned": 1, "next_due_seconds": 0}
    assert swept["tma_events"]["returned"] == 0
    assert read(owner, stale, "plan_requests")["status"] == "pending"
    assert read(owner, event)["status"] == "processing"


def test_a_sweep_says_when_the_next_retry_is_due(owner, bridge):
    """By the database's clock."""
    insert(owner, "plan_requests")
    (row,) = bridge.claim()
    bridge.settle({"id": row["id"], "attempt": row["attempt"], "status": "pending", "retry_in": 40})

    due = sweep(bridge, {"plan_requests": 75})["plan_requests"]["next_due_seconds"]

    assert 35 < due <= 40


@pytest.mark.parametrize("name", ["leads", "tma_events", "no_such_table", 'x"; drop table x'])
def test_a_sweep_says_nothing_of_what_is_no_request_table(owner, bridge, name):
    """A typo must neither look like an empty table nor stop the sweep of the others."""
    owner.execute("create table public.leads (id bigint primary key)")

    swept = sweep(bridge, {name: 75, "plan_requests": 75})

    assert set(swept) == {"tma_events", "plan_requests"}
    assert "uncertain" in swept["tma_events"]


@pytest.mark.parametrize("leases", [[], None, 7])
def test_leases_that_are_no_object_are_refused(bridge, leases):
    """That is the caller's mistake."""
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        sweep(bridge, Jsonb(leases))


def lead_of(bridge):
    (row,) = bridge.claim()
    return row["lead"]


def test_without_a_table_of_leads_nothing_is_told(owner, bridge):
    """The claim works anyway."""
    insert(owner, "plan_requests", lead_id=7)

    assert lead_of(bridge) == {}


def test_the_status_of_a_lead_is_told(owner, bridge):
    """So that the playbook can choose by it."""
    owner.execute("create table public.leads (id bigint primary key, status text)")
    owner.execute("insert into public.leads values (7, 'won')")
    insert(owner, "plan_requests", lead_id=7)

    assert lead_of(bridge) == {"status": "won"}


@pytest.mark.parametrize("lead_id", [None, 8, 9])
def test_of_a_lead_that_is_not_there_nothing_is_told(owner, bridge, lead_id):
    """Nor about one without a status, nor if the request has no lead."""
    owner.execute("create table public.leads (id bigint primary key, status text)")
    owner.execute("insert into public.leads values (9, null)")
    insert(owner, "plan_requests", lead_id=lead_id)

    assert lead_of(bridge) == {}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("""select jsonb_build_object('notes', 'likes tea', 'id', p_lead_id)""",
         {"notes": "likes tea", "id": 7}),
        ("select '[1]'::jsonb", {}),
        ("select null::jsonb", {}),
        ("select to_jsonb(1 / (p_lead_id - 7))", {}),
    ],
)  # fmt: skip
def test_users_say_what_planners_are_told(owner, bridge, body, told):
    """Their own function does; an error in it costs the lead's data, not the claim."""
    owner.execute("set client_min_messages = error")
    owner.execute(
        "create or replace function public.tma_lead_context(p_lead_id bigint) returns jsonb"
        f" language sql stable set search_path = '' as $$ {body} $$"
    )
    insert(owner, "plan_requests", lead_id=7)

    assert lead_of(bridge) == told
