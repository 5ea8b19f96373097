# ruff: noqa: RUF001 - Ukrainian has letters that look Latin
"""The texts, word for word."""

import pytest

from .events import NOW, event

NEXT = {"next_step_id": 4, "next_step_desc": "Call", "next_step_due": "2026-12-04"}

ENGLISH = [
    (
        "step_completed",
        {"step_id": 3, **NEXT},
        "Step 3 marked complete for Ann Lee.\nNext: Step 4 — Call (due in 3 days)",
    ),
    (
        "step_completed",
        {"step_id": 3, **NEXT, "next_step_due": "2026-12-02"},
        "Step 3 marked complete for Ann Lee.\nNext: Step 4 — Call (due tomorrow)",
    ),
    (
        "step_completed",
        {"step_id": 3},
        "Step 3 marked complete for Ann Lee.\nAll engagement steps complete!",
    ),
    (
        "step_completed",
        {"step_id": 0, **NEXT, "next_step_id": 0},
        "Step 0 marked complete for Ann Lee.\nNext: Step 0 — Call (due in 3 days)",
    ),
    (
        "step_completed",
        NEXT,
        "Step marked complete for Ann Lee.\nNext: Step 4 — Call (due in 3 days)",
    ),
    (
        "step_completed",
        {"step_id": 3, "next_step_id": 4, "next_step_desc": "Call", "next_step_due": None},
        "Step 3 marked complete for Ann Lee.\nNext: Step 4 — Call",
    ),
    (
        "step_completed",
        {"step_id": 3, "next_step_desc": "Call", "next_step_due": "2026-12-01"},
        "Step 3 marked complete for Ann Lee.\nNext: Call (due today)",
    ),
    (
        "step_completed",
        {"step_id": 3, "next_step_id": 4, "next_step_due": "2026-12-02"},
        "Step 3 marked complete for Ann Lee.\nNext: Step 4 (due tomorrow)",
    ),
    (
        "step_completed",
        {"step_id": 3, "next_step_due": "2026-11-30"},
        "Step 3 marked complete for Ann Lee.\nNext: due yesterday",
    ),
    ("step_skipped", {"step_id": 3}, "Step 3 skipped for Ann Lee."),
    (
        "step_skipped",
        {"step_id": 3, "reason": "no time"},
        "Step 3 skipped for Ann Lee. Reason: no time",
    ),
    ("step_skipped", {}, "Step skipped for Ann Lee."),
    ("status_changed", {"new_status": "Won"}, "Lead status updated: Ann Lee → Won"),
    ("status_changed", {}, "Lead status updated: Ann Lee"),
    ("lead_assigned", {"member_name": "Bob"}, "Ann Lee assigned to Bob."),
    ("lead_assigned", {}, "Ann Lee has been assigned."),
    ("never_heard_of", {"step_id": 3}, "Action completed for Ann Lee."),
    (
        "plan_ready",
        {"steps": 5, "first_due": "2026-12-02", "summary": "Write.\nThen call."},
        "Plan for Ann Lee is ready: 5 steps, first due tomorrow.\nWrite.\nThen call.",
    ),
    (
        "plan_ready",
        {"steps": "5", "first_due": "2026-12-02"},
        "Plan for Ann Lee is ready: 5 steps, first due tomorrow.",
    ),
    ("plan_ready", {"steps": [{"id": 1}]}, "Plan for Ann Lee is ready: 1 step."),
    ("plan_ready", {"steps": -1}, "Plan for Ann Lee is ready."),
    ("plan_ready", {"steps": {"n": 1}}, "Plan for Ann Lee is ready."),
    ("plan_ready", {"steps": 1}, "Plan for Ann Lee is ready: 1 step."),
    (
        "plan_ready",
        {"first_due": "2026-12-02"},
        "Plan for Ann Lee is ready: first due tomorrow.",
    ),
    ("plan_ready", {}, "Plan for Ann Lee is ready."),
    (
        "plan_failed",
        {"reason": "the planner took too long"},
        "Plan for Ann Lee could not be made. Reason: the planner took too long",
    ),
    ("plan_failed", {}, "Plan for Ann Lee could not be made."),
    (
        "plan_progress",
        {"text": "Reading the history"},
        "Making a plan for Ann Lee: Reading the history",
    ),
    (
        "plan_progress",
        {"text": "Reading the history\n(2 of 3)"},
        "Making a plan for Ann Lee: Reading the history (2 of 3)",
    ),
    ("plan_progress", {}, "Making a plan for Ann Lee."),
    (
        "step_due",
        {"step_id": 3, "step_desc": "Call", "due": "2026-12-01"},
        "Reminder for Ann Lee: Step 3 — Call (due today)",
    ),
    ("step_due", {"step_id": 3}, "Reminder for Ann Lee: Step 3"),
    ("step_due", {"due": "2026-12-01"}, "Reminder for Ann Lee: a step is due today."),
    ("step_due", {}, "Reminder for Ann Lee: a step is due."),
]

