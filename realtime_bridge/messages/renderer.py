"""From an event to the message that a person reads: text by template, and a button."""

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from html import escape
from pathlib import Path

import structlog
from markupsafe import Markup

from realtime_bridge.messages import dates, humanize
from realtime_bridge.messages.digest import written_digest
from realtime_bridge.messages.environment import (
    UNNAMED,
    Formatter,
    template_environment,
    template_variables,
)
from realtime_bridge.messages.event_defaults import EventDefaults, read_event_defaults
from realtime_bridge.messages.markup import TEXT_LIMIT, fits
from realtime_bridge.messages.message import Button, Message, lead_button
from realtime_bridge.messages.templates import (
    LAST_RESORT,
    LocalizedTemplate,
    Templates,
    babel_locale,
)
from realtime_bridge.model import TmaEvent
from realtime_bridge.settings import opens_mini_app

log = structlog.get_logger()

# How long a single value may be, tried in turn until the whole message fits: one endless name
# must not push out the rest of the sentence.
_VALUE_LIMITS = (TEXT_LIMIT, 2000, 1000, 500, 250)
_GENERIC = "unknown"  # the template for event types that have none
_NO_DEFAULTS = EventDefaults()

# `str` is text that is still to be escaped, `markupsafe.Markup` is HTML; None: use the template.
Renderer = Callable[[TmaEvent], str | Message | None]


class Messages:
    """Renders events; whatever an event contains, a readable message comes out.

    `templates_dir` overrides and adds templates (`<locale>/<event_type>.html`), and its
    `events.toml` says how they are sent; `mini_app_url` adds the button. Raises BadTemplates for a
    folder that cannot be used and ValueError for a URL that no button can open.
    """

    def __init__(
        self,
        *,
        templates_dir: Path | None = None,
        default_locale: str = LAST_RESORT,
        mini_app_url: str | None = None,
    ) -> None:
        self._templates = Templates(
            template_environment(), templates_dir=templates_dir, default_locale=default_locale
        )
        self._defaults = read_event_defaults(templates_dir) if templates_dir else {}
        self._templates.check_digests(self.digests)
        self._mini_app_url = mini_app_url and _checked(mini_app_url)
        self._renderers: dict[str, Renderer] = {}

    def register(self, event_type: str, function: Renderer) -> None:
        """Let a function write the messages of an event type, instead of the template.

        It returns text (escaped), `Markup` or a `Message` (with its own button or none, and its
        own options), or None to leave this event to the template. If it raises, the user gets the
        generic text. A digest is written by its template all the same.
        Raises TypeError for an async function.
        """
        if inspect.iscoroutinefunction(function):
            raise TypeError(f"the function for {event_type} must not be async")
        self._renderers[event_type] = function

    @property
    def digests(self) -> Mapping[str, float]:
        """For how many seconds events are gathered into one message, by event type."""
        gathered = self._defaults.items()
        return {name: one.digest for name, one in gathered if one.digest is not None}

    def render(self, event: TmaEvent, *, now: datetime) -> Message:
        """Write the message for an event, and how to send it.

        Never raises, whatever the event contains. Options of the row go before those of a
        function's message, and those before events.toml.
        """
        message = self._written(event, now)
        defaults = self._defaults.get(event.event_type, _NO_DEFAULTS)
        return replace(message, options=event.options.over(message.options).over(defaults.options))

    def _written(self, event: TmaEvent, now: datetime) -> Message:
        for render in (self._digest if event.gathered else self._specific, self._generic):
            try:
                message = render(event, now)
            except Exception as error:  # noqa: BLE001 - users' functions and templates: anything
                log.warning(
                    "message_failed", id=event.id, type=event.event_type, **_anonymous(error)
                )
            else:
                if message and not humanize.is_blank(message.plain):
                    return message
        name = humanize.readable(event.lead_name) or UNNAMED
        return Message.from_html(escape(f"Action completed for {name}."))

    def _specific(self, event: TmaEvent, now: datetime) -> Message | None:
        function = self._renderers.get(event.event_type)
        match function and function(event):
            case None:
                return self._from_template(event.event_type, event, now)
            case Message(html=html, button=button, options=options):
                return Message.from_html(html, button, options)
            case Markup() as html:
                return Message.from_html(html, self._button(event, event.locale))
            case str(text):
                return Message.from_html(escape(text), self._button(event, event.locale))
            case other:
                raise TypeError(f"a message is a str, a Message or None, not {type(other)}")

    def _generic(self, event: TmaEvent, now: datetime) -> Message | None:
        return self._from_template(_GENERIC, event, now)

    def _digest(self, event: TmaEvent, now: datetime) -> Message | None:
        found = self._templates.find_digest(event.event_type, event.locale)
        if found is None:
            return None
        formatter = self._formatter(event, now, found)
        unnamed = self._templates.word("lead", found.language, UNNAMED)
        html = written_digest(found.template, event, formatter, unnamed)
        alike = all(row.lead_id == event.lead_id for row in event.gathered)
        return Message.from_html(html, self._button(event, found.language) if alike else None)

    def _from_template(self, event_type: str, event: TmaEvent, now: datetime) -> Message | None:
        found = self._templates.find(event_type, event.locale)
        if found is None:
            return None
        formatter = self._formatter(event, now, found)
        unnamed = self._templates.word("lead", found.language, UNNAMED)
        html = ""
        for limit in _VALUE_LIMITS:
            html = found.template.render(template_variables(event, formatter, unnamed, limit))
            if fits(html):
                break
        return Message.from_html(html, self._button(event, found.language))

    def _formatter(self, event: TmaEvent, now: datetime, found: LocalizedTemplate) -> Formatter:
        zone = event.payload.get("timezone") or event.payload.get("tz")
        return Formatter(
            locale=babel_locale(found.language, event.locale),
            words=self._templates.own_words(found.language),
            timezone=dates.timezone(humanize.readable(zone)),
            now=now,
        )

    def _button(self, event: TmaEvent, language: str | None) -> Button | None:
        if not self._mini_app_url or event.lead_id is None:
            return None
        text = self._templates.word("button", language, "Open lead")
        return lead_button(self._mini_app_url, event.lead_id, text)


def _checked(mini_app_url: str) -> str:
    if not opens_mini_app(mini_app_url):
        raise ValueError("MINI_APP_URL must be an address such as https://t.me/my_bot/app")
    return mini_app_url


def _anonymous(error: Exception) -> dict[str, str]:
    """Describe an error without its text, which may quote the payload."""
    frames = traceback.extract_tb(error.__traceback__)
    at = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    return {"error": type(error).__name__, "at": at}
