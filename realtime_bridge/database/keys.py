"""The key in use, and how a running bridge comes to use another one."""

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
    reload_keys,
)

log = structlog.get_logger()

KEY = "SUPABASE_KEY"
KEPT = "the bridge keeps the key in use"
CHECK_EVERY_SECONDS = 1.0
# Also the first call of a start: a key that it accepts is good enough.
TRIAL_FUNCTION = "tma_event_stats"

# Calls Supabase with a key; raises Refused or Unavailable.
Trial = Callable[[Key], Awaitable[object]]
# Mode, mtime, inode and size of a file, by which a change is noticed; None if it does not exist.
_FileState = tuple[int, int, int, int] | None


def trial_of(settings: Settings) -> Trial:
    """Make the trial for a project; each is made on a connection of its own."""

    async def trial(key: Key) -> None:
        async with Rpc(settings.supabase_url, lambda: key, redact=settings.redact) as rpc:
            await rpc.call(TRIAL_FUNCTION)

    return trial


def renewing_rpc(settings: Settings) -> Rpc:
    """Make an Rpc that looks for a new key when Supabase refuses the one in use."""
    keys = Keys(settings, trial_of(settings))
    return Rpc(settings.supabase_url, keys.current, keys.replace, settings.redact)


class Keys:
    """Holds the key in use, and looks for a new one where the settings came from.

    It looks when the file that NAME_FILE names changes, at SIGHUP, and when Supabase refuses the
    key in use. A new key is used once it passes the validation of settings and Supabase accepts it;
    until then the key in use stays.
    """

    def __init__(
        self,
        settings: Settings,
        trial: Trial,
        *,
        waits: Callable[[], Iterator[float]] = delays,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start with the settings' key. `waits()`: seconds between trials of a key that failed."""
        self._settings = settings
        self._redact = settings.redact  # shared by all, so it must learn new keys
        self._current = settings.key
        self._trial = trial
        self._waits = waits
        self._clock = clock
        self._listeners: list[Callable[[Key], None]] = []
        self._lock = asyncio.Lock()
        self._reads = 0  # started so far
        self._requested = asyncio.Event()
        self._by_hand = False  # a person asked: log the result, whatever it is
        self._file_states: list[_FileState] | None = None  # when the files were last read
        self._rejected: Key | None = None  # a new key whose trial failed
        self._pauses = waits()
        self._retry_at = inf
        self._last_problem: str | None = None

    def current(self) -> Key:
        """Return the key to use for new calls."""
        return self._current

    def subscribe(self, listener: Callable[[Key], None]) -> None:
        """Call `listener` with each new key from now on."""
        self._listeners.append(listener)

    def reload(self) -> None:
        """Look for a new key because a person asks; callable from a signal handler."""
        self._by_hand = True
        self._requested.set()

    def suspect(self) -> None:
        """Look for a new key because the one in use may be to blame for a failure."""
        self._requested.set()

    async def replace(self, refused: Key) -> bool:
        """Look for a new key because Supabase refused this one; return whether there is one now.

        Concurrent callers share one look.
        """
        before = self._reads
        async with self._lock:
            if self._current == refused and self._reads == before:
                await self._look()
            return self._current != refused

    async def run(self) -> None:
        """Look whenever there is a reason to, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_EVERY_SECONDS):
                    await self._requested.wait()
            try:
                await self.step()
            except Exception:
                log.exception("keys_bug")

    async def step(self) -> None:
        """Look for a new key if there is a reason to."""
        requested, by_hand, self._by_hand = self._requested.is_set(), self._by_hand, False
        self._requested.clear()
        changed = self._file_states != self._stat_files()
        if requested or changed or self._clock() >= self._retry_at:
            async with self._lock:
                await self._look(by_hand=by_hand)
        if by_hand and (names := self._other_changes()):
            log.warning("restart_needed", changed=names, reason="only keys are read again")

    def log_current(self) -> None:
        """Log which key is in use, until when, and how to change it."""
        key = self._current
        log.info("key_in_use", kind=key.kind, ends=key.ends, another=self._how_to_change())

    async def _look(self, *, by_hand: bool = False) -> None:
        """Read the keys again, and use a new one that is good."""
        self._reads += 1
        before = self._file_states
        self._file_states = self._stat_files()  # before reading, so that no change is missed
        if any(state and not stat.S_ISREG(state[0]) for state in self._file_states):
            if by_hand:
                self._reject("a pipe cannot be read a second time", by_hand=True)
            return
        try:
            fresh = reload_keys(self._settings)
        except ConfigurationError as error:
            self._reject("; ".join(error.problems), by_hand=by_hand)
            return
        if fresh.key == self._current:
            self._forget_problems()
            if by_hand or before not in (None, self._file_states):
                log.info("key_unchanged", ends=self._current.ends, another=self._how_to_change())
            return
        await self._try(fresh, by_hand=by_hand)

    async def _try(self, fresh: Settings, *, by_hand: bool) -> None:
        self._redact.learn(fresh.secrets)
        if fresh.key != self._rejected:
            self._rejected, self._pauses = fresh.key, self._waits()
        try:
            await self._trial(fresh.key)
        except Refused as error:
            self._retry_at = self._clock() + next(self._pauses)
            self._reject(str(error), by_hand=by_hand)
        except Unavailable as error:
            self._retry_at = self._clock() + next(self._pauses)
            log.debug("key_not_tried", error=str(error))
        else:
            self._use(fresh)

    def _use(self, fresh: Settings) -> None:
        self._forget_problems()
        self._settings, self._current = fresh, fresh.key
        key = self._current
        log.info("key_changed", kind=key.kind, ends=key.ends, read_from=str(fresh.location(KEY)))
        for listener in self._listeners:
            try:
                listener(key)
            except Exception:
                log.exception("key_listener_failed")

    def _forget_problems(self) -> None:
        self._rejected, self._retry_at, self._last_problem = None, inf, None

    def _reject(self, problem: str, *, by_hand: bool) -> None:
        """Log once what is wrong with the new key."""
        if by_hand or problem != self._last_problem:
            log.error("key_not_taken", error=problem, effect=KEPT, fix=self._how_to_change())
        self._last_problem = problem

    def _how_to_change(self) -> str:
        """What a person does to change the key."""
        return self._settings.location(KEY).how_to_change

    def _other_changes(self) -> list[str]:
        try:
            return changed_since(self._settings)
        except ConfigurationError:
            return []  # _look has logged it

    def _stat_files(self) -> list[_FileState]:
        locations = [self._settings.location(name) for name in KEYS]
        return [_state_of(place.file) for place in locations if place.file]


def _state_of(path: Path) -> _FileState:
    """The state of a file behind all links: Kubernetes swaps a link to replace a secret."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mode, found.st_mtime_ns, found.st_ino, found.st_size
