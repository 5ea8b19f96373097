import pytest

from realtime_bridge.messages import Messages


@pytest.fixture(scope="session")
def messages():
    """The packaged templates with default settings."""
    return Messages()
