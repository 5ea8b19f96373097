"""The mark by which a process is known as one that this test run started."""

import os

RUN = "REALTIME_BRIDGE_TEST_RUN"
TEST = "PYTEST_CURRENT_TEST"


def mark() -> dict[str, str]:
    """What a process with an environment of its own must have in it; others inherit it."""
    return {name: os.environ[name] for name in (RUN, TEST) if name in os.environ}
