"""Telegram's HTML: parses it as Telegram's server does, with the same errors.

Follows `do_parse_html` of Telegram's own library (tdlib, MessageEntity.cpp), including error texts
and byte offsets. This is not general HTML: `&nbsp;` stays as it is and `</>` closes any tag.
"""

import re
from dataclasses import dataclass
from typing import Any

Entity = dict[str, Any]
"""A Bot API MessageEntity: `type`, `offset` and `length` in UTF-16 units, and other fields."""

_TYPES = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "tg-spoiler": "spoiler",
    "span": "spoiler",
    "blockquote": "blockquote",
    "code": "code",
    "pre": "pre",
    "a": "text_link",
    "tg-emoji": "custom_emoji",
}
_NAMED = {b"lt": "<", b"gt": ">", b"amp": "&", b"quot": '"'}
_SPACE = b" \t\r\n\v"
_NUL = b"\0"  # marks the end of the text
_CONTINUATION = range(0x80, 0xC0)  # the bytes of a UTF-8 character after its first
_REFERENCE = re.compile(rb"&(?:#x([0-9a-fA-F]*)|#([0-9]*)|([a-zA-Z]*));?")
_LONGEST_NUMBER = 9


class MarkupError(ValueError):
    """The text is not Telegram's HTML; the message is Telegram's."""


def utf16_length(text: str) -> int:
    """The length of a text as Telegram counts it, in UTF-16 units."""
    return len(text.encode("utf-16-le")) // 2


def parse_html(text: str) -> tuple[str, list[Entity]]:
    """Return the text that the user reads, and its entities in order. Raises MarkupError."""
    return _Parser(text).parse()


@dataclass(frozen=True, slots=True)
class _Tag:
    """A start tag whose end tag has not come yet."""

    name: str
    attributes: dict[str, str]
    offset: int  # in UTF-16 units of the shown text
    shown: int  # pieces shown before it


