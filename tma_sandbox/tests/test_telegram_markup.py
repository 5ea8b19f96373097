"""Telegram's HTML: entities and errors are Telegram's."""

import pytest

from tma_sandbox.botapi.markup import MarkupError, parse_html


@pytest.mark.parametrize(
    ("html", "text", "entities"),
    [
        ("plain", "plain", []),
        ("<b>a</b>", "a", [("bold", 0, 1)]),
        ("<strong>a</strong><em>b</em>", "ab", [("bold", 0, 1), ("italic", 1, 1)]),
        ("<b>a<i>b</i></b>", "ab", [("bold", 0, 2), ("italic", 1, 1)]),
        ("<B>a</b>", "a", [("bold", 0, 1)]),
        ("<b>a</>", "a", [("bold", 0, 1)]),
        (
            "<u>a</u><s>b</s><code>c</code>",
            "abc",
            [("underline", 0, 1), ("strikethrough", 1, 1), ("code", 2, 1)],
        ),
        ("<span class='tg-spoiler'>a</span>", "a", [("spoiler", 0, 1)]),
        ("<blockquote>a</blockquote>", "a", [("blockquote", 0, 1)]),
        ("<blockquote expandable>a</blockquote>", "a", [("expandable_blockquote", 0, 1)]),
        ("😀<b>a</b>", "😀a", [("bold", 2, 1)]),
        ("<b>😀</b>", "😀", [("bold", 0, 2)]),
        ("<b></b>a", "a", []),
        ("a &lt;b&gt; &amp; &quot;", 'a <b> & "', []),
        ("&#1078;&#x416;&#128512;", "жЖ😀", []),
        ("&nbsp;&apos;& &lt", "&nbsp;&apos;& <", []),
        ("&#0;&#xD800;&#99999999999;&#;", "&#0;&#xD800;&#99999999999;&#;", []),
        ("a > b", "a > b", []),
    ],
)
def test_the_user_reads(html, text, entities):
    """Tags become entities in UTF-16 units, references become characters."""
    shown, found = parse_html(html)

    assert shown == text
    assert [(e["type"], e["offset"], e["length"]) for e in found] == entities


@pytest.mark.parametrize(
    ("html", "entity"),
    [
        (
            '<a href="https://x.y/?a=1&amp;b=2">t</a>',
            {"type": "text_link", "url": "https://x.y/?a=1&b=2"},
        ),
        ("<a href='tg://user?id=42'>t</a>", {"type": "text_mention"}),
        ("<a>example.com</a>", {"type": "text_link", "url": "http://example.com"}),
        (
            '<pre><code class="language-python">t</code></pre>',
            {"type": "pre", "language": "python"},
        ),
        (
            '<tg-emoji emoji-id="5368324170671202286">👍</tg-emoji>',
            {"custom_emoji_id": "5368324170671202286"},
        ),
    ],
)
def test_what_an_entity_carries(html, entity):
    """Links, languages and emoji ids are fields of their entity."""
    _, [found] = parse_html(html)

    assert entity.items() <= found.items()


def test_a_link_to_nowhere_is_plain_text():
    """A link with an address that Telegram does not accept has no entity."""
    assert parse_html('<a href="no link">t</a>') == ("t", [])


@pytest.mark.parametrize(
    ("html", "complaint"),
    [
        ("<b>a", 'Can\'t find end tag corresponding to start tag "b"'),
        ("a</b>", "Unexpected end tag at byte offset 1"),
        ("ж<b>a</i>", 'Unmatched end tag at byte offset 6, expected "</b>", found "</i>"'),
        ("<b><i>a</b></i>", 'Unmatched end tag at byte offset 7, expected "</i>", found "</b>"'),
        ("жж<Smith>", 'Unsupported start tag "smith" at byte offset 4'),
        ("a < b", 'Unsupported start tag "" at byte offset 2'),
        ("1 <2> 3", 'Unsupported start tag "2" at byte offset 2'),
        ("<b", "Unclosed start tag at byte offset 0"),
        ("<b>a</b", "Unclosed end tag at byte offset 4"),
        ("<br/>", 'Unsupported start tag "br/" at byte offset 0'),
        ('<a href="x>y</a>', "Unclosed start tag at byte offset 0"),
        ("<a href=x'y>z</a>", "Unexpected end of name token at byte offset 8"),
        ("<span>a</span>", 'Tag "span" must have class "tg-spoiler" at byte offset 0'),
        ("<a =x>y</a>", 'Empty attribute name in the tag "a" at byte offset 0'),
        ("<tg-emoji>x</tg-emoji>", "Invalid custom emoji identifier specified"),
    ],
)
def test_broken_markup_is_refused(html, complaint):
    """Names with angle brackets and unbalanced tags are refused, with the byte offset."""
    with pytest.raises(MarkupError) as caught:
        parse_html(html)

    assert str(caught.value) == complaint
