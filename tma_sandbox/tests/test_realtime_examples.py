"""The examples in the docstrings of the local Realtime are correct."""

import doctest

import pytest

from tma_sandbox.realtime import bindings, elixir, frames, pgoutput, poll_schedule, tokens


@pytest.mark.parametrize(
    "module", [bindings, elixir, frames, pgoutput, poll_schedule, tokens], ids=lambda m: m.__name__
)
def test_examples_hold(module):
    """Each example prints what the docstring says."""
    outcome = doctest.testmod(module)

    assert outcome.attempted > 0
    assert outcome.failed == 0
