"""A sanitizer: any HTML becomes markup that Telegram accepts."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from html.parser import HTMLParser

from markupsafe import Markup

from realtime_bridge.messages.humanize import ELLIPSIS, head, strip_controls, utf16_length

TEXT_LIMIT = 4096  # UTF-16 units after entity parsing; https://core.telegram.org/bots/api

_PLAIN_TAGS = frozenset(
    ("b", "strong", "i", "em", "u", "ins", "s", "strike", "del", "tg-spoiler", "pre")
)
_TAGS = _PLAIN_TAGS | {"a", "span", "code", "tg-emoji", "blockquote"}
_VERBATIM = frozenset(("pre", "code"))

_SPACES = re.compile(r"[ \t\r\f\v]+")
_LINE_ENDS = re.compile(r" ?\n ?")
_EMPTY_LINES = re.compile(r"\n{3,}")

# Markup is a tag, str is text that is still to be escaped.
Piece = Markup | str


def sanitize(html: str, limit: int = TEXT_LIMIT) -> tuple[str, str]:
    """Return (html, plain): markup that Telegram accepts, and the text that the user reads.

    Only Telegram's tags are kept, and all of them are closed. Runs of spaces become one, except in
    `pre` and `code`. At most `limit` UTF-16 units of text remain, the last one an ellipsis if
    anything was cut. Accepts any string.

    >>> sanitize("<b>Ann &amp;  <p>Bob")
    ('<b>Ann &amp; Bob</b>', 'Ann & Bob')
    >>> sanitize("<i>Hello</i>, world", limit=4)
    ('<i>Hel…</i>', 'Hel…')
    """
    pieces: Sequence[Piece] = _Sanitizer.read(html)
    if sum(map(utf16_length, _texts(pieces))) > limit:
        pieces = list(_cut(pieces, limit))
    return (
        "".join(p if isinstance(p, Markup) else escape(p, quote=False) for p in pieces),
        "".join(_texts(pieces)),
    )


def fits(html: str) -> bool:
    """Tell whether the text of some HTML is within Telegram's limit."""
    return (
        2 * len(html) <= TEXT_LIMIT
        or sum(map(utf16_length, _texts(_Sanitizer.read(html)))) <= TEXT_LIMIT
    )


def _texts(pieces: Iterable[Piece]) -> Iterator[str]:
    return (piece for piece in pieces if not isinstance(piece, Markup))


def _cut(pieces: Iterable[Piece], limit: int) -> Iterator[Piece]:
    """Keep `limit` units of text, ellipsis included, and close the tags that are open there.

    The texts must be longer than `limit` in total.
    """
    left = limit
    unopened = 0
    for piece in pieces:
        if isinstance(piece, Markup):
            closes = piece.startswith("</")
            if left or (closes and not unopened):
                yield piece
            else:
                unopened += -1 if closes else 1
        elif left and utf16_length(piece) < left:
            left -= utf16_length(piece)
            yield piece
        elif left:
            yield head(piece, left - 1) + ELLIPSIS
            left = 0


class _Sanitizer(HTMLParser):
    """Parses anything; collects the text and the tags that Telegram knows, properly nested."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._pieces: list[Piece] = []
        self._text = ""  # since the last tag
        self._last = "\n"  # the last character written: a text does not begin with a space
        self._open: list[tuple[str, str]] = []  # tag, its end ("" if the tag is dropped)

    @classmethod
    def read(cls, html: str) -> list[Piece]:
        reader = cls()
        if "<" in html or "&" in html:
            reader.feed(html)
            reader.close()
        else:  # as most messages
            reader.handle_data(html)
        while reader._open:
            reader._close_innermost()
        reader._flush()
        return _trimmed(reader._pieces)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "br":
            self.handle_data("\n")
        if tag not in _TAGS:
            return
        nested = any(tag == outer for outer, _ in self._open)
        attributes = None if nested else self._attributes(tag, dict(attrs))
        if attributes is not None:
            self._write(f"<{tag}{attributes}>")
        self._open.append((tag, "" if attributes is None else f"</{tag}>"))

    def handle_endtag(self, tag: str) -> None:
        if all(tag != opened for opened, _ in self._open):
            return
        while self._close_innermost() != tag:
            pass

    def handle_data(self, data: str) -> None:
        self._text += data

    def parse_marked_section(self, i: int, report: bool = True) -> int:  # noqa: ARG002, FBT001, FBT002
        """Read `<![...>` as a comment, as newer Pythons do; older ones raise AssertionError."""
        return self.parse_bogus_comment(i)

    def _close_innermost(self) -> str:
        tag, end = self._open[-1]
        self._write(end)  # before the pop: the text inside still follows the rules of its tag
        self._open.pop()
        return tag

    def _write(self, markup: str) -> None:
        if markup:
            self._flush()
            self._pieces.append(Markup(markup))  # noqa: S704 - this is the sanitizer

    def _flush(self) -> None:
        text = strip_controls(self._text)
        if all(tag not in _VERBATIM for tag, _ in self._open):
            text = self._squeezed(text)
        if text:
            self._pieces.append(text)
            self._last = text[-1]
        self._text = ""

    def _squeezed(self, text: str) -> str:
        text = _EMPTY_LINES.sub("\n\n", _LINE_ENDS.sub("\n", _SPACES.sub(" ", text)))
        return text.lstrip(" ") if self._last in " \n" else text

    def _attributes(self, tag: str, given: dict[str, str | None]) -> str | None:
        """Write the attributes that Telegram accepts; None if it would not accept the tag."""
        match tag:
            case "a" if given.get("href"):
                return f' href="{escape(strip_controls(given["href"] or ""))}"'
            case "tg-emoji" if re.fullmatch(r"[0-9]+", given.get("emoji-id") or ""):
                return f' emoji-id="{given["emoji-id"]}"'
            case "span" if given.get("class") == "tg-spoiler":
                return ' class="tg-spoiler"'
            case "blockquote":
                return " expandable" if "expandable" in given else ""
            case "code":
                language = re.fullmatch(r"language-[\w+#.-]+", given.get("class") or "")
                in_pre = bool(self._open) and self._open[-1][0] == "pre"
                return f' class="{language[0]}"' if language and in_pre else ""
            case _:
                return "" if tag in _PLAIN_TAGS else None


def _trimmed(pieces: list[Piece]) -> list[Piece]:
    """Strip whitespace from both ends of the text, as Telegram does."""
    _strip_first(pieces, range(len(pieces)), str.lstrip)
    _strip_first(pieces, reversed(range(len(pieces))), str.rstrip)
    return [piece for piece in pieces if piece]


def _strip_first(pieces: list[Piece], order: Iterable[int], strip: Callable[[str], str]) -> None:
    """Strip texts in this order until one of them is not empty."""
    for i in order:
        if isinstance(pieces[i], Markup):
            continue
        pieces[i] = strip(pieces[i])
        if pieces[i]:
            return
