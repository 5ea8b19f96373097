"""From an event to the message that a person reads: text by template, and a button."""

import inspect
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from html import escape
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import structlog
from babel import Locale
from jinja2 import ChainableUndefined, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from realtime_bridge.messages import dates
from realtime_bridge.messages import humanize as values
from realtime_bridge.messages.markup import TEXT_LIMIT, fits, tidy
from realtime_bridge.messages.templates import LAST_RESORT, Found, Templates, babel_locale
from realtime_bridge.model import TmaEvent
from realtime_bridge.settings import opens_mini_app

log = structlog.get_logger()

# How long one value may be, tried in turn until the whole message fits: one endless name shall
# not push out the rest of the sentence.
_VALUE_LIMITS = (TEXT_LIMIT, 2000, 1000, 500, 250)
_UNNAMED = "your lead"  # what the database says for a lead without a name
_UNKNOWN = "unknown"
_WHOLE = re.compile(r"[0-9]{1,15}")
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
    """A text in Telegram's HTML, and without markup (for when Telegram refuses the HTML)."""

    html: str
    plain: str
    button: Button | None = None

    @classmethod
    def from_html(cls, html: str, button: Button | None = None) -> Self:
        """Make a message of any HTML: reduced to Telegram's tags, shortened to its limit."""
        tidied, plain = tidy(html)
        return cls(tidied, plain, button)


# `str` is text that is still to be escaped, `markupsafe.Markup` is HTML; None: the template.
Renderer = Callable[[TmaEvent], str | Message | None]


class Messages:
    """Renders events; whatever an event contains, a readable message comes out.

    `templates_dir` overrides and adds templates (`<locale>/<event_type>.html`), `mini_app_url`
    adds the button. Raises BadTemplates for a folder that cannot be used and ValueError for a
    URL that no button can open.
    """

    def __init__(
        self,
        *,
        templates_dir: Path | None = None,
        default_locale: str = LAST_RESORT,
        mini_app_url: str | None = None,
    ) -> None:
        self._catalog = Templates(
            _environment(), templates_dir=templates_dir, default_locale=default_locale
        )
        self._mini_app_url = mini_app_url and _checked(mini_app_url)
        self._renderers: dict[str, Renderer] = {}

    def register(self, event_type: str, function: Renderer) -> None:
        """Let a function write the messages of an event type, in place of the template.

        It returns text (escaped), `Markup` or a `Message` (with its own button or none), or None
        to leave this event to the template. If it raises, the user gets the generic text.
        """
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"the function for {event_type} must not be async")
        self._renderers[event_type] = function

    def render(self, event: TmaEvent, *, now: datetime) -> Message:
        """Write the message for an event. Never raises for any content of the event."""
        for way in (self._specific, self._generic):
            try:
                message = way(event, now)
            except Exception as error:  # noqa: BLE001 - users' functions and templates: anything
                log.warning("message_failed", id=event.id, type=event.event_type, **_what(error))
            else:
                if message and not values.is_blank(message.plain):
                    return message
        name = values.readable(event.lead_name) or _UNNAMED
        return Message.from_html(escape(f"Action completed for {name}."))

    def _specific(self, event: TmaEvent, now: datetime) -> Message | None:
        function = self._renderers.get(event.event_type)
        match function and function(event):
            case None:
                return self._by_template(event.event_type, event, now)
            case Message(html=html, button=button):
                return Message.from_html(html, button)
            case Markup() as html:
                return Message.from_html(html, self._button(event, event.locale))
            case str(text):
                return Message.from_html(escape(text), self._button(event, event.locale))
            case other:
                raise TypeError(f"a message is a str, a Message or None, not {type(other)}")

    def _generic(self, event: TmaEvent, now: datetime) -> Message | None:
        return self._by_template(_UNKNOWN, event, now)

    def _by_template(self, event_type: str, event: TmaEvent, now: datetime) -> Message | None:
        found = self._catalog.find(event_type, event.locale)
        if found is None:
            return None
        voice = self._voice(event, now, found)
        unnamed = self._catalog.word("lead", found.language, _UNNAMED)
        html = ""
        for limit in _VALUE_LIMITS:
            html = found.template.render(_context(event, voice, unnamed, limit))
            if fits(html):
                break
        return Message.from_html(html, self._button(event, found.language))

    def _voice(self, event: TmaEvent, now: datetime, found: Found) -> "_Voice":
        zone = event.payload.get("timezone") or event.payload.get("tz")
        return _Voice(
            locale=babel_locale(found.language, event.locale),
            words=self._catalog.own_words(found.language),
            timezone=dates.timezone(values.readable(zone)),
            now=now,
        )

    def _button(self, event: TmaEvent, language: str | None) -> Button | None:
        if not self._mini_app_url or event.lead_id is None:
            return None
        text = self._catalog.word("button", language, "Open lead")
        return _lead_button(self._mini_app_url, event.lead_id, text)


