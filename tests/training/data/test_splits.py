"""Claims about splits."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consignments.errors import BadInput
from consignments.timestamps import NO_TIME, to_us
from training.config import SplitConfig
from training.data import splits


def moment(month, day, hour=0):
    return datetime(2024, month, day, hour, tzinfo=UTC)


def delayed(**settings):
    return SplitConfig(**({"label_delay_days": 14} | settings))


def example(**settings):
    return splits.split_by_time(moment(1, 1, 7), moment(6, 28, 9), moment(7, 1), delayed(**settings))


def test_periods_are_counted_back_with_the_label_delay_between_them():
    edges = {
        splits.TRAIN: ((1, 1), (3, 24, 23)),
        splits.VALIDATION: ((4, 8), (5, 5, 23)),
        splits.TEST: ((5, 20), (6, 16, 23)),
        splits.OUTSIDE: ((3, 25), (4, 7, 23), (5, 6), (5, 19, 23), (6, 17)),
    }
    for part, moments in edges.items():
        received = np.array([to_us(moment(*each)) for each in moments])
        assert example().assign_parts(received).tolist() == [part] * len(moments)


def test_without_a_test_period_training_and_validation_end_as_late_as_they_can():
    split = splits.split_without_test(moment(1, 1, 7), moment(7, 1), delayed())
    assert (split.train.begins, split.train.ends) == (moment(1, 1), moment(5, 6))
    assert (split.validation.begins, split.validation.ends) == (moment(5, 20), moment(6, 17))
    assert [period.labels_by for period in split.periods] == [moment(7, 1)] * 3
    assert split.test.days == 0


def test_if_labels_stop_early_the_test_ends_with_the_last_of_them():
    split = splits.split_by_time(moment(1, 1), moment(5, 31, 9), moment(7, 1), delayed())
    assert split.test.ends == moment(6, 1)


def test_a_given_first_day_of_the_test_moves_the_other_periods():
    split = example(test_from=date(2024, 6, 1))
    assert (split.test.begins, split.test.ends) == (moment(6, 1), moment(6, 17))
    assert split.validation.ends == moment(5, 18)


def test_too_short_a_past_says_how_much_is_needed_and_a_test_after_the_last_label_is_refused():
    with pytest.raises(BadInput, match=r"got 62 days.*at least 85 days"):
        splits.split_by_time(moment(4, 16), moment(6, 28), moment(7, 1), delayed())
    with pytest.raises(BadInput, match="contains no label"):
        example(test_from=date(2024, 6, 20))


@given(
    delay=st.integers(0, 40), validation=st.integers(1, 40), test=st.integers(1, 40), last=st.integers(0, 60)
)
def test_periods_never_touch_closer_than_the_label_delay(delay, validation, test, last):
    config = SplitConfig(validation_days=validation, test_days=test, label_delay_days=delay)
    as_of = moment(12, 1, 5)
    split = splits.split_by_time(moment(1, 1), as_of - timedelta(days=last), as_of, config)
    gap = timedelta(days=delay)
    assert split.train.ends + gap == split.validation.begins
    assert split.validation.ends + gap == split.test.begins
    assert split.train.labels_by == split.validation.labels_by == split.test.begins
    assert split.test.ends + gap <= split.as_of
    assert (split.validation.days, split.test.days) == (validation, test)


def test_a_window_holds_its_first_moment_and_not_its_end_and_no_missing_time():
    begins, ends = datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 3, 2, tzinfo=UTC)
    received = np.array([NO_TIME, to_us(begins) - 1, to_us(begins), to_us(ends) - 1, to_us(ends)])
    assert splits.ArrivalWindow(begins, ends).select(received).tolist() == [False, False, True, True, False]
    assert splits.ALL_ARRIVALS.select(received).tolist() == [False, True, True, True, True]
