"""What is logged, for the second lane."""

from tests.unit.test_logs import written  # noqa: F401 - fixtures are found by name
