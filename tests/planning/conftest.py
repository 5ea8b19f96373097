"""Fixtures of other tests, for the second lane: the stack, its processes, what is logged."""

from tests.integration.conftest import start, world  # noqa: F401 - fixtures are found by name
from tests.unit.test_logs import written  # noqa: F401