@dataclass(frozen=True, slots=True)
class _Voice:
    """How to speak to one user: what filters need beside the value."""

    locale: Locale
    words: Mapping[str, str]
    timezone: tzinfo
    now: datetime

    def day(self, value: Any) -> str:
        return dates.relative_day(
            values.readable(value),
            now=self.now,
            timezone=self.timezone,
            locale=self.locale,
            words=self.words,
        )

    def counted(self, value: Any, forms: Mapping[str, str]) -> str:
        text = str(len(value)) if isinstance(value, list) else values.readable(value)
        if not _WHOLE.fullmatch(text):
            return ""
        return f"{text} {forms.get(self.locale.plural_form(int(text)), forms['other'])}"


_VOICE = "_voice"  # its name in a template's context


def _context(event: TmaEvent, voice: _Voice, unnamed: str, limit: int) -> dict[str, Any]:
    """Build what a template sees: the payload's keys as text, ours above them, `payload` as is."""
    payload = values.capped(event.payload, limit)
    name = values.readable(event.lead_name, limit)
    return {
        **{key: values.readable(value, limit) for key, value in payload.items()},
        "payload": payload,
        "event_type": event.event_type,
        "lead_id": event.lead_id,
        "lead_name": unnamed if name in ("", _UNNAMED) else name,
        _VOICE: voice,
    }


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        autoescape=True,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=ChainableUndefined,
        finalize=_finalize,
    )
    environment.globals.clear()  # `range`, `dict` ...: here they are payload keys, or missing
    environment.filters |= {"day": _day, "counted": _counted, "paragraphs": _paragraphs}
    return environment


def _finalize(value: Any) -> str:
    """Make what a template prints readable; a text's own newlines are not the template's."""
    if isinstance(value, Markup):
        return value
    return values.one_line(value) if isinstance(value, str) else values.readable(value)


@pass_context
def _day(context: Context, value: Any) -> str:
    """Say a date as the user would: `{{ due|day }}`."""
    voice: _Voice = context[_VOICE]
    return voice.day(value)


@pass_context
def _counted(context: Context, value: Any, **forms: str) -> str:
    """Say a number with its noun, by CLDR's plural forms; nothing for what is no number."""
    voice: _Voice = context[_VOICE]
    return voice.counted(value, forms)


def _paragraphs(value: Any) -> Markup:
    """Write a value with its line breaks, which elsewhere become spaces."""
    return Markup(escape(values.paragraphs(value)))  # noqa: S704 - escaped right here


def _lead_button(mini_app_url: str, lead_id: int, text: str) -> Button:
    """Point a Mini App's URL at a lead. A link to Telegram itself opens the Mini App by its own.

    >>> _lead_button("https://t.me/my_bot/app", 7, "Open").url
    'https://t.me/my_bot/app?startapp=lead_7'
    >>> _lead_button("https://app.example/?a=1#/leads", 7, "Open").url
    'https://app.example/?a=1&lead_id=7#/leads'
    """
    parts = urlsplit(mini_app_url)
    link = parts.scheme == "tg" or parts.hostname in _TELEGRAM_HOSTS
    name, value = ("startapp", f"lead_{lead_id}") if link else ("lead_id", str(lead_id))
    others = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != name]
    url = urlunsplit(parts._replace(query=urlencode([*others, (name, value)])))
    inside = parts.scheme == "https" and not link  # Telegram refuses web_app without TLS
    return Button(text, url, "web_app" if inside else "url")


def _checked(mini_app_url: str) -> str:
    if not opens_mini_app(mini_app_url):
        raise ValueError("MINI_APP_URL must be an address such as https://t.me/my_bot/app")
    return mini_app_url


def _what(error: Exception) -> dict[str, str]:
    """Describe an error without its text, which may quote the payload."""
    frames = traceback.extract_tb(error.__traceback__)
    at = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    return {"error": type(error).__name__, "at": at}
