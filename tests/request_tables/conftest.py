"""A fixture of another folder that tests here use too."""

from tests.unit.test_logs import written  # noqa: F401 - fixtures are found by name
