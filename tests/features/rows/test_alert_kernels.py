"""Kernels mark every row that an alert may match, and few others: alone and in lists, whatever texts and alerts are."""

import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from support.described import build_pipeline
from support.examples import day, make_consignment
from support.hostile_rows import GOODS_TEXTS, ODD_LETTERS, make_hostile
from support.row_comparison import BASES, RECORD

from consignments.records import Alert, Consignment, Item
from consignments.tables import check_frame, to_consignments
from features.alerts.alerts import Alerts
from features.indicators.operation_keys import OperationKey, OperationKeys
from features.indicators.values import INDICATORS, compute_indicators
from features.normalization.text_hashes import NO_HASH, TextHashes, hash_text
from features.pipeline import Pipeline
from features.rows.alert_kernels import NO_SEARCH
from features.rows.described_rows import create_rows, fill_described, normalize_consignment
from training.simulation.operation import simulate

KEYS = OperationKeys([OperationKey("EXAMPLE", bytes(range(32))), OperationKey("OTHER", bytes(32))])
RECEIVED_AT = datetime(2024, 3, 4, 5, tzinfo=UTC)
BEFORE, AFTER = datetime(2020, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC)


def alert(**patterns: Any) -> Alert:
    return Alert(alert_id=f"{patterns}", issued_at=BEFORE, **patterns)


def make_pipeline(alerts: Iterable[Alert]) -> Pipeline:
    pipeline = build_pipeline()
    pipeline.alerts = Alerts(alerts, keys=KEYS)
    return pipeline


def list_alert_features(pipeline: Pipeline, X: np.ndarray) -> np.ndarray:
    return X[:, [place for place, feature in enumerate(pipeline.spec) if feature.group == "alerts"]]


def compare_all(pipeline: Pipeline, consignments: Sequence[Consignment]) -> np.ndarray:
    """Compare the features in lists and alone with those of Python over every row, and return them."""
    alerts = pipeline.alerts
    rows = [alerts.compute(c, normalize_consignment(c)) for c in consignments]
    expected = np.array(rows, np.float32)
    X = np.full((2, len(consignments), pipeline.history_at), -9, np.float32)
    keys = np.zeros((2, len(consignments), len(pipeline.kinds)), np.uint64)
    pipeline.fill_rows(consignments, X[0], *keys)
    for c, row, *both in zip(consignments, X[1], *keys, strict=True):
        pipeline.fill_row(c, row, *both)
    for found in X:
        np.testing.assert_array_equal(list_alert_features(pipeline, found), expected)
    assert X[0].tobytes() == X[1].tobytes()
    return expected


def list_marked(alerts: Alerts, consignments: Sequence[Consignment]) -> list[int]:
    pipeline = make_pipeline(())
    pipeline.alerts = alerts
    search = pipeline.create_search(len(consignments))
    rows = create_rows(len(consignments), pipeline.key_plan)
    rows = rows._replace(values=np.zeros((len(consignments), pipeline.history_at), np.float32))
    fill_described(consignments, pipeline.key_plan, pipeline.feature_plan, rows, search)
    return search.list_candidates()


def make_alerts(draws: random.Random, consignments: Sequence[Consignment], count: int) -> list[Alert]:
    """Make alerts of all kinds, most of which match one of the consignments."""
    return [_make_alert(draws, draws.choice(consignments), place) for place in range(count)]


def _make_alert(draws: random.Random, c: Consignment, place: int) -> Alert:
    words = (c.description or "tea").split() or ["tea"]
    word = draws.choice(words)[:40]
    patterns: list[dict[str, Any]] = [
        {"sender_name": c.sender_name}, {"consignee_name": c.consignee_name}, {"sender_address": c.sender_address},
        {"consignee_address": c.consignee_address}, {"hs_code": (c.hs_code or "61")[: draws.randint(1, 8)]},
        {"departure_country": c.departure_country}, {"route": (c.route or "ICN")[: draws.randint(3, 8)]}, {"description_pattern": word},
        {"description_pattern": f"{word[:4]}*"}, {"description_pattern": f"*{word[-4:]}"}, {"description_pattern": f"*{word[1:9]}*"},
        {"description_pattern": f"{word[:1]}*{word[-2:]}"}, {"description_pattern": " ".join(words[:3])[:80]},
        {"indicators": compute_indicators(c, draws.choice(list(KEYS)))[draws.randint(0, 8) :]},
    ]  # fmt: skip
    return Alert(alert_id=f"A{place}", issued_at=BEFORE, expires_at=AFTER, **draws.choice(patterns))


