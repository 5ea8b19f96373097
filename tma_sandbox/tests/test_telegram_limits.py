"""Telegram's published limits, as token buckets."""

import pytest

from tma_sandbox.botapi.rate_limiter import RateLimiter, Rates

BOT = 1


class Clock:
    """A clock that the test moves."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    """A clock that stands still."""
    return Clock()


def test_a_private_chat_may_burst_and_then_gets_one_a_second(clock):
    """Three at once, then one per second."""
    limits = RateLimiter(Rates(), clock)

    burst = [limits.retry_after(BOT, 5) for _ in range(4)]
    clock.now += 1
    later = [limits.retry_after(BOT, 5) for _ in range(2)]

    assert burst == [None, None, None, 1]
    assert later == [None, 1]


def test_a_group_gets_twenty_a_minute(clock):
    """The twenty-first message to a group has to wait three seconds."""
    limits = RateLimiter(Rates(), clock)

    answers = [limits.retry_after(BOT, -100500) for _ in range(21)]

    assert answers == [None] * 20 + [3]


def test_the_bot_gets_thirty_a_second_over_all_chats(clock):
    """Regardless of the number of chats."""
    limits = RateLimiter(Rates(), clock)

    answers = [limits.retry_after(BOT, chat) for chat in range(1, 32)]

    assert answers == [None] * 30 + [1]


def test_who_keeps_the_rate_is_never_refused(clock):
    """A steady sender at exactly the limit passes for an hour, despite rounding."""
    limits = RateLimiter(Rates(), clock)

    for number in range(30 * 3600):
        clock.now = 1000.0 + number / 30
        assert limits.retry_after(BOT, 1 + number % 500) is None
    assert limits.refused == 0


def test_a_refusal_uses_nothing_up(clock):
    """A refused message does not delay the next allowed one."""
    limits = RateLimiter(Rates(), clock)
    for _ in range(50):
        limits.retry_after(BOT, 5)
    clock.now += 1

    assert limits.retry_after(BOT, 5) is None
    assert limits.refused == 47


def test_bots_do_not_share_limits(clock):
    """Each bot has its own."""
    limits = RateLimiter(Rates(bot_per_second=1), clock)

    assert limits.retry_after(1, 5) is None
    assert limits.retry_after(1, 6) == 1
    assert limits.retry_after(2, 5) is None


@pytest.mark.parametrize("values", [{"nonsense": 1}, {"chat_burst": 0}, {"chat_burst": "3"}])
def test_nonsense_is_refused(values):
    """An invalid limit is an error."""
    with pytest.raises(ValueError):
        Rates.read(values)
