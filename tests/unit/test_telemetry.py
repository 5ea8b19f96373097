"""What happens to rows, as metrics and as log lines."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from prometheus_client import generate_latest
from structlog.testing import capture_logs

from realtime_bridge.base.stopwatch import Stopwatch
from realtime_bridge.model import GatheredEvent, Recovered, Wake
from realtime_bridge.observe.metrics import Metrics
from realtime_bridge.observe.telemetry import Telemetry
from realtime_bridge.outcomes import Cause, Failed, Failure, Retry, Sent, Uncertain
from tests.unit.rows import NOON, event

ROW = SimpleNamespace(id=1, event_type="x", attempt=1, waited_seconds=0.5)


def counted(metrics, name, **labels):
    return metrics.registry.get_sample_value(name, {"lane": "tma_events", **labels})


@pytest.mark.parametrize(
    ("outcome", "failure", "held", "word"),
    [
        (Sent(1), None, True, "delivered"),
        (Failed(Failure.BLOCKED, "x"), Failure.BLOCKED, True, "blocked"),
        (Retry("x"), None, True, "retry"),
        (Retry("x", 1.0, counted=False), None, True, "deferred"),
        (Retry("one too many"), Failure.EXHAUSTED, True, "exhausted"),
        (Uncertain("x"), Failure.UNCERTAIN, True, "uncertain"),
        (Uncertain("sent again"), None, True, "uncertain"),
        (Sent(1), None, False, "too_late"),
    ],
)
def test_an_outcome_is_counted_by_what_it_means_for_its_row(outcome, failure, held, word):
    """The last retry is a failure; an outcome that came too late is neither."""
    metrics = Metrics()
    telemetry = Telemetry(metrics, lambda _row, _outcome: failure)

    telemetry.settled("tma_events", ROW, outcome, Stopwatch(), held=held)

    assert counted(metrics, "bridge_events_total", outcome=word) == 1


def test_a_lane_shows_zeros_from_its_start():
    """A counter that first appears as one has not risen, so no alert would see it."""
    metrics = Metrics()

    metrics.watch("tma_events", slots=8, in_hand=lambda: 3, outcomes=["delivered", *Failure])

    assert counted(metrics, "bridge_slots") == 8
    assert counted(metrics, "bridge_in_hand") == 3
    assert counted(metrics, "bridge_events_total", outcome="uncertain") == 0
    assert counted(metrics, "bridge_recovered_rows_total", fate="uncertain") == 0
    assert counted(metrics, "bridge_queue_errors_total") == 0


def test_rows_of_dead_workers_are_counted_by_their_fate():
    """Including those that are sent again in at-least-once mode."""
    metrics = Metrics()

    Telemetry(metrics).recovered("tma_events", Recovered(returned=1, resent=2, uncertain=3))

    fates = {"returned": 1, "resent": 2, "uncertain": 3}
    for fate, rows in fates.items():
        assert counted(metrics, "bridge_recovered_rows_total", fate=fate) == rows


def digest(rows):
    """Rows a second apart, of which the first waited for ten seconds."""
    apart = [NOON + timedelta(seconds=n) for n in range(1, rows)]
    parts = [GatheredEvent(id=2 + n, created_at=at, deliver_after=at) for n, at in enumerate(apart)]
    return event(waited_seconds=10.0, gathered=parts)


def test_every_row_of_a_digest_is_counted():
    """With the time that it has waited itself."""
    metrics = Metrics()
    row, stopwatch = digest(3), Stopwatch(clock=iter([0.0] * 9).__next__)

    Telemetry(metrics).claimed("tma_events", [row, event()], Wake.CHANGES, 0.0)
    with capture_logs() as lines:
        Telemetry(metrics).settled("tma_events", row, Sent(7), stopwatch, held=True)

    assert counted(metrics, "bridge_claimed_rows_total", source="changes") == 4
    assert counted(metrics, "bridge_pickup_seconds_sum") == 10 + 9 + 8
    assert counted(metrics, "bridge_events_total", outcome="delivered") == 3
    assert counted(metrics, "bridge_delivery_seconds_count") == 3
    assert counted(metrics, "bridge_delivery_seconds_sum") == 10 + 9 + 8
    assert [line["rows"] for line in lines] == [3]


def test_an_uncertain_digest_is_uncertain_row_by_row():
    """Each of them is somebody's question."""
    metrics = Metrics()

    Telemetry(metrics).settled("tma_events", digest(10), Uncertain("x"), Stopwatch(), held=True)

    assert counted(metrics, "bridge_events_total", outcome="uncertain") == 10


def test_a_pause_that_telegram_asked_for_is_observed():
    """Its length shows how serious it is."""
    metrics = Metrics()
    pause = Retry("7 s", after=7.0, counted=False, cause=Cause.TELEGRAM_PAUSE)

    Telemetry(metrics).settled("tma_events", ROW, pause, Stopwatch(), held=True)

    assert metrics.registry.get_sample_value("bridge_telegram_retry_after_seconds_sum") == 7


def test_no_series_is_made_for_each_row():
    """Ids as labels would create one more series for each row, for ever."""
    metrics = Metrics()
    for id_ in range(3):
        row = SimpleNamespace(id=id_, event_type=f"type_{id_}", attempt=1, waited_seconds=0)
        Telemetry(metrics).settled("tma_events", row, Sent(id_), Stopwatch(), held=True)

    text = generate_latest(metrics.registry).decode()

    assert text.count("bridge_events_total{") == 1
    assert "type_" not in text.replace("# TYPE", "")


def test_a_row_that_ended_is_one_line_with_the_time_of_each_stage():
    """Without its text or payload."""
    row = SimpleNamespace(
        id=7, event_type="step_completed", attempt=2, waited_seconds=0.25, payload="secret"
    )
    stopwatch = Stopwatch(clock=iter([0.0, 0.001, 0.101]).__next__)
    stopwatch.lap("render")
    stopwatch.lap("send")

    with capture_logs() as lines:
        Telemetry(Metrics()).settled("tma_events", row, Sent(99), stopwatch, held=True)

    assert lines == [
        {
            "event": "delivered",
            "log_level": "info",
            "lane": "tma_events",
            "id": 7,
            "type": "step_completed",
            "attempt": 2,
            "pickup_ms": 250.0,
            "render_ms": 1.0,
            "send_ms": 100.0,
            "message_id": 99,
        }
    ]
