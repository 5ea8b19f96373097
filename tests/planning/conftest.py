"""The stack and the processes of the integration tests, for the second lane."""

from tests.integration.conftest import start, world  # noqa: F401 - fixtures are found by name
