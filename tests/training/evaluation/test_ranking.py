"""Claims about ranked traffic: every shortcut equals the plain computation on rows that are really repeated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from training.evaluation.ranking import DailyRanking, compute_average_precision, compute_roc_auc, draw_days


@st.composite
def traffic(draw):
    """Rows with many tied scores over a few days, some without a label."""
    rows = draw(st.integers(4, 40))
    numbers = np.random.default_rng(draw(st.integers(0, 2**31)))
    return (
        numbers.integers(0, draw(st.integers(1, 12)), rows) / 10.0,
        numbers.integers(20_000, 20_005, rows),
        numbers.random(rows) < 0.4,
        numbers.choice([0.0, 1.0, 2.5], rows),
    )


def repeated(ranking, counts, *columns):
    """Repeat each row as often as its day counts."""
    times = counts[ranking.day].astype(int)
    return [np.repeat(column, times) for column in columns]


def test_the_first_draw_is_the_data_itself_and_each_draw_has_as_many_days():
    draws = draw_days(7, 50, seed=3)
    assert draws[0].tolist() == [1.0] * 7
    assert (draws.sum(axis=1) == 7).all()


def test_the_same_seed_draws_the_same_days():
    assert (draw_days(7, 50, seed=3) == draw_days(7, 50, seed=3)).all()


def test_the_two_days_of_the_docstring():
    ranking = DailyRanking(np.array([9.0, 7.0, 8.0, 6.0]), np.array([1, 1, 2, 2]))
    draws = np.array([[1.0, 1.0], [2.0, 0.0]])
    above, at = ranking.sum_above_and_at(
        draws, ranking.compute_running_sums(ranking.group.astype(float)), ranking.cut(draws, 0.5)
    )
    assert (above + at).tolist() == [0 + 1, 0 + 0]


@settings(max_examples=60)
@given(traffic(), st.sampled_from([0.01, 0.1, 0.5, 1.0]))
def test_a_cut_takes_what_the_repeated_rows_would_give_with_ties_drawn_by_lot(rows, share):
    score, day, positive, _ = rows
    ranking = DailyRanking(score, day)
    draws = draw_days(len(ranking.days), 5, seed=1)
    cut = ranking.cut(draws, share)
    above, at = ranking.sum_above_and_at(draws, ranking.compute_running_sums(positive.astype(float)), cut)
    for place, counts in enumerate(draws):
        scores, hits = repeated(ranking, counts, score, positive.astype(float))
        size = max(1, round(share * len(scores)))
        edge = np.sort(scores)[::-1][size - 1]
        tied = scores == edge
        part = (size - (scores > edge).sum()) / tied.sum()
        assert cut.size[place] == size
        expected = hits[scores > edge].sum() + part * hits[tied].sum()
        assert above[place] + cut.part[place] * at[place] == pytest.approx(expected)


@settings(max_examples=60)
@given(traffic())
def test_the_roc_area_of_each_resample_is_that_of_the_repeated_rows(rows):
    score, day, positive, weight = rows
    ranking = DailyRanking(score, day)
    draws = draw_days(len(ranking.days), 5, seed=1)
    areas = compute_roc_auc(ranking, draws, positive, weight)
    for counts, area in zip(draws, areas, strict=True):
        scores, hits, weights = repeated(ranking, counts, score, positive, weight)
        if len(set(hits[weights > 0])) == 2:
            assert area == pytest.approx(roc_auc_score(hits, scores, sample_weight=weights))
        else:
            assert np.isnan(area)


@settings(max_examples=60)
@given(traffic())
def test_the_average_precision_of_each_resample_is_that_of_the_repeated_rows(rows):
    score, day, positive, weight = rows
    ranking = DailyRanking(score, day)
    draws = draw_days(len(ranking.days), 5, seed=1)
    found = compute_average_precision(ranking, draws, positive, weight)
    for counts, value in zip(draws, found, strict=True):
        scores, hits, weights = repeated(ranking, counts, score, positive, weight)
        if hits[weights > 0].any():
            assert value == pytest.approx(average_precision_score(hits, scores, sample_weight=weights))
        else:
            assert np.isnan(value)


def test_many_positives_are_worked_off_in_parts_with_the_same_result(monkeypatch):
    numbers = np.random.default_rng(5)
    score, day = numbers.integers(0, 50, 300) / 50, numbers.integers(0, 6, 300)
    positive, weight = numbers.random(300) < 0.5, np.ones(300)
    ranking = DailyRanking(score, day)
    draws = draw_days(6, 10, seed=1)
    whole = [
        measure(ranking, draws, positive, weight) for measure in (compute_roc_auc, compute_average_precision)
    ]
    monkeypatch.setattr("training.evaluation.ranking.POSITIVES_AT_A_TIME", 7)
    parts = [
        measure(ranking, draws, positive, weight) for measure in (compute_roc_auc, compute_average_precision)
    ]
    assert np.allclose(whole, parts, rtol=1e-12)
