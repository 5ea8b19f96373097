"""Several events in one message."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from realtime_bridge.messages.renderer import Messages

from .events import NOW, event
from .telegram_html import utf16_units, visible
from .test_hostile import NAMES, PAYLOADS

LIST = (
    '<b>{{ (events|length + more)|counted(one="tap", other="taps") }}</b>\n'
    "{% for tap in events %}- {{ tap.lead_name }} {{ tap.at|day }} {{ tap.payload.n }}\n"
    "{% endfor %}{% if more %}and {{ more }} more{% endif %}"
)


def part(id_, payload=None, **columns):
    """A row that was gathered."""
    return {
        "id": id_,
        "lead_id": 5,
        "lead_name": "Ann Lee",
        "payload": payload or {},
        "created_at": NOW,
        "deliver_after": NOW,
        **columns,
    }


def several(*parts, payload=None, event_type="tapped", **columns):
    return event(event_type, payload, gathered=parts, **columns)


def gathering(folder, **templates):
    """Messages of which `tapped` is gathered; templates by language."""
    (folder / "events.toml").write_text('[tapped]\ndigest = "10s"')
    for language, template in (templates or {"en": LIST}).items():
        (folder / language).mkdir()
        (folder / language / "tapped.digest.html").write_text(template)
    return Messages(templates_dir=folder, mini_app_url="https://t.me/my_bot/app")


def test_a_digest_tells_all_its_events_in_order(tmp_path):
    """Each event has what a template of its own would see."""
    taps = several(
        part(2, {"n": 2, "at": "2026-12-02"}),
        part(3, {"n": 3}, lead_name="<b>"),
        payload={"n": 1, "at": "2026-12-01"},
    )

    message = gathering(tmp_path).render(taps, now=NOW)

    assert message.plain == "3 taps\n- Ann Lee today 1\n- Ann Lee tomorrow 2\n- <b> 3"
    assert visible(message.html) == message.plain


def test_one_event_alone_is_told_as_ever(tmp_path):
    """The digest's template is for several."""
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "tapped.html").write_text("{{ lead_name }} tapped")
    (tmp_path / "en" / "tapped.digest.html").write_text(LIST)
    (tmp_path / "events.toml").write_text('[tapped]\ndigest = "10s"')

    message = Messages(templates_dir=tmp_path).render(event("tapped"), now=NOW)

    assert message.plain == "Ann Lee tapped"


def test_the_language_is_that_of_the_first(tmp_path):
    """And a language without a digest of its own has the English one."""
    messages = gathering(tmp_path, en="{{ events|length }}", de="{{ events|length }} mal")

    assert messages.render(several(part(2), locale="de"), now=NOW).plain == "2 mal"
    assert messages.render(several(part(2), locale="uk"), now=NOW).plain == "2"


@pytest.mark.parametrize(
    ("leads", "shown"),
    [((5, 5, 5), True), ((5, 5, 6), False), ((5, None, 5), False), ((None, None, None), False)],
)
def test_a_button_opens_the_lead_that_all_are_about(tmp_path, leads, shown):
    """A digest of several leads has no one place to open."""
    first, *others = leads
    taps = several(*(part(n, lead_id=lead) for n, lead in enumerate(others, 2)), lead_id=first)

    message = gathering(tmp_path).render(taps, now=NOW)

    assert (message.button is not None) is shown


def test_a_long_digest_keeps_its_events_and_cuts_their_values(tmp_path):
    """As a single message does."""
    taps = several(*(part(n, {"n": "x" * 3000}) for n in range(2, 11)), payload={"n": 1})

    message = gathering(tmp_path).render(taps, now=NOW)

    assert message.plain.startswith("10 taps")
    assert message.plain.count("Ann Lee") == 10
    assert message.plain.count("x…") == 9
    assert utf16_units(message.plain) <= 4096


def test_a_digest_that_is_longer_still_says_how_many_more(tmp_path):
    """The first ones are told whole, as many as there is room for."""
    taps = several(*(part(n, {"n": "x" * 90}) for n in range(2, 51)), payload={"n": "x" * 90})

    message = gathering(tmp_path).render(taps, now=NOW)

    told = message.plain.count("Ann Lee")
    assert message.plain.startswith("50 taps")
    assert message.plain.endswith(f"x\nand {50 - told} more")
    assert 4096 - 110 < utf16_units(message.plain) <= 4096


def test_a_digest_that_cannot_be_written_is_a_message_nevertheless(tmp_path):
    """As everything else; the log says why."""
    with capture_logs() as logs:
        message = gathering(tmp_path, en="{{ 1 / 0 }}").render(several(part(2)), now=NOW)

    assert message.plain == "Action completed for Ann Lee."
    assert [line["event"] for line in logs] == ["message_failed"]


@pytest.mark.parametrize("event_type", ["tapped.digest", "step_completed.digest"])
def test_a_digest_is_no_event_type(tmp_path, event_type):
    """Whoever names it in a row gets the generic text."""
    messages = gathering(tmp_path, en="a digest")

    with capture_logs() as logs:
        message = messages.render(event(event_type), now=NOW)

    assert message.plain == "Action completed for Ann Lee."
    assert logs == []


@pytest.mark.parametrize(
    ("locale", "text"),
    [
        ("en", "2 steps marked complete:\n• Ann Lee: step 3\n• Bob"),
        ("uk", "Виконано 2 кроки:\n• Ann Lee: крок 3\n• Bob"),
    ],
)
def test_the_packaged_digest(tmp_path, locale, text):
    """It takes one line of events.toml to use it."""
    (tmp_path / "events.toml").write_text('[step_completed]\ndigest = "10s"')
    done = several(
        part(2, lead_name="Bob"),
        payload={"step_id": 3},
        event_type="step_completed",
        locale=locale,
    )

    assert Messages(templates_dir=tmp_path).render(done, now=NOW).plain == text


PACKAGED = Messages()  # a bridge whose events.toml lacks the type still has the template


@given(
    payloads=st.lists(PAYLOADS, min_size=2, max_size=5),
    name=NAMES,
    times=st.integers(1, 12),
    locale=st.sampled_from([None, "en", "uk"]),
)
@settings(deadline=None, max_examples=60)
def test_any_events_become_a_message_that_telegram_accepts(payloads, name, times, locale):
    """Whatever Mini Apps write into them."""
    first, *others = payloads
    parts = [part(n, payload, lead_name=name) for n, payload in enumerate(others * times, 2)]
    done = several(
        *parts, payload=first, lead_name=name, event_type="step_completed", locale=locale
    )

    message = PACKAGED.render(done, now=NOW)

    assert visible(message.html) == message.plain
    assert 1 <= utf16_units(message.plain) <= 4096
    assert str(len(parts) + 1) in message.plain