UKRAINIAN = [
    (
        "step_completed",
        {"step_id": 3, **NEXT},
        "Ann Lee: крок 3 виконано.\nДалі: крок 4 — Call (термін: через 3 дні)",
    ),
    ("step_completed", {}, "Ann Lee: крок виконано.\nУсі кроки плану виконано!"),
    (
        "step_completed",
        {"step_id": 3, "next_step_due": "2026-12-02"},
        "Ann Lee: крок 3 виконано.\nТермін наступного кроку: завтра",
    ),
    (
        "step_skipped",
        {"step_id": 3, "reason": "немає часу"},
        "Ann Lee: крок 3 пропущено. Причина: немає часу",
    ),
    ("status_changed", {"new_status": "Won"}, "Ann Lee: статус змінено → Won"),
    ("lead_assigned", {"member_name": "Олена"}, "Ann Lee: відповідальна особа — Олена."),
    ("lead_assigned", {}, "Ann Lee: призначено відповідальну особу."),
    ("never_heard_of", {}, "Ann Lee: дію виконано."),
    (
        "plan_ready",
        {"steps": 2, "first_due": "2026-12-01"},
        "Ann Lee: план готовий (2 кроки, перший термін: сьогодні).",
    ),
    ("plan_ready", {"steps": 5}, "Ann Lee: план готовий (5 кроків)."),
    ("plan_ready", {"steps": 21}, "Ann Lee: план готовий (21 крок)."),
    ("plan_failed", {"reason": "x"}, "Ann Lee: скласти план не вдалося. Причина: x"),
    ("plan_progress", {"text": "Читаю історію"}, "Ann Lee: план складається. Читаю історію"),
    ("plan_progress", {}, "Ann Lee: план складається."),
    (
        "step_due",
        {"step_id": 3, "step_desc": "Call", "due": "2026-11-30"},
        "Нагадування. Ann Lee: крок 3 — Call (термін: вчора)",
    ),
    ("step_due", {}, "Нагадування. Ann Lee: є крок до виконання"),
]


@pytest.mark.parametrize(("event_type", "payload", "text"), ENGLISH)
def test_an_event_reads_in_english(messages, event_type, payload, text):
    """Without a locale the text is the English one, built from what the payload has."""
    message = messages.render(event(event_type, payload), now=NOW)

    assert message.plain == text
    assert message.html == text


@pytest.mark.parametrize(("event_type", "payload", "text"), UKRAINIAN)
def test_an_event_reads_in_ukrainian(messages, event_type, payload, text):
    """A Ukrainian user gets Ukrainian, with names in the nominative."""
    message = messages.render(event(event_type, payload, locale="uk"), now=NOW)

    assert message.plain == text


@pytest.mark.parametrize(
    ("locale", "start"),
    [
        ("uk", "Ann Lee: "),
        ("uk-UA", "Ann Lee: "),
        ("UK_ua", "Ann Lee: "),
        ("en-GB", "Action"),
        ("pt_BR", "Action"),
        (None, "Action"),
        ("", "Action"),
        ("../uk", "Action"),
        ("uk\x00", "Action"),
        ("u" * 10_000, "Action"),
    ],
)
def test_a_locale_finds_its_language(messages, locale, start):
    """A missing region falls back to its language, and anything else to the default."""
    message = messages.render(event("unknown", locale=locale), now=NOW)

    assert message.plain.startswith(start)


@pytest.mark.parametrize(
    ("locale", "text"),
    [("en", "Action completed for your lead."), ("uk", "Ваш лід: дію виконано.")],
)
@pytest.mark.parametrize("name", ["your lead", "", " \u200b\n"])
def test_a_lead_without_a_name_is_named_in_the_users_language(messages, name, locale, text):
    """The database's placeholder for a missing name is English; the user reads their language."""
    message = messages.render(event("x", lead_name=name, locale=locale), now=NOW)

    assert message.plain == text
