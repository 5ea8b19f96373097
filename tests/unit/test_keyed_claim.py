"""A claim is asked with the same key until it is answered."""

from contextlib import suppress

import pytest

from realtime_bridge.database.rpc import Refused, Unavailable
from realtime_bridge.worker.keyed_claim import KeyedClaim

LOST = Unavailable("no answer")
NONE = {"rows": [], "next_seconds": None, "limits_differ": False}


class Script:
    """A database that answers as it is told to, and keeps the keys."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.keys = []
        self.digests = []

    async def call(self, function, arguments):
        assert function == "claim_tma_events"
        self.keys.append(arguments["p_key"])
        self.digests.append(arguments["p_digests"])
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def asked(claim, times):
    """Ask so many times, whatever comes of it."""
    for _ in range(times):
        with suppress(Unavailable, Refused):
            await claim.ask(4, 2)


async def test_every_claim_has_a_key_of_its_own():
    """A key that was answered is used up."""
    script = Script(NONE, NONE, NONE)

    await asked(KeyedClaim(script, None), 3)

    assert len(set(script.keys)) == 3


@pytest.mark.parametrize(
    "lost",
    [
        LOST,
        "nonsense",
        Refused("the key", "", status=401),
        Refused("the key", "", status=403),
        Refused("no function", "", status=404, code="PGRST202"),
    ],
)
async def test_what_was_not_answered_is_asked_again_with_its_key(lost):
    """It may have been carried out."""
    script = Script(lost, lost, NONE, NONE)
    claim = KeyedClaim(script, None)

    await asked(claim, 2)
    assert claim.unanswered
    await asked(claim, 2)

    assert not claim.unanswered
    first, second, third, fourth = script.keys
    assert first == second == third != fourth


async def test_a_claim_that_the_database_cannot_carry_out_is_given_up():
    """The same call would be refused for ever."""
    script = Script(Refused("a limit must be positive", "", status=400, code="22023"), NONE)
    claim = KeyedClaim(script, None)

    await asked(claim, 1)
    assert not claim.unanswered
    await asked(claim, 1)

    assert len(set(script.keys)) == 2


@pytest.mark.parametrize(
    ("digests", "said"), [({"tapped": 10.0}, {"tapped": 10.0}), ({}, None), (None, None)]
)
async def test_it_says_what_is_gathered_and_for_how_long(digests, said):
    """Nothing, where nothing is."""
    script = Script(NONE)

    await asked(KeyedClaim(script, None, digests), 1)

    assert script.digests == [said]


async def test_time_counts_from_when_it_was_asked_for_first():
    """The lease may have begun then."""
    seconds = iter([100.0, 107.0, 200.0, 201.0])
    claim = KeyedClaim(Script(LOST, NONE, NONE), None, clock=lambda: next(seconds))

    await asked(claim, 1)
    _, late = await claim.ask(4, 2)
    _, prompt = await claim.ask(4, 2)

    assert (late, prompt) == (7.0, 1.0)
