"""Any HTML becomes Telegram's HTML."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.messages.markup import fits, sanitize

from .telegram_html import utf16_units, visible

FRAGMENTS = st.sampled_from(
    [
        "<b>",
        "</b>",
        "<pre>",
        "</pre>",
        '<code class="language-py">',
        "</code>",
        "<p>",
        "</p>",
        "<br>",
        '<a href="https://x.example/?a=1&amp;b=%22">',
        "<a href='\ud83dx&#0;\n'>",
        "<a>",
        "</a>",
        "<span class='tg-spoiler'>",
        "<span>",
        "</span>",
        "<blockquote expandable>",
        "</blockquote>",
        "<tg-emoji emoji-id='5'>",
        "</tg-emoji>",
        "<!-- x -->",
        "<!",
        "<![",
        "<![if x[",
        "<![CDATA[",
        "]]>",
        "<?",
        "<script>",
        "&amp;",
        "&nbsp;",
        "&#0;",
        "&lt",
        "&",
        "<",
        ">",
        '"',
        "  ",
        "\n\n\n",
        "😀",
        "\ud83d",
    ]
)
HTML = st.lists(FRAGMENTS | st.text(st.characters(), max_size=8), max_size=20).map("".join)


@given(html=HTML, limit=st.integers(1, 40))
def test_any_html_becomes_telegrams(html, limit):
    """Valid, within the limit, and its text is the plain text, wherever it is cut."""
    sanitized, plain = sanitize(html, limit)

    assert visible(sanitized) == plain
    assert utf16_units(plain) <= limit
    assert sanitized.encode().decode() == sanitized


@given(html=HTML)
def test_sanitized_html_stays_as_it_is(html):
    """Sanitizing twice changes nothing."""
    once, plain = sanitize(html)

    assert sanitize(once) == (once, plain)


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<b>x</b>", "<b>x</b>"),
        ("<b>x", "<b>x</b>"),
        ("<b><i>x</b>y</i>", "<b><i>x</i></b>y"),
        ("x</b>", "x"),
        ("<p>x</p>", "x"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<b>a<b>b</b>c</b>", "<b>abc</b>"),
        (
            "<a href='https://x.example/?a=1&b=2'>x</a>",
            '<a href="https://x.example/?a=1&amp;b=2">x</a>',
        ),
        ("<a>x</a>", "x"),
        ("<span class='tg-spoiler'>a<span>b</span>c</span>", '<span class="tg-spoiler">abc</span>'),
        ("<tg-emoji emoji-id='5'>👍</tg-emoji>", '<tg-emoji emoji-id="5">👍</tg-emoji>'),
        ("<tg-emoji emoji-id='x'>👍</tg-emoji>", "👍"),
        ("<blockquote expandable>x</blockquote>", "<blockquote expandable>x</blockquote>"),
        (
            "<pre><code class='language-python'>a\n  b</code></pre>",
            '<pre><code class="language-python">a\n  b</code></pre>',
        ),
        ("<code class='language-python'>a</code>", "<code>a</code>"),
        ("a  <b>  b </b>  c", "a <b>b </b>c"),
        (" \n a \n\n\n\n b \n ", "a\n\nb"),
        ("1 < 2 & 3 > 2", "1 &lt; 2 &amp; 3 &gt; 2"),
        ("a&nbsp;b&copy;", "a\xa0b©"),
        ("<!-- c -->x", "x"),
        ("<![if x]>y<![endif]>", "y"),
    ],
)
def test_html_is_reduced_to_what_telegram_knows(html, expected):
    """Unknown tags are dropped and their text stays; open tags are closed."""
    assert sanitize(html)[0] == expected


def test_a_cut_closes_what_is_open_and_opens_nothing_more():
    """The ellipsis is inside the tag whose text was cut."""
    html = "<b>one <i>two three</i></b> <u>four</u>"

    assert sanitize(html, 8) == ("<b>one <i>two…</i></b>", "one two…")


def test_a_cut_between_two_texts_still_shows():
    """A text that ends exactly at the limit loses its last character to the ellipsis."""
    assert sanitize("<b>abc</b>def", 3) == ("<b>ab…</b>", "ab…")


def test_a_cut_splits_no_character():
    """An emoji takes two units, and is kept or dropped as a whole."""
    assert sanitize("😀😀😀", 4)[1] == "😀…"
    assert sanitize("😀😀", 4)[1] == "😀😀"


def test_fits_counts_text_not_markup():
    """Entities count as one character, and tags as none."""
    assert fits("&amp;" * 4096)
    assert fits("<b>x</b>" * 4096)
    assert not fits("x" * 4097)
    assert not fits("😀" * 2049)