def make_hostile_rows(seed: int, rows: int) -> list[Consignment]:
    draws = random.Random(seed)
    made = (make_hostile(draws, draws.choice(BASES), RECORD) for _ in range(rows))
    return [structs.replace(c, received_at=RECEIVED_AT) for c in made]


@pytest.mark.parametrize("seed", range(3))
def test_hostile_rows_that_alerts_match_are_marked(seed: int) -> None:
    consignments = make_hostile_rows(seed, 300)
    pipeline = make_pipeline(make_alerts(random.Random(seed), consignments, 30))
    found = compare_all(pipeline, consignments)
    assert found[:, 0].any()


def test_each_kind_of_alert_alone_marks_what_it_matches() -> None:
    consignments = make_hostile_rows(11, 80)
    draws = random.Random(11)
    for one in make_alerts(draws, consignments, 120):
        alerts = Alerts([one], keys=KEYS)
        matched = [
            place for place, c in enumerate(consignments) if alerts.list_matches(c, normalize_consignment(c))
        ]
        assert set(matched) <= set(list_marked(alerts, consignments)), one


def test_each_indicator_alone_is_found_on_the_side_that_has_it() -> None:
    consignments = [*make_hostile_rows(5, 60), *(make_consignment(**base) for base in BASES)]
    kinds = {f"{each.kind}/{each.resolution}" for each in INDICATORS}
    for c in consignments:
        for token in compute_indicators(c, next(iter(KEYS))):
            kinds.discard(token.split(":")[1])
            assert list_marked(Alerts([alert(indicators=(token,))], keys=KEYS), [c]) == [0], token
    assert not kinds


PATTERN_TEXT = st.text("abc12-*' ", max_size=12) | st.sampled_from(
    ["3-CMC", "*cmc", "a-pvp*", "*나*", "t-*", "*" + "x" * 9 + "*"]
)
GOODS_TEXT = (
    st.text("abcABC12-_'` .|", max_size=24)
    | st.sampled_from(GOODS_TEXTS)
    | st.text("".join(ODD_LETTERS) + "abc3-", max_size=16)
)  # fmt: skip


@given(st.lists(PATTERN_TEXT, min_size=1, max_size=3), st.lists(GOODS_TEXT, min_size=1, max_size=3))
@settings(max_examples=300, deadline=None)
def test_any_goods_that_a_pattern_matches_are_marked(patterns: list[str], texts: list[str | None]) -> None:
    alerts = Alerts([alert(description_pattern=pattern) for pattern in patterns])
    items = tuple(Item(description=text) for text in texts[1:]) or None
    c = make_consignment(description=texts[0], items=items)
    if alerts.list_matches(c, normalize_consignment(c)):
        assert list_marked(alerts, [c]) == [0]


PATTERNS = st.fixed_dictionaries(
    {},
    optional={
        "description_pattern": st.sampled_from(["cotton", "cot*", "*ton", "*tto*", "c*n", "silk", "*i*"]),
        "hs_code": st.sampled_from(["61", "6109", "62"]),
        "sender_name": st.sampled_from(["Orchid Trading", "Lotus", "주식회사 한빛 화학"]),
        "consignee_name": st.sampled_from(["Kim Min-su", "Minsu, Kim"]),
        "consignee_address": st.sampled_from(["45 Teheran-ro 101-1203", "1 Main St", "12 Student Dormitory Flat 3"]),
        "departure_country": st.sampled_from(["GB", "ﬁ", " gb "]),
        "route": st.sampled_from(["LHR", "PVG>ICN", "ﬁn"]),
    },
)  # fmt: skip


@given(
    st.lists(PATTERNS, min_size=1, max_size=4), st.integers(0, 2), st.sampled_from(["GB", "fi", "ﬁ", None])
)
@settings(max_examples=100, deadline=None)
def test_any_alerts_give_the_features_of_python(
    patterns: list[dict[str, str]], base: int, departure: str | None
) -> None:
    alerts = [Alert(alert_id=f"A{place}", issued_at=BEFORE, **each) for place, each in enumerate(patterns)]
    c = structs.replace(
        make_consignment(**BASES[base]), received_at=RECEIVED_AT, departure_country=departure, route="lhr > FIN>ICN"
    )  # fmt: skip
    compare_all(make_pipeline(alerts), [c])