class _Parser:
    def __init__(self, text: str) -> None:
        self._source = text.replace("\0", "").encode() + _NUL
        self._at = 0
        self._shown: list[str] = []
        self._offset = 0
        self._open: list[_Tag] = []
        self._entities: list[Entity] = []

    def parse(self) -> tuple[str, list[Entity]]:
        while not self._next_in(_NUL):
            if not self._next_in(b"<"):
                self._show(self._character())
            elif self._source[self._at + 1] == ord("/"):
                self._end_tag()
            else:
                self._start_tag()
        if self._open:
            name = self._open[-1].name
            raise MarkupError(f'Can\'t find end tag corresponding to start tag "{name}"')
        self._entities.sort(key=lambda entity: (entity["offset"], -entity["length"]))
        return "".join(self._shown), self._entities

    # Reading

    def _next_in(self, characters: bytes) -> bool:
        return self._source[self._at] in characters

    def _read_until(self, stop: bytes) -> str:
        """Read up to the first of these bytes, or to the end."""
        start = self._at
        while not self._next_in(stop + _NUL):
            self._at += 1
        return self._source[start : self._at].decode()

    def _skip_space(self) -> None:
        while self._next_in(_SPACE):
            self._at += 1

    def _character(self) -> str:
        """Read the next character, decoding an HTML character reference."""
        if self._next_in(b"&") and (decoded := self._reference()):
            return decoded
        end = self._at + 1
        while self._source[end] in _CONTINUATION:
            end += 1
        character = self._source[self._at : end].decode()
        self._at = end
        return character

    def _reference(self) -> str | None:
        """Read and decode `&...;`; None, reading nothing, if it is not a reference."""
        found = _REFERENCE.match(self._source, self._at)
        if found is None:
            return None
        hexadecimal, decimal, name = found.groups()
        if name is not None:
            decoded = _NAMED.get(name)
        else:
            digits, base = (decimal, 10) if hexadecimal is None else (hexadecimal, 16)
            decoded = _numbered(int(digits or b"0", base), len(digits))
        if decoded:
            self._at = found.end()
        return decoded

    # Tags

    def _start_tag(self) -> None:
        begin = self._at
        self._at += 1
        name = self._read_until(_SPACE + b">").lower()
        if self._next_in(_NUL):
            raise MarkupError(f"Unclosed start tag at byte offset {begin}")
        if name not in _TYPES:
            raise MarkupError(f'Unsupported start tag "{name}" at byte offset {begin}')
        attributes = self._attributes(name, begin)
        if name == "span" and attributes.get("class") != "tg-spoiler":
            raise MarkupError(f'Tag "span" must have class "tg-spoiler" at byte offset {begin}')
        self._open.append(_Tag(name, attributes, self._offset, len(self._shown)))

    def _attributes(self, tag: str, begin: int) -> dict[str, str]:
        """Read the attributes of a start tag and its `>`."""
        attributes = {}
        self._skip_space()
        while not self._next_in(b">"):
            name = self._read_until(_SPACE + b"=>/\"'")
            if not name:
                raise MarkupError(f'Empty attribute name in the tag "{tag}" at byte offset {begin}')
            self._skip_space()
            value = ""
            if self._next_in(b"="):
                self._at += 1
                self._skip_space()
                value = self._attribute_value()
                self._skip_space()
            if self._next_in(_NUL):
                raise MarkupError(f"Unclosed start tag at byte offset {begin}")
            attributes[name] = value
        self._at += 1
        return attributes

    def _attribute_value(self) -> str:
        start = self._at
        if not self._next_in(b"'\""):
            value = self._read_until(_SPACE + b">").lower()
            if not re.fullmatch(r"[a-z0-9.-]*", value):
                raise MarkupError(f"Unexpected end of name token at byte offset {start}")
            return value
        quote = self._source[start : start + 1]
        self._at += 1
        value = ""
        while not self._next_in(quote + _NUL):
            value += self._character()
        if self._next_in(quote):
            self._at += 1
        return value

    def _end_tag(self) -> None:
        begin = self._at
        if not self._open:
            raise MarkupError(f"Unexpected end tag at byte offset {begin}")
        self._at += 2
        name = self._read_until(_SPACE + b">")
        self._skip_space()
        if not self._next_in(b">"):
            raise MarkupError(f"Unclosed end tag at byte offset {begin}")
        self._at += 1
        tag = self._open.pop()
        if name and name != tag.name:
            raise MarkupError(
                f"Unmatched end tag at byte offset {begin}, "
                f'expected "</{tag.name}>", found "</{name}>"'
            )
        self._add_entity(tag)

    # Writing

    def _show(self, text: str) -> None:
        self._shown.append(text)
        self._offset += utf16_length(text)

    def _add_entity(self, tag: _Tag) -> None:
        length = self._offset - tag.offset
        details = _details(tag, "".join(self._shown[tag.shown :]))
        if length == 0 or details is None:
            return
        entity = {"offset": tag.offset, "length": length, "type": _TYPES[tag.name], **details}
        inner = self._entities[-1] if self._entities else None
        same_place = inner and (inner["offset"], inner["length"]) == (tag.offset, length)
        if inner and same_place and {inner["type"], entity["type"]} == {"pre", "code"}:
            inner |= {"type": "pre", **details}  # <pre><code class="language-..."> is one entity
        else:
            self._entities.append(entity)


def _numbered(code: int, digits: int) -> str | None:
    surrogate = 0xD800 <= code <= 0xDFFF  # noqa: PLR2004 - Unicode's surrogates
    if not 0 < code < 0x10FFFF or surrogate or digits > _LONGEST_NUMBER:  # noqa: PLR2004
        return None
    return chr(code)


def _details(tag: _Tag, shown: str) -> dict[str, Any] | None:
    """The other fields of an entity; None if Telegram shows the text without one."""
    match tag.name:
        case "a":
            return _link(tag.attributes.get("href") or shown)
        case "code":
            language = tag.attributes.get("class", "")
            prefix = "language-"
            return {"language": language[len(prefix) :]} if language.startswith(prefix) else {}
        case "tg-emoji":
            emoji = tag.attributes.get("emoji-id", "")
            if not emoji.isdecimal():
                raise MarkupError("Invalid custom emoji identifier specified")
            return {"custom_emoji_id": emoji}
        case "blockquote" if "expandable" in tag.attributes:
            return {"type": "expandable_blockquote"}
        case _:
            return {}


def _link(url: str) -> dict[str, Any] | None:
    if user := re.fullmatch(r"tg://user\?id=(\d+)", url):
        person = {"id": int(user[1]), "is_bot": False, "first_name": "User"}
        return {"type": "text_mention", "user": person}
    if re.match(r"(https?|tg|ton)://\S", url, re.IGNORECASE):
        return {"url": url}
    if re.match(r"[\w-]+(\.[\w-]+)+([/?#]|$)", url):
        return {"url": f"http://{url}"}
    return None
