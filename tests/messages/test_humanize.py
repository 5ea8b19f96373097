"""Lengths and cuts, in Telegram's units."""

import pytest

from realtime_bridge.messages.humanize import paragraphs, readable, shorten


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("abc", 1, "…"),
        ("😀😀", 4, "😀😀"),
        ("😀😀😀", 4, "😀…"),
        ("a 😀😀", 4, "a…"),
        ("👩\u200d👧", 4, "👩…"),
    ],
)
def test_a_cut_leaves_whole_characters_and_no_loose_end(text, limit, expected):
    """No split emoji, space or joiner before the ellipsis."""
    assert shorten(text, limit) == expected


def test_an_integer_that_python_refuses_to_write_is_an_ellipsis():
    """Postgres stores numbers of 100,000 digits; nobody reads them."""
    assert readable(10**5000) == "…"


def test_megabytes_are_cut_before_they_are_read():
    """Only the beginning of a hostile value is processed."""
    assert readable("x" * 10_000_000, 10) == "xxxxxxxxx…"
    assert paragraphs("x\n" * 10_000_000, 10) == "x\nx\nx\nx\nx…"