def test_a_row_that_no_alert_may_match_does_not_reach_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a simulated world, alerts of some other consignments mark few rows, and Python reads no form of the others."""
    frame = check_frame(simulate(days=6, per_day=100, seed=3).consignments, Consignment).frame
    consignments: list[Consignment] = to_consignments(frame, Consignment)
    draws = random.Random(7)
    chosen = [draws.choice(consignments) for _ in range(4)]
    patterns = [
        pattern
        for c in chosen
        for pattern in (
            {"sender_name": c.sender_name}, {"consignee_address": c.consignee_address}, {"description_pattern": "*nitazene*"},
            {"indicators": compute_indicators(c, next(iter(KEYS)))[1:4]},
        )
    ]  # fmt: skip
    pipeline = make_pipeline(
        [Alert(alert_id=f"{place}", issued_at=BEFORE, **each) for place, each in enumerate(patterns)]
    )
    expected = compare_all(pipeline, consignments)
    reached = []
    compute = pipeline.alerts.compute

    def count(c: Consignment, *rest: Any) -> Sequence[float]:
        reached.append(c.consignment_id)
        return compute(c, *rest)

    monkeypatch.setattr(pipeline.alerts, "compute", count)
    X = np.zeros((len(consignments), pipeline.history_at), np.float32)
    keys = np.zeros((2, len(consignments), len(pipeline.kinds)), np.uint64)
    pipeline.fill_rows(consignments, X, *keys)
    matched = (expected[:, 0] > 0) | (expected[:, 6:8] > 0).any(axis=1)
    assert matched.sum() <= len(reached) <= matched.sum() + len(consignments) // 20


def test_alerts_at_other_times_are_not_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = make_pipeline([alert(hs_code="61", expires_at=day(-1))])
    monkeypatch.setattr(pipeline, "create_search", None)
    X, keys = np.zeros((1, pipeline.history_at), np.float32), np.zeros((2, 1, len(pipeline.kinds)), np.uint64)
    pipeline.fill_rows([make_consignment()], X, *keys)
    assert np.isnan(list_alert_features(pipeline, X)).sum() == 3


def test_an_alert_that_comes_later_is_searched_for_from_then_on() -> None:
    alerts = Alerts(keys=KEYS)
    assert list_marked(alerts, [make_consignment()]) == []
    alerts.add(alert(sender_name="Orchid Trading"))
    assert list_marked(alerts, [make_consignment()]) == [0]


def test_an_indicator_whose_key_comes_later_is_searched_for_from_then_on() -> None:
    key, keys = next(iter(KEYS)), OperationKeys()
    alerts = Alerts([alert(indicators=compute_indicators(make_consignment(), key))], keys=keys)
    assert list_marked(alerts, [make_consignment()]) == []
    keys.update([key])
    assert list_marked(alerts, [make_consignment()]) == [0]


@pytest.mark.parametrize(
    "token", ["", "x", "0123456789abcdef:phone/exact:zz", "0123456789abcdef:phone/exact:00ff"]
)
def test_a_text_that_is_no_indicator_marks_nothing(token: str) -> None:
    assert list_marked(Alerts([alert(indicators=(token,))], keys=KEYS), [make_consignment()]) == []


def test_marks_of_another_kind_or_size_are_refused() -> None:
    pipeline = make_pipeline(())
    rows = create_rows(1, pipeline.key_plan)
    rows = rows._replace(values=np.zeros((1, pipeline.history_at), np.float32))
    for marks, what in (
        (np.zeros(2, np.uint8), "marks of shape"),
        (np.zeros(1, np.int64), "marks of shape"),
        (np.zeros(1, np.uint8), "forms of 0 rows"),
    ):
        search = NO_SEARCH._replace(candidates=marks)
        with pytest.raises(IndexError, match=what):
            fill_described([make_consignment()], pipeline.key_plan, pipeline.feature_plan, rows, search)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=200))
def test_a_set_of_hashes_grows_and_loses_none(values: list[int]) -> None:
    hashes = TextHashes()
    for value in values:
        hashes.add(value)
        hashes.add(value)
    kept = hashes.slots[hashes.slots != NO_HASH].tolist()
    assert sorted(kept) == sorted({value or 1 for value in values})
    assert len(hashes.slots) >= 2 * len(kept)


def test_equal_texts_of_two_lists_have_different_hashes() -> None:
    assert hash_text("gb", 1) != hash_text("gb", 2)
    assert hash_text("gb") == hash_text(map(ord, "gb"))
