"""The rows that a lane has in hand."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Row = TypeVar("Row")


class Slots(Generic[Row]):
    """So many rows may be handled at one time."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.more = False  # there may be rows that wait for a slot
        self.busy = False  # since the last sweep: rows that wait may do so for others to be sent
        self._tasks: dict[asyncio.Task[None], Row] = {}

    @property
    def in_hand(self) -> int:
        """Rows that are being handled now."""
        return len(self._tasks)

    def wanted(self, unwritten: int, *, halted: bool) -> int:
        """How many rows may be claimed: the free slots, unless outcomes cannot be written.

        While nothing can be sent, one row at a time finds out whether it can be again.
        """
        limit = 1 if halted else self.limit
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
        """Let rows in hand finish for `grace` seconds; cancel the others, and return them."""
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=grace)
        late = dict(self._tasks)
        for task in late:
            task.cancel()
        return list(late.values())
