"""Several events in one message."""

from typing import Any

from jinja2 import Template

from realtime_bridge.messages.environment import FORMATTER, Formatter, row_variables
from realtime_bridge.messages.markup import TEXT_LIMIT, fits
from realtime_bridge.model import GatheredEvent, TmaEvent

# How long a value may be, tried in turn: there may be fifty events with several values each.
_VALUE_LIMITS = (TEXT_LIMIT, 500, 100)


def written_digest(template: Template, event: TmaEvent, formatter: Formatter, unnamed: str) -> str:
    """Write an event and those gathered with it: whole, with shorter values, or fewer of them.

    The template sees the first ones as `events`, and how many `more` there are. Where Telegram
    takes not even one whole, its text is to be cut.
    """
    rows: tuple[TmaEvent | GatheredEvent, ...] = (event, *event.gathered)
    for limit in _VALUE_LIMITS:
        events = [row_variables(row, unnamed, limit) for row in rows]
        html = _written(template, event, formatter, events, len(events))
        if fits(html):
            return html
    fitting, too_many = 1, len(events)
    html = _written(template, event, formatter, events, fitting)
    while too_many - fitting > 1:
        count = (fitting + too_many) // 2
        longer = _written(template, event, formatter, events, count)
        if fits(longer):
            html, fitting = longer, count
        else:
            too_many = count
    return html


def _written(
    template: Template,
    event: TmaEvent,
    formatter: Formatter,
    events: list[dict[str, Any]],
    shown: int,
) -> str:
    variables = {
        "events": events[:shown],
        "more": len(events) - shown,
        "event_type": event.event_type,
        FORMATTER: formatter,
    }
    return template.render(variables)
