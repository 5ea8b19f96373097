"""The short form of `make chaos`: every kind of mishap once, in both delivery modes."""

import asyncio
import itertools

import pytest

from tests.chaos.run import Plan, Run
from tests.chaos.schedule import Kind, schedule
from tests.delivery.fork_server import ForkServer

SHORT = {"seed": 7, "events": 540, "chats": 60, "rate": 30.0, "pace": 0.7}
IMPATIENT = {"send_timeout": 2.5, "lease": 10.0}


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Both modes side by side, because most of the time is spent waiting."""

    async def run():
        async with ForkServer(tmp_path_factory.mktemp("chaos")) as fork_server:
            plans = [Plan(mode, **SHORT, **IMPATIENT) for mode in ("at_most_once", "at_least_once")]
            return await asyncio.gather(*(Run(plan, fork_server)() for plan in plans))

    return {report.mode: report for report in asyncio.run(run())}


# A run takes as long as its mishaps and leases do: this ends one that hangs.
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", ["at_most_once", "at_least_once"])
def test_every_promise_holds(reports, mode):
    """Whatever happens to processes, connections and servers; see report.py for the promises."""
    report = reports[mode]

    assert report.problems() == [], report.table()
    assert len(report.rows) == SHORT["events"]
    assert len(report.mishaps) == len(Kind)
    assert all(report.kinds.values()), report.table()


def test_a_seed_gives_the_same_mishaps_again():
    """What a run found can be looked at once more."""
    first, again, other = (
        list(itertools.islice(schedule(seed, 9.0, 3, 0.5), 200)) for seed in (7, 7, 8)
    )

    assert first == again
    assert first != other
