"""The key in use: one place that knows it, and takes another one while the bridge runs."""

import asyncio
import stat
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from math import inf
from pathlib import Path

import structlog

from realtime_bridge.base import delays
from realtime_bridge.credentials import Key
from realtime_bridge.database.rpc import Refused, Rpc, Unavailable
from realtime_bridge.settings import (
    KEYS,
    ConfigurationError,
    Settings,
    changed_since,
    with_keys_again,
)

log = structlog.get_logger()

KEY = "SUPABASE_KEY"
KEPT = "the key in use stays"
LOOK_EVERY_SECONDS = 1.0
# What the start of the bridge asks first as well: a key that gets an answer is good enough.
TRIAL = "tma_event_stats"

# Asks Supabase something with a key; raises Refused or Unavailable.
Trial = Callable[[Key], Awaitable[object]]
# What tells one state of a file from another; None: it is not there.
_State = tuple[int, int, int, int] | None


def trial_of(settings: Settings) -> Trial:
    """Try keys at this project, on a connection of their own."""

    async def trial(key: Key) -> None:
        async with Rpc(settings.supabase_url, lambda: key, redact=settings.redact) as rpc:
            await rpc.call(TRIAL)

    return trial


class Keys:
    """Holds the key in use, and looks for another one where the settings came from.

    It looks when the file that NAME_FILE names changes, when it is told to (SIGHUP), and when
    Supabase refuses the key in use. Another key is taken when it is one by the rules of the start
    and Supabase answers it; until then, and if not, the one in use stays.
    """

    def __init__(
        self,
        settings: Settings,
        trial: Trial,
        *,
        waits: Callable[[], Iterator[float]] = delays,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with the settings' key. `waits()`: seconds between trials of one refused."""
        self._settings = settings
        self._redact = settings.redact  # everybody's, so it learns the keys that follow
        self._current = settings.key
        self._trial = trial
        self._waits = waits
        self._clock = clock
        self._listeners: list[Callable[[Key], None]] = []
        self._one_at_a_time = asyncio.Lock()
        self._readings = 0  # begun so far
        self._asked = asyncio.Event()
        self._aloud = False  # a person asked: say so, whatever comes of it
        self._states: list[_State] | None = None  # of the files, when they were last read
        self._refused: Key | None = None  # another key, which Supabase does not take
        self._pauses = waits()
        self._try_at = inf
        self._said: str | None = None  # what was last found wrong

    def current(self) -> Key:
        """Return the key to use for what begins now."""
        return self._current

    def subscribe(self, listener: Callable[[Key], None]) -> None:
        """Call `listener` with each key that is taken from now on."""
        self._listeners.append(listener)

    def reload(self) -> None:
        """Ask for another look, by a person; callable from a signal handler."""
        self._aloud = True
        self._asked.set()

    def suspect(self) -> None:
        """Ask for another look: what happens might be the key's fault."""
        self._asked.set()

    async def replace(self, refused: Key) -> bool:
        """Look for another key than this one, which was refused; True: there is one now.

        Callers that come together share one look.
        """
        before = self._readings
        async with self._one_at_a_time:
            if self._current == refused and self._readings == before:
                await self._look()
            return self._current != refused

    async def run(self) -> None:
        """Follow the files, and do what was asked for; return only by being cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_SECONDS):
                    await self._asked.wait()
            try:
                await self.step()
            except Exception:
                log.exception("keys_bug")

    async def step(self) -> None:
        """Look, if there is a reason to."""
        asked, aloud, self._aloud = self._asked.is_set(), self._aloud, False
        self._asked.clear()
        moved = self._states != self._look_at_files()
        if asked or moved or self._clock() >= self._try_at:
            async with self._one_at_a_time:
                await self._look(aloud=aloud)
        if aloud and (names := self._changed_beside()):
            log.warning("restart_needed", changed=names, reason="only keys are read again")

    def tell(self) -> None:
        """Say which key is in use, until when, and how another one is given."""
        key = self._current
        log.info("key_in_use", kind=key.kind, ends=key.ends, another=self._how())

    async def _look(self, *, aloud: bool = False) -> None:
        """Read the keys again, and take another one that is good."""
        self._readings += 1
        before = self._states
        self._states = self._look_at_files()  # before reading, so that no change is overlooked
        if any(state and not stat.S_ISREG(state[0]) for state in self._states):
            if aloud:
                self._refuse("a pipe can be read once, and would be waited for", aloud=True)
            return
        try:
            fresh = with_keys_again(self._settings)
        except ConfigurationError as error:
            self._refuse("; ".join(error.problems), aloud=aloud)
            return
        if fresh.key == self._current:
            self._settle()
            if aloud or before not in (None, self._states):
                log.info("key_unchanged", ends=self._current.ends, another=self._how())
            return
        await self._try(fresh, aloud=aloud)

    async def _try(self, fresh: Settings, *, aloud: bool) -> None:
        self._redact.learn(fresh.secrets)
        if fresh.key != self._refused:
            self._refused, self._pauses = fresh.key, self._waits()
        try:
            await self._trial(fresh.key)
        except Refused as error:
            self._try_at = self._clock() + next(self._pauses)
            self._refuse(str(error), aloud=aloud)
        except Unavailable as error:
            self._try_at = self._clock() + next(self._pauses)
            log.debug("key_not_tried", error=str(error))
        else:
            self._take(fresh)

    def _take(self, fresh: Settings) -> None:
        self._settle()
        self._settings, self._current = fresh, fresh.key
        key = self._current
        log.info("key_changed", kind=key.kind, ends=key.ends, read_from=str(fresh.home(KEY)))
        for listener in self._listeners:
            try:
                listener(key)
            except Exception:
                log.exception("key_listener_failed")

    def _settle(self) -> None:
        """Nothing is open any more."""
        self._refused, self._try_at, self._said = None, inf, None

    def _refuse(self, problem: str, *, aloud: bool) -> None:
        """Say once what is wrong with what was found."""
        if aloud or problem != self._said:
            log.error("key_not_taken", error=problem, effect=KEPT, fix=self._how())
        self._said = problem

    def _how(self) -> str:
        """How a person gives another key."""
        return self._settings.home(KEY).renewal

    def _changed_beside(self) -> list[str]:
        try:
            return changed_since(self._settings)
        except ConfigurationError:
            return []  # it is what _look said

    def _look_at_files(self) -> list[_State]:
        homes = [self._settings.home(name) for name in KEYS]
        return [_state_of(home.file) for home in homes if home.file]


def _state_of(path: Path) -> _State:
    """What a file looks like behind all links; kubernetes swaps a link to replace a secret."""
    try:
        seen = path.stat()
    except OSError:
        return None
    return seen.st_mode, seen.st_mtime_ns, seen.st_ino, seen.st_size
