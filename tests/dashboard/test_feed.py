"""When the feed asks: while somebody listens, or a page is on its way."""

import asyncio
import json

import pytest

from realtime_bridge.commands.dashboard.feed import Feed, Part
from tests.unit.virtual_time import in_virtual_time


class Asked:
    """A part that counts how often it was asked for."""

    def __init__(self):
        self.times = 0

    async def __call__(self):
        self.times += 1
        return self.times


@pytest.fixture
def lived():
    """Run a scenario with a feed of one part, asked for each second, in virtual time."""

    def run(scenario):
        async def all_of_it():
            asked = Asked()
            feed = Feed([Part("number", 1.0, asked)], json.dumps)
            try:
                await scenario(feed, asked)
            finally:
                await feed.close()

        in_virtual_time(all_of_it())

    return run


def test_nobody_is_asked_for_nobody(lived):
    """A dashboard without a page costs the database nothing."""

    async def scenario(_, asked):
        await asyncio.sleep(100)
        assert asked.times == 0

    lived(scenario)


def test_a_page_on_its_way_finds_its_news(lived):
    """They are asked for while the browser fetches the scripts."""

    async def scenario(feed, asked):
        feed.expect()
        await asyncio.sleep(0.5)
        assert asked.times == 1

        async for name, text in feed.listen():
            assert (name, text) == ("number", "1")
            break

    lived(scenario)


def test_a_page_that_does_not_come_is_given_up(lived):
    """It was closed, or something else asked for its text."""

    async def scenario(feed, asked):
        feed.expect()
        await asyncio.sleep(20)
        before = asked.times
        await asyncio.sleep(100)

        assert 0 < before <= 11
        assert asked.times == before

    lived(scenario)


def test_it_goes_on_for_who_listens_and_ends_with_him(lived):
    """Longer than a page is waited for."""

    async def scenario(feed, asked):
        feed.expect()
        news = feed.listen()
        for _ in range(40):
            await anext(news)
        assert asked.times >= 39

        await news.aclose()
        before = asked.times
        await asyncio.sleep(100)
        assert asked.times == before

    lived(scenario)


def test_a_page_on_its_way_outlives_one_that_ends(lived):
    """As when it is loaded again."""

    async def scenario(feed, asked):
        news = feed.listen()
        await anext(news)
        feed.expect()
        await news.aclose()
        before = asked.times
        await asyncio.sleep(5)

        assert asked.times > before

    lived(scenario)
