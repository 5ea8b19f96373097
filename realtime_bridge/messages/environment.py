"""The Jinja environment of all templates: its filters, and the variables that a template sees."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from html import escape
from typing import Any

from babel import Locale
from jinja2 import ChainableUndefined, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from realtime_bridge.messages import dates, humanize
from realtime_bridge.model import GatheredEvent, TmaEvent

UNNAMED = "your lead"  # what the database says for a lead without a name

FORMATTER = "_formatter"  # the variable in which filters find it
_WHOLE_NUMBER = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class Formatter:
    """Writes dates and numbers for one user, in the language of the template."""

    locale: Locale
    words: Mapping[str, str]
    timezone: tzinfo
    now: datetime

    def day(self, value: Any) -> str:
        """Write a date as seen from now, such as `tomorrow`."""
        return dates.relative_day(
            humanize.readable(value),
            now=self.now,
            timezone=self.timezone,
            locale=self.locale,
            words=self.words,
        )

    def counted(self, value: Any, forms: Mapping[str, str]) -> str:
        """Write a number, or a list's length, with its noun; "" if the value is neither."""
        text = str(len(value)) if isinstance(value, list) else humanize.readable(value)
        if not _WHOLE_NUMBER.fullmatch(text):
            return ""
        return f"{text} {forms.get(self.locale.plural_form(int(text)), forms['other'])}"


def template_variables(
    event: TmaEvent, formatter: Formatter, unnamed: str, limit: int
) -> dict[str, Any]:
    """Build what a template sees: the payload's keys as text, then ours, which override them.

    `unnamed`: how to call a lead without a name. `limit`: the length of a value in UTF-16 units.
    """
    return {
        **row_variables(event, unnamed, limit),
        "event_type": event.event_type,
        FORMATTER: formatter,
    }


def row_variables(row: TmaEvent | GatheredEvent, unnamed: str, limit: int) -> dict[str, Any]:
    """Build what is known of a row by itself, be it told alone or with others."""
    payload = humanize.truncated(row.payload, limit)
    name = humanize.readable(row.lead_name, limit)
    return {
        **{key: humanize.readable(value, limit) for key, value in payload.items()},
        "payload": payload,
        "lead_id": row.lead_id,
        "lead_name": unnamed if name in ("", UNNAMED) else name,
    }


def template_environment() -> ImmutableSandboxedEnvironment:
    """Build the environment; the caller sets its loader."""
    environment = ImmutableSandboxedEnvironment(
        autoescape=True,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=ChainableUndefined,
        finalize=_finalize,
    )
    environment.globals.clear()  # `range`, `dict` ...: here they are payload keys, or undefined
    environment.filters |= {"day": _day, "counted": _counted, "paragraphs": _paragraphs}
    return environment


def _finalize(value: Any) -> str:
    """Make what a template prints readable; line breaks in a value are not the template's."""
    if isinstance(value, Markup):
        return value
    return humanize.one_line(value) if isinstance(value, str) else humanize.readable(value)


@pass_context
def _day(context: Context, value: Any) -> str:
    """`{{ due|day }}`."""
    formatter: Formatter = context[FORMATTER]
    return formatter.day(value)


@pass_context
def _counted(context: Context, value: Any, **forms: str) -> str:
    """`{{ steps|counted(one="step", other="steps") }}`, by CLDR's plural forms."""
    formatter: Formatter = context[FORMATTER]
    return formatter.counted(value, forms)


def _paragraphs(value: Any) -> Markup:
    """`{{ summary|paragraphs }}`: keeps line breaks, which otherwise become spaces."""
    return Markup(escape(humanize.paragraphs(value)))  # noqa: S704 - escaped right here
