"""The demo's screen in windows of several sizes: the newest rows, the address, the totals."""

from io import StringIO

import pytest
from rich.console import Console

from tma_sandbox.page import Timeline
from tma_sandbox.screen import Screen, frame, line

ADDRESS = "http://127.0.0.1:54321/demo"
LONG = "Step 1 marked complete for Ann_Marie <Smith>.\nNext: Step 2 — Send it (due in 3 days)"
TOTALS = {"delivered": 110, "failed": 2, "pending": 1, "processing": 1}


def way(number: int, text: str = LONG, status: str = "delivered") -> Timeline:
    """A row with this status."""
    sent = 12.0 if text else None
    return Timeline(
        id=number,
        event_type="step_completed",
        lead_name="Ann",
        status=status,
        failure=None,
        attempt=1,
        inserted=1_700_000_000.0 + number,
        claimed_ms=5.0,
        fence_ms=6.0,
        sent_ms=sent,
        delivered_ms=20.0 if status == "delivered" else None,
        text=text,
    )


ROWS = [way(107), way(108), way(109), way(110, "🚀 Żaneta"), *map(way, (111, 112, 113))]
ROWS.append(way(114, "", "processing"))


def drawn(width: int, height: int, rows=ROWS) -> list[str]:
    """The lines of the frame on a terminal of this size."""
    console = Console(file=StringIO(), width=width, height=height, force_terminal=True)
    plain = Console(file=StringIO(), width=width, height=height)
    plain.print(frame(console, rows, TOTALS, ADDRESS))
    return plain.file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("width", "height", "at_least"),
    [(200, 50, 8), (120, 24, 8), (80, 24, 8), (80, 12, 4), (64, 24, 6), (50, 20, 6), (30, 10, 2)],
)
def test_the_newest_rows_stay_with_address_and_totals(width, height, at_least):
    """The frame fits the window, and the oldest rows are left out."""
    lines = drawn(width, height)
    shown = [number for number in range(107, 115) if any(str(number) in x for x in lines[1:-1])]

    assert len(lines) < height
    assert max(map(len, lines)) <= width
    assert ADDRESS in lines[0]
    assert "110" in lines[-1]
    assert "2 failed" in lines[-1]
    assert shown == list(range(115 - len(shown), 115))
    assert len(shown) >= at_least


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (40, 24)])
def test_the_text_is_there_whole(width, height):
    """Wrapped if necessary, and never cut while there is room for the row."""
    told = " ".join(" ".join(drawn(width, height, [way(113)])).replace("│", " ").split())

    assert "Ann_Marie <Smith>." in told
    assert "(due in 3 days)" in told


@pytest.mark.parametrize(("width", "height"), [(80, 8), (80, 6), (30, 5)])
def test_in_a_low_window_the_newest_row_stays_with_its_text_cut(width, height):
    """Even if a row is taller than the window."""
    lines = drawn(width, height, [way(112), way(113, LONG * 5)])

    assert len(lines) < height
    assert ADDRESS in lines[0]
    assert "2 failed" in lines[-1]
    assert "Step 1" in "".join(lines)


@pytest.mark.parametrize("rows", [[], ROWS])
@pytest.mark.parametrize(("width", "height"), [(80, 3), (20, 3), (1, 1), (200, 1)])
def test_a_window_too_small_for_anything_is_no_error(width, height, rows):
    """A window can be resized to any size."""
    drawn(width, height, rows)


def test_what_was_seen_last_stays_on_the_terminal():
    """The alternate screen disappears at the end, and the last frame is printed."""
    console = Console(file=StringIO(), width=80, height=24, force_terminal=True)
    screen = Screen(console, ADDRESS)
    with screen:
        screen.show(ROWS, TOTALS)
        before = console.file.getvalue()
    after = console.file.getvalue().removeprefix(before)

    assert ADDRESS in before
    assert "step_completed" in after
    assert ADDRESS in after


def test_elsewhere_each_row_is_told_once_when_it_has_ended():
    """Without a terminal nothing is redrawn."""
    console = Console(file=StringIO(), width=80)
    screen = Screen(console, ADDRESS)
    with screen:
        screen.show([way(1), way(2, "", "processing")], TOTALS)
        screen.show([way(1), way(2)], TOTALS)

    assert console.file.getvalue() == f"{line(way(1))}\n{line(way(2))}\n"
