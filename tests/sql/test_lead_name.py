"""How a claimed row calls its lead."""

from typing import Any

import pytest

from tests.sql.support import Connection, Worker, insert

LEADS = """
    create table public.leads (id bigint primary key, prospect_name text);
    alter table public.leads enable row level security;
    insert into public.leads values (1, 'Ann Example'), (2, '  '), (3, null);
"""


def claimed_name(connection: Connection, **columns: Any) -> str:
    """The lead_name with which a bridge gets such a row."""
    insert(connection, **columns)
    claimed = connection.execute(
        "select claim_tma_events(1, gen_random_uuid()) as answer"
    ).fetchone()
    assert claimed
    return str(claimed["answer"]["rows"][0]["lead_name"])


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ({"lead_name": "Bob"}, "Bob"),
        ({"lead_name": "  Bob "}, "Bob"),
        ({"lead_name": 42}, "42"),
        ({"lead_name": ""}, "your lead"),
        ({"lead_name": " \t"}, "your lead"),
        ({"lead_name": None}, "your lead"),
        ({"lead_name": {"first": "Bob"}}, "your lead"),
        ({"lead_name": ["Bob"]}, "your lead"),
        ({"lead_name": True}, "your lead"),
        ({}, "your lead"),
        (None, "your lead"),
        (["Bob"], "your lead"),
    ],
)
def test_from_the_payload(
    database: Connection, worker: Worker, payload: Any, expected: str
) -> None:
    """Text and numbers are names; what is not is not shown."""
    insert(database, lead_id=9, payload=payload)

    (row,) = worker.claim()

    assert row["lead_name"] == expected


@pytest.mark.parametrize(
    ("lead_id", "expected"),
    [(1, "Ann Example"), (2, "Bob"), (3, "Bob"), (4, "Bob"), (None, "Bob")],
)
def test_from_the_leads_table(own: Connection, lead_id: int | None, expected: str) -> None:
    """Where public.leads exists its name wins; without a row or a name the payload serves."""
    own.execute(LEADS)

    assert claimed_name(own, lead_id=lead_id, payload={"lead_name": "Bob"}) == expected


@pytest.mark.parametrize(
    "leads",
    [
        "create table public.leads (id bigint primary key, title text)",
        "create table public.leads (id uuid primary key, prospect_name text)",
        "create view public.leads as select 1 / 0 as id, 'x' as prospect_name",
    ],
)
def test_a_leads_table_of_another_kind_is_no_error(own: Connection, leads: str) -> None:
    """A table that has the name but not the shape costs the name."""
    own.execute(leads)

    assert claimed_name(own, lead_id=1, payload={"lead_name": "Bob"}) == "Bob"


def test_a_function_of_the_user(own: Connection) -> None:
    """Who keeps names elsewhere replaces tma_lead_name."""
    own.execute(
        "create or replace function public.tma_lead_name(p_lead_id bigint) returns text"
        " language sql as $$ select 'customer ' || p_lead_id $$"
    )

    assert claimed_name(own, lead_id=7) == "customer 7"


def test_a_function_that_raises_costs_only_the_name(own: Connection) -> None:
    """A bug in a user's function must not stop all messages."""
    own.execute(
        "create or replace function public.tma_lead_name(p_lead_id bigint) returns text"
        " language plpgsql as $$ begin raise 'bug'; end $$"
    )

    assert claimed_name(own, lead_id=7, payload={"lead_name": "Bob"}) == "Bob"
