import pytest

from realtime_bridge.messages.renderer import Messages


@pytest.fixture(scope="session")
def messages():
    """The packaged templates with default settings."""
    return Messages()
