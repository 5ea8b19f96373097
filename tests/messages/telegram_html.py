"""A strict parser of Telegram's HTML: https://core.telegram.org/bots/api#html-style."""

import re
from html import unescape

_TOKEN = re.compile(
    r"(?P<text>[^<>&]+)"
    r"|(?P<entity>&(?:lt|gt|amp|quot|\#[0-9]+|\#x[0-9a-fA-F]+);)"
    r"|<(?P<open>b|strong|i|em|u|ins|s|strike|del|tg-spoiler|pre|code|blockquote"
    r'|blockquote\ expandable|span\ class="tg-spoiler"|a\ href="[^"<>]+"'
    r'|tg-emoji\ emoji-id="[0-9]+"|code\ class="language-[^"<>]+")>'
    r"|</(?P<close>[a-z-]+)>",
    re.VERBOSE,
)


def visible(html):
    """Return the text that the user reads; raise ValueError for what Telegram might refuse."""
    text, opened, at = [], [], 0
    while at < len(html):
        token = _TOKEN.match(html, at)
        if token is None:
            raise ValueError(f"no token at {html[at : at + 20]!r}")
        match token.lastgroup:
            case "text":
                text.append(token["text"])
            case "entity":
                text.append(unescape(token["entity"]))
            case "open":
                name = token["open"].split(" ")[0]
                if name in opened:
                    raise ValueError(f"{name} inside {name}")
                opened.append(name)
            case "close":
                if not opened or opened.pop() != token["close"]:
                    raise ValueError(f"unexpected end of {token['close']}")
        at = token.end()
    if opened:
        raise ValueError(f"{opened} not closed")
    return "".join(text)


def utf16_units(text):
    """Return the length as Telegram counts it; independent of the code under test."""
    return sum(2 if ord(character) > 0xFFFF else 1 for character in text)
