"""Calls in flight make one call of what comes meanwhile."""

import asyncio

import pytest

from realtime_bridge.worker.batching import Coalescer


async def test_what_comes_during_a_call_goes_out_together_in_the_next():
    """One call, then one with all that waited; each asker gets its own answer."""
    batches, first = [], asyncio.Event()

    async def double(items):
        batches.append(list(items))
        if len(batches) == 1:
            await first.wait()
        return [item * 2 for item in items]

    coalescer = Coalescer(double)
    asks = [asyncio.create_task(coalescer.ask(n)) for n in (1, 2, 3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    late = asyncio.create_task(coalescer.ask(4))
    await asyncio.sleep(0)
    first.set()

    assert await asyncio.gather(*asks, late) == [2, 4, 6, 8]
    assert batches[-1] == [4]
    assert sum(batches, []) == [1, 2, 3, 4]


async def test_a_call_that_fails_fails_for_everybody_in_it_and_for_nobody_else():
    """The next call is made as if nothing had happened."""

    async def odd_only(items):
        if items == [2]:
            raise ValueError("even")
        return items

    coalescer = Coalescer(odd_only)

    assert await coalescer.ask(1) == 1
    with pytest.raises(ValueError, match="even"):
        await coalescer.ask(2)
    assert await coalescer.ask(3) == 3


async def test_an_asker_that_gives_up_does_not_stop_the_call():
    """Cancelling one wait leaves the others their answers."""
    go = asyncio.Event()

    async def slow(items):
        await go.wait()
        return items

    coalescer = Coalescer(slow)
    one, two = (asyncio.create_task(coalescer.ask(n)) for n in (1, 2))
    await asyncio.sleep(0)
    one.cancel()
    go.set()

    assert await two == 2


async def test_no_call_is_larger_than_the_most():
    """A thousand items at once are several calls."""
    sizes = []

    async def count(items):
        sizes.append(len(items))
        return items

    coalescer = Coalescer(count, most=4)

    await asyncio.gather(*(coalescer.ask(n) for n in range(10)))

    assert sizes == [4, 4, 2]
