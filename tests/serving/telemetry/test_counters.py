"""Counting in plain numbers tells Prometheus what its own client library tells it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.registry import Collector

from serving.telemetry.metrics import LabeledCounters, LabeledHistograms

BOUNDS = (0.001, 0.5, 1.0, 5.0)


def told_by(collector: Collector) -> list[str]:
    registry = CollectorRegistry()
    registry.register(collector)
    return lines_of(registry)


def lines_of(registry: CollectorRegistry) -> list[str]:
    return sorted(line for line in generate_latest(registry).decode().splitlines() if "_created" not in line)


class Both(Collector):
    def __init__(self, *each: LabeledHistograms | LabeledCounters) -> None:
        self.each = each

    def collect(self):
        for one in self.each:
            yield from one.collect()


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.sampled_from([*BOUNDS, 0.0, 0.7, 9.0]) | st.floats(0, 10))
    )
)
def test_a_histogram_is_that_of_the_library(values) -> None:
    ours = LabeledHistograms("h", "told", ("call",), BOUNDS)
    registry = CollectorRegistry()
    theirs = Histogram("h", "told", ["call"], buckets=BOUNDS, registry=registry)
    for call, value in values:
        ours[call,].observe(value)
        theirs.labels(call).observe(value)
    assert told_by(Both(ours)) == lines_of(registry)


def test_a_count_is_that_of_the_library() -> None:
    ours = LabeledCounters("c", "told", ("call", "status"))
    registry = CollectorRegistry()
    theirs = Counter("c", "told", ["call", "status"], registry=registry)
    for status in ("200", "200", "503"):
        ours["scores", status] += 1
        theirs.labels("scores", status).inc()
    assert told_by(Both(ours)) == lines_of(registry)


@pytest.mark.parametrize(
    "made", [LabeledCounters("c", "told", ("a",)), LabeledHistograms("h", "told", ("a",), BOUNDS)]
)
def test_what_was_never_counted_is_named_all_the_same(made: LabeledCounters | LabeledHistograms) -> None:
    assert any(line.startswith("# TYPE") for line in told_by(Both(made)))
