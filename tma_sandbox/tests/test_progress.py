"""Progress messages while somebody waits."""

import asyncio

from tma_sandbox.progress import Progress


class Time:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.asked = asyncio.Queue()
        self.passed = asyncio.Queue()

    async def sleep(self, seconds: float) -> None:
        """Sleep until the test has moved the clock this far."""
        self.asked.put_nowait(seconds)
        await self.passed.get()

    async def passes(self, seconds: float) -> None:
        """Move the clock at least this far, and wait until the sleeper sleeps again."""
        while seconds > 0:
            seconds -= await self.asked.get()
            self.passed.put_nowait(None)
        again = await self.asked.get()
        self.asked.put_nowait(again)


async def test_a_step_that_lasts_is_told_again_ever_more_rarely():
    """After 2, 4, 8 and 16 seconds, then every half minute; a new step starts over."""
    said, time = [], Time()
    progress = Progress(said.append, sleep=time.sleep)
    async with progress.reminding():
        progress.step("Fetching")
        await time.passes(80)
        progress.step("Starting")
        await time.passes(2)

    told = ["Fetching", *(f"  Fetching ... {n} s" for n in (2, 4, 8, 16, 32, 62))]
    assert said == [*told, "Starting", "  Starting ... 2 s"]


async def test_what_is_quick_is_told_once():
    """It is not repeated within the first two seconds, or after the end."""
    said, time = [], Time()
    progress = Progress(said.append, sleep=time.sleep)
    async with progress.reminding():
        progress.step("Starting")
    await asyncio.sleep(0)

    assert said == ["Starting"]
