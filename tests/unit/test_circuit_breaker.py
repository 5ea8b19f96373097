"""An outage is noticed before messages are lost to it, and not asked about all the time."""

import asyncio

from realtime_bridge.outcomes import Halted
from realtime_bridge.telegram.circuit_breaker import CircuitBreaker
from tests.unit.virtual_time import in_virtual_time


class Telegram:
    """Answers, or does not; counts the questions."""

    def __init__(self):
        self.down = False
        self.asked = 0

    async def probe(self):
        self.asked += 1
        await asyncio.sleep(0.1)
        return "no answer" if self.down else None


def on_a_line(scenario):
    """Run a scenario with a line to a Telegram."""

    async def all_of_it():
        telegram = Telegram()
        clock = asyncio.get_running_loop().time
        await scenario(
            telegram, CircuitBreaker(telegram.probe, waits=lambda: iter([5.0] * 99), clock=clock)
        )

    in_virtual_time(all_of_it())


def test_a_line_that_nobody_doubts_is_not_tested():
    """In the usual case a message costs one call."""

    async def scenario(telegram, line):
        assert await line.test() is None
        assert telegram.asked == 0

    on_a_line(scenario)


def test_a_doubt_is_cleared_by_one_answer():
    """However many messages wait for it."""

    async def scenario(telegram, line):
        line.doubt()
        line.doubt()

        assert await asyncio.gather(*(line.test() for _ in range(10))) == [None] * 10
        assert telegram.asked == 1

    on_a_line(scenario)


def test_while_nobody_answers_nothing_goes_and_few_ask():
    """Every message is told for how long to wait; one question a pause is asked for all."""

    async def scenario(telegram, line):
        telegram.down = True
        line.doubt()

        told = await asyncio.gather(*(line.test() for _ in range(10)))
        await asyncio.sleep(2)
        later = await line.test()

        assert set(told) == {Halted("no answer", after=5.0)}
        assert later.after < 3.1
        assert telegram.asked == 1

    on_a_line(scenario)


def test_when_it_answers_again_everything_goes():
    """After the pause it is asked again."""

    async def scenario(telegram, line):
        telegram.down = True
        line.doubt()
        await line.test()
        telegram.down = False
        await asyncio.sleep(5)

        assert await line.test() is None
        assert await line.test() is None
        assert telegram.asked == 2

    on_a_line(scenario)


def test_a_doubt_that_comes_while_it_is_asked_is_another_doubt():
    """The answer may have been given before what happened to that message."""

    async def scenario(telegram, line):
        line.doubt()
        asking = asyncio.create_task(line.test())
        await asyncio.sleep(0.05)
        line.doubt()
        await asking
        telegram.down = True

        assert isinstance(await line.test(), Halted)

    on_a_line(scenario)
