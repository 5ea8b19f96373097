"""A message as Telegram takes it, and its button."""

from dataclasses import dataclass
from typing import Literal, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from realtime_bridge.messages.markup import sanitize
from realtime_bridge.model import NO_OPTIONS, SendOptions

_TELEGRAM_HOSTS = frozenset(("t.me", "telegram.me", "telegram.dog"))


@dataclass(frozen=True, slots=True)
class Button:
    """A button below a message that opens `url`: as a link, or as a Mini App inside Telegram.

    Telegram takes `web_app` in private chats only; elsewhere it is sent as a link.
    """

    text: str
    url: str
    kind: Literal["url", "web_app"] = "url"


@dataclass(frozen=True, slots=True)
class Message:
    """A text in Telegram's HTML, and without markup (for when Telegram refuses the HTML).

    `options`: how to send it.
    """

    html: str
    plain: str
    button: Button | None = None
    options: SendOptions = NO_OPTIONS

    @classmethod
    def from_html(
        cls, html: str, button: Button | None = None, options: SendOptions = NO_OPTIONS
    ) -> Self:
        """Make a message of any HTML: reduced to Telegram's tags, shortened to its limit."""
        sanitized, plain = sanitize(html)
        return cls(sanitized, plain, button, options)


def lead_button(mini_app_url: str, lead_id: int, text: str) -> Button:
    """Make a button that opens a Mini App at a lead.

    A link to Telegram carries the lead as the start parameter, any other address in its query.

    >>> lead_button("https://t.me/my_bot/app", 7, "Open").url
    'https://t.me/my_bot/app?startapp=lead_7'
    >>> lead_button("https://app.example/?a=1#/leads", 7, "Open").url
    'https://app.example/?a=1&lead_id=7#/leads'
    """
    parts = urlsplit(mini_app_url)
    is_link = parts.scheme == "tg" or parts.hostname in _TELEGRAM_HOSTS
    name, value = ("startapp", f"lead_{lead_id}") if is_link else ("lead_id", str(lead_id))
    others = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != name]
    url = urlunsplit(parts._replace(query=urlencode([*others, (name, value)])))
    is_web_app = parts.scheme == "https" and not is_link  # Telegram refuses web_app without TLS
    return Button(text, url, "web_app" if is_web_app else "url")
