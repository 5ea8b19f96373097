"""Whatever a Mini App sends, a readable message comes out."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.messages.renderer import Messages

from .events import NOW, event
from .telegram_html import utf16_units, visible

EVENT_TYPES = [
    "step_completed",
    "step_skipped",
    "status_changed",
    "lead_assigned",
    "plan_ready",
    "plan_failed",
    "plan_progress",
    "step_due",
    "nobody_knows_it",
]
KEYS = [
    "step_id",
    "next_step_id",
    "next_step_desc",
    "next_step_due",
    "reason",
    "new_status",
    "member_name",
    "steps",
    "first_due",
    "summary",
    "text",
    "due",
    "step_desc",
    "timezone",
    "lead_name",
    "payload",
    "_formatter",
    "self",
    "range",
]

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**18, max_value=10**5000)
    | st.floats()
    | st.text(st.characters(), max_size=50)  # lone surrogates too
    | st.text("<>&\"'_*[]`\\{}%# \n\u202e\u200b😀", max_size=50)
    | st.text("Щ😀<", min_size=1, max_size=3).map(lambda text: text * 2500)
    | st.datetimes().map(datetime.isoformat)
    | st.sampled_from(["9999-12-31T23:59:59-12:00", "Europe/Kyiv", "{{ 7*7 }}", "{% raw %}"])
)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
PAYLOADS = st.dictionaries(st.sampled_from(KEYS) | st.text(), JSON, max_size=10)
NAMES = st.text(max_size=50) | st.text("😀<a", min_size=1).map(lambda text: text * 900)

PACKAGED = Messages(mini_app_url="https://t.me/my_bot/app")


@given(
    event_type=st.sampled_from(EVENT_TYPES) | st.text(),
    payload=PAYLOADS,
    name=NAMES,
    locale=st.sampled_from([None, "en", "uk", "en-GB"]) | st.text(max_size=10),
)
def test_any_event_becomes_a_message_that_telegram_accepts(event_type, payload, name, locale):
    """For all JSON: valid HTML with the same plain text, neither empty nor too long."""
    row = event(event_type, payload, lead_name=name, locale=locale)

    message = PACKAGED.render(row, now=NOW)

    assert visible(message.html) == message.plain
    assert message.plain == message.plain.strip()
    assert 1 <= utf16_units(message.plain) <= 4096
    assert message.plain.encode().decode() == message.plain
    assert "  " not in message.plain


def skipped(reason):
    """Return a skipped step, whose text ends with the reason."""
    return event("step_skipped", {"step_id": 3, "reason": reason})


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        ("_*[<>&\"'`", "_*[<>&\"'`"),
        ("</b><a href='x'>", "</b><a href='x'>"),
        ("&lt;b&gt; &amp;", "&lt;b&gt; &amp;"),
        ("{{ 7 * 7 }} {% if %}", "{{ 7 * 7 }} {% if %}"),
        ("👩‍👩‍👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿", "👩‍👩‍👧 🏴󠁧󠁢󠁥󠁮󠁧󠁿"),
        ("Щось із їжею", "Щось із їжею"),
        ("two\nlines\t and \x0b more ", "two lines and more"),
        ("nul\x00 bell\x07 esc\x1b[31m", "nul bell esc[31m"),
        ("\u202eturned\u202c", "turned"),
        ("half \ud83d pair", "half pair"),
        (7, "7"),
        (0, "0"),
        (7.0, "7"),
        (0.1, "0.1"),
        (10**30, str(10**30)),
        (True, "✓"),
        (["a", None, 2, ["b"]], "a, 2, b"),
        ({"why": "rain", "since": 3, "who": None}, "why: rain, since: 3"),
        ([[[[[["deep"]]]]]], "…"),
        (list(range(1000)), ", ".join(map(str, range(50)))),
    ],
)
def test_a_value_is_readable(messages, reason, shown):
    """Markup is escaped; every JSON type has a readable form."""
    message = messages.render(skipped(reason), now=NOW)

    assert message.plain == f"Step 3 skipped for Ann Lee. Reason: {shown}"
    assert visible(message.html) == message.plain


@pytest.mark.parametrize(
    "reason",
    [None, False, "", "  \n", "\u200b\u2060", [], {}, [None], {"a": None}, float("nan"), "\x00"],
)
def test_an_empty_value_is_left_out(messages, reason):
    """An empty value is left out, with its label."""
    message = messages.render(skipped(reason), now=NOW)

    assert message.plain == "Step 3 skipped for Ann Lee."


def test_reported_progress_is_escaped_and_shortened(messages):
    """Whatever a planner quotes, and however much of it."""
    text = "<b>&</b> " + "x" * 9000

    message = messages.render(event("plan_progress", {"text": text}), now=NOW)

    assert message.plain.startswith("Making a plan for Ann Lee: <b>&</b> xxx")
    assert visible(message.html) == message.plain
    assert utf16_units(message.plain) <= 4096


def test_html_escapes_what_telegram_asks_for(messages):
    """Only & < > are escaped in texts; Markdown's signs mean nothing in HTML mode."""
    message = messages.render(skipped('_*[ <b> & "'), now=NOW)

    assert message.html == 'Step 3 skipped for Ann Lee. Reason: _*[ &lt;b&gt; &amp; "'


