"""The demo's terminal screen: as many of the newest rows as fit."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleDimensions, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tma_sandbox.page import Timeline

_WIDE = 110  # columns from which every time gets a column of its own
_NARROW = 64  # columns below which a table has no room for the text
_LOW = 8  # lines below which the table's head costs too many rows
_STYLES = {"delivered": "green", "failed": "red", "withdrawn": "dim", "muted": "dim"}
_UNSENT = ("failed", "withdrawn", "muted")


class Screen:
    """Redraws on a terminal; elsewhere prints each row once, when it has ended."""

    def __init__(self, console: Console, address: str) -> None:
        """`address` is the page where the user can write rows."""
        self._console = console
        self._address = address
        drawn = console.is_terminal and not console.is_dumb_terminal
        # The alternate screen: nothing scrolls, and the window can be resized.
        self._live = Live(console=console, auto_refresh=False, screen=True) if drawn else None
        self._last: RenderableType | None = None
        self._told: set[int] = set()

    def __enter__(self) -> None:
        if self._live:
            self._live.start()

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()
            if self._last:
                self._console.print(self._last)

    def show(self, rows: Sequence[Timeline], totals: Mapping[str, int]) -> None:
        """Show the latest rows, oldest first, and how many there are in each state."""
        if self._live:
            self._last = frame(self._console, rows, totals, self._address)
            self._live.update(self._last, refresh=True)
            return
        for row in rows:
            if row.status in _STYLES and row.id not in self._told:
                self._told.add(row.id)
                self._console.print(line(row), markup=False, highlight=False, soft_wrap=True)


def frame(
    console: Console, rows: Sequence[Timeline], totals: Mapping[str, int], address: str
) -> RenderableType:
    """The address, as many of the newest rows as fit, and the totals.

    If not even one row fits, its text is cut; if that does not fit either, there is no row.
    """
    width, height = console.size
    head = _first_that_fits([f"Write rows yourself: {address}", address], width)
    foot = _first_that_fits(_sums(totals), width)
    for body in _bodies(rows, console.size):
        whole = Group(head, body, foot)
        # One line stays free for the cursor.
        if len(console.render_lines(whole, pad=False)) < height:
            return whole
    return Group(head, foot)


def line(row: Timeline) -> str:
    """One row's timeline and text, for output that is not redrawn."""
    timeline = f"inserted {_time(row)} -> claimed {_ms(row.claimed_ms)} -> sent {_ms(row.sent_ms)}"
    text = _text_of(row).replace("\n", "\n    ")
    end = f"{row.status} {_ms(row.delivered_ms)}"
    return f"#{row.id} {row.event_type}: {timeline} -> {end}\n    {text}"


def _bodies(rows: Sequence[Timeline], size: ConsoleDimensions) -> Iterator[RenderableType]:
    """Yield bodies with fewer and fewer rows, and last the newest with its text on one line."""
    for first in range(len(rows)):
        yield _body([(row, Text(_text_of(row))) for row in rows[first:]], size)
    if rows:
        cut = Text(" ".join(_text_of(rows[-1]).split()), no_wrap=True, overflow="ellipsis")
        yield _body([(rows[-1], cut)], size)


def _body(rows: Sequence[tuple[Timeline, Text]], size: ConsoleDimensions) -> RenderableType:
    width, height = size
    if width < _NARROW or height < _LOW:
        return Group(*(part for row, text in rows for part in _lines(row, text)))
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), expand=True)
    table.add_column("id", justify="right", no_wrap=True)
    table.add_column("event", no_wrap=True)
    if width >= _WIDE:
        table.add_column("inserted", no_wrap=True)
        for name in ("claimed", "sent"):
            table.add_column(name, justify="right", no_wrap=True)
    table.add_column("delivered", justify="right", no_wrap=True)
    table.add_column("what the user reads", ratio=1)
    for row, text in rows:
        early = (_time(row), _ms(row.claimed_ms), _ms(row.sent_ms)) if width >= _WIDE else ()
        end = _ms(row.delivered_ms) if row.status not in _UNSENT else row.status
        table.add_row(str(row.id), row.event_type, *early, end, text, style=_style(row))
    return table


def _lines(row: Timeline, text: Text) -> tuple[Text, Text]:
    end = _ms(row.delivered_ms) if row.delivered_ms is not None else row.status
    title = Text(f"#{row.id} {row.event_type} {end}", no_wrap=True, overflow="ellipsis")
    title.stylize(_style(row))
    return title, text


def _first_that_fits(texts: Sequence[str], width: int) -> Text:
    return Text(next((text for text in texts if len(text) <= width), texts[-1]), overflow="fold")


def _sums(totals: Mapping[str, int]) -> list[str]:
    """The totals, in shorter and shorter texts."""
    delivered, failed = totals.get("delivered", 0), totals.get("failed", 0)
    unwanted = totals.get("withdrawn", 0) + totals.get("muted", 0)
    waiting = sum(totals.values()) - delivered - failed - unwanted
    counts = f"{delivered} delivered, {failed} failed, {waiting} in progress"
    short = f"{delivered} ok, {failed} failed, {waiting} open"
    return [f"{counts}. Ctrl-C stops.", counts, short]


def _style(row: Timeline) -> str:
    return _STYLES.get(row.status, "yellow")


def _text_of(row: Timeline) -> str:
    return row.text or row.failure or ""


def _time(row: Timeline) -> str:
    return datetime.fromtimestamp(row.inserted).astimezone().strftime("%H:%M:%S.%f")[:-3]


def _ms(value: float | None) -> str:
    return "..." if value is None else f"+{value:.0f} ms"
