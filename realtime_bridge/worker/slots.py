"""The rows that a lane has in hand."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Row = TypeVar("Row")


class Slots(Generic[Row]):
    """So many rows may be handled at one time."""

    def __init__(self, limit: int, undone: Callable[[Row], bool]) -> None:
        """`undone(row)`: whether a handler that is cut off now has left nothing behind."""
        self.limit = limit
        self.halted: str | None = None  # why nothing can be sent
        self.more = False  # there may be rows that wait for a slot
        self.busy = False  # since the last sweep: rows that wait may do so for others to be sent
        self._undone = undone
        self._tasks: dict[asyncio.Task[None], Row] = {}

    @property
    def in_hand(self) -> int:
        """Rows that are being handled now."""
        return len(self._tasks)

    def wanted(self, unwritten: int) -> int:
        """How many rows may be claimed: the free slots, unless outcomes cannot be written.

        While nothing can be sent, one row at a time finds out whether it can be again.
        """
        limit = 1 if self.halted else self.limit
        return min(limit, 2 * limit - unwritten) - self.in_hand

    def put(self, row: Row, work: Coroutine[Any, Any, None], freed: Callable[[], None]) -> None:
        """Start the work on a row; `freed()` is called when its slot is free."""
        task = asyncio.create_task(work)
        self._tasks[task] = row
        self.busy = True

        def free(task: asyncio.Task[None]) -> None:
            del self._tasks[task]
            freed()

        task.add_done_callback(free)

    def swept(self) -> bool:
        """Say whether the lane had something to do since the last sweep, and begin anew."""
        was_busy, self.busy = self.busy, bool(self._tasks)
        return was_busy

    async def cut_off(self, grace: float) -> list[Row]:
        """Let rows in hand finish for `grace` seconds; cancel the others.

        Returns those of which nothing was done yet. Nothing runs between the question and the
        cancelling, and a task that is cancelled goes no step further.
        """
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=grace)
        # One that has just ended has an outcome, even if it is not told from the others yet.
        late = {task: row for task, row in self._tasks.items() if not task.done()}
        undone = [row for row in late.values() if self._undone(row)]
        for task in late:
            task.cancel()
        return undone
