"""Rows in hand, and the moment in which they are cut off."""

import asyncio

from realtime_bridge.worker.slots import Slots
from tests.unit.virtual_time import in_virtual_time


def test_a_row_that_ends_in_the_moment_of_the_cut_is_not_handed_back():
    """It has an outcome, although its slot is not free yet."""

    async def scenario():
        slots, gate, ended = Slots(2, lambda _: True), asyncio.Event(), []

        async def work(name):
            if name == "late":
                await asyncio.Event().wait()
            await gate.wait()
            ended.append(name)

        for name in ("just in time", "late"):
            slots.put(name, work(name), lambda: None)
        asyncio.get_running_loop().call_later(1 - 1e-9, gate.set)  # both in one turn of the loop
        return await slots.cut_off(1), ended

    assert in_virtual_time(scenario()) == (["late"], ["just in time"])
