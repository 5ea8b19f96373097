"""The examples in the docstrings of the local Realtime say the truth."""

import doctest

import pytest

from tma_sandbox.realtime import bindings, elixir, frames, pace, pgoutput, tokens


@pytest.mark.parametrize(
    "module", [bindings, elixir, frames, pace, pgoutput, tokens], ids=lambda m: m.__name__
)
def test_examples_hold(module):
    """Each example prints what it says."""
    outcome = doctest.testmod(module)

    assert outcome.attempted > 0
    assert outcome.failed == 0