def test_an_endless_name_does_not_push_out_the_rest(messages):
    """The long value is cut, and the sentence around it stays whole."""
    payload = {"step_id": 3, "next_step_id": 4, "next_step_desc": "Call", "next_step_due": "x"}

    message = messages.render(event("step_completed", payload, lead_name="Щ" * 5000), now=NOW)

    assert message.plain.startswith("Step 3 marked complete for ЩЩЩ")
    assert message.plain.endswith("Щ….\nNext: Step 4 — Call (due x)")
    assert 2000 < utf16_units(message.plain) <= 4096


def test_several_endless_values_all_keep_their_head(messages):
    """Five values of 5,000 emoji: each is cut, none is lost, and no character is split."""
    payload = dict.fromkeys(
        ("step_id", "next_step_id", "next_step_desc", "next_step_due"), "😀" * 5000
    )

    message = messages.render(event("step_completed", payload, lead_name="😀" * 5000), now=NOW)

    assert message.plain.count("😀…") == 5
    assert message.plain.endswith("…)")
    assert utf16_units(message.plain) <= 4096


def test_a_text_that_just_fits_is_not_shortened(messages):
    """The limit applies to what the user reads, not to escaped entities."""
    around = "Step 3 skipped for Ann Lee. Reason: "
    reason = "&" * (4096 - len(around))

    exact = messages.render(skipped(reason), now=NOW)
    longer = messages.render(skipped(reason + "&"), now=NOW)

    assert exact.plain == around + reason
    assert longer.plain.endswith("&…")
    assert utf16_units(longer.plain) < 4096


@pytest.mark.parametrize(
    "event_type",
    [
        "../en/step_completed",
        "en/step_completed",
        "/etc/passwd",
        "step_completed.html",
        "_formatter",
        "words",
        "",
        " ",
        "\x00",
        "x" * 100_000,
        "{{ 7*7 }}",
    ],
)
def test_an_event_type_names_no_file(messages, event_type):
    """Event types are looked up among the known ones, never opened as files."""
    message = messages.render(event(event_type), now=NOW)

    assert message.plain == "Action completed for Ann Lee."


def test_a_payload_cannot_pose_as_what_we_know(messages):
    """The lead's name comes from the database, whatever the payload says."""
    payload = {
        "lead_name": "Mallory",
        "_formatter": 1,
        "payload": 2,
        "self": 4,
        "due": "2026-12-01",
    }

    message = messages.render(event("step_due", payload), now=NOW)

    assert message.plain == "Reminder for Ann Lee: a step is due today."


def test_a_payload_nested_a_thousand_deep_keeps_its_other_keys(messages):
    """What is nested too deeply is left out, and the rest is written."""
    deep = "x"
    for _ in range(900):
        deep = [deep]

    message = messages.render(event("step_skipped", {"step_id": 3, "deep": deep}), now=NOW)

    assert message.plain == "Step 3 skipped for Ann Lee."


def test_now_may_be_in_any_timezone(messages):
    """Only the instant counts, not its timezone."""
    payload = {"step_id": 1, "due": "2026-12-01"}
    elsewhere = datetime(2026, 12, 1, 9, 0, tzinfo=UTC).astimezone()

    message = messages.render(event("step_due", payload), now=elsewhere)

    assert message.plain.endswith("(due today)")
