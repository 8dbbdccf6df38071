"""Splits by time: training, validation and test, counted back from the last label, separated by the label delay (docs/data-scientist.md).

Training and validation labels are those visible on the day the test begins: on that day this very model could have been deployed."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from consignments.errors import BadInput
from consignments.timestamps import NO_TIME, to_us
from models.arrays import Bools, Ints
from training.config import SplitConfig

OUTSIDE, TRAIN, VALIDATION, TEST = 0, 1, 2, 3
"""The part a consignment is assigned to; `OUTSIDE` is in a gap, before the first or after the last period."""


class ArrivalWindow(NamedTuple):
    """Period of arrivals from `begins` until `ends`, which is not included; None: no bound."""

    begins: datetime | None = None
    ends: datetime | None = None

    def select(self, received_us: Ints) -> Bools:
        """Select arrivals by their times in microseconds since the epoch; a missing time is in no window."""
        inside: Bools = received_us != NO_TIME
        if self.begins is not None:
            inside &= received_us >= to_us(self.begins)
        if self.ends is not None:
            inside &= received_us < to_us(self.ends)
        return inside

    def count_days(self) -> int:
        """Count its days; 0 without both bounds."""
        return 0 if self.begins is None or self.ends is None else (self.ends - self.begins).days

    def describe(self) -> str:
        """Describe the period in words; every page names periods in this form."""
        word = "on" if self.ends is None else "until"
        first = "" if self.begins is None else f" from {self.begins:%Y-%m-%d} {word}"
        return f"arrivals{first}" + ("" if self.ends is None else f" before {self.ends:%Y-%m-%d}")


ALL_ARRIVALS = ArrivalWindow()


@dataclass(frozen=True)
class Period:
    """One period of arrivals, whose end is not included; only labels visible by `labels_by` count."""

    name: str
    begins: datetime
    ends: datetime
    labels_by: datetime

    @property
    def days(self) -> int:
        """Length in days."""
        return (self.ends - self.begins).days


@dataclass(frozen=True)
class Split:
    """Division of the time before a date into training, validation and test, with the label delay as gap between them."""

    train: Period
    validation: Period
    test: Period
    gap: timedelta
    as_of: datetime

    @property
    def periods(self) -> tuple[Period, Period, Period]:
        """The three periods in the order of time."""
        return self.train, self.validation, self.test

    def assign_parts(self, received_us: Ints) -> NDArray[np.int8]:
        """Assign arrivals to `TRAIN`, `VALIDATION`, `TEST` or `OUTSIDE`, by their times in microseconds since the epoch."""
        part = np.full(len(received_us), OUTSIDE, dtype=np.int8)
        for code, period in zip((TRAIN, VALIDATION, TEST), self.periods, strict=True):
            part[ArrivalWindow(period.begins, period.ends).select(received_us)] = code
        return part

    def to_rows(self) -> list[dict[str, str]]:
        """Return the split as table rows for the report."""
        return [
            {"period": each.name, "arrivals_from": f"{each.begins:%Y-%m-%d}"}
            | {
                "arrivals_before": f"{each.ends:%Y-%m-%d}",
                "labels_visible_by": f"{each.labels_by:%Y-%m-%d %H:%M}",
            }
            for each in self.periods
        ]


def split_by_time(
    first_arrival: datetime, last_labelled_arrival: datetime, as_of: datetime, config: SplitConfig
) -> Split:
    """Split the time before `as_of`, counting back from the last arrival that has a final result by then."""
    gap = timedelta(days=config.label_delay_days)
    test_ends = min(truncate_to_day(as_of - gap), truncate_to_day(last_labelled_arrival) + timedelta(days=1))
    if config.test_from is None:
        test_begins = test_ends - timedelta(days=config.test_days)
    else:
        test_begins = datetime.combine(config.test_from, time(), tzinfo=UTC)
    if test_begins >= test_ends:
        raise BadInput(
            "the test period contains no label",
            where="[split] test_from",
            got=f"{test_begins:%Y-%m-%d}",
            expected=f"a day before {test_ends:%Y-%m-%d}, when the last labels were received",
            todo="choose an earlier day, or train as of a later date",
        )
    return _split_before(Period("test", test_begins, test_ends, as_of), first_arrival, as_of, config)


def split_without_test(first_arrival: datetime, as_of: datetime, config: SplitConfig) -> Split:
    """Split the time before `as_of` for a model that is deployed at once: the test period is empty, and labels are read at `as_of`."""
    end = truncate_to_day(as_of)
    return _split_before(Period("test", end, end, as_of), first_arrival, as_of, config)


def _split_before(test: Period, first_arrival: datetime, as_of: datetime, config: SplitConfig) -> Split:
    gap, labels_by = timedelta(days=config.label_delay_days), test.begins if test.days else as_of
    validation_ends = test.begins - gap
    validation_begins = validation_ends - timedelta(days=config.validation_days)
    train_begins, train_ends = truncate_to_day(first_arrival), validation_begins - gap
    if train_begins >= train_ends:
        raise BadInput(
            "too little time before the test period for training",
            where=f"arrivals from {train_begins:%Y-%m-%d} as of {as_of:%Y-%m-%d}",
            got=f"{(test.ends - train_begins).days} days with labels",
            expected=f"at least {(test.ends - train_ends).days + 1} days, and better three times as many",
            todo="provide earlier data, or shorten validation_days, test_days or label_delay_days in [split]",
        )
    validation = Period("validation", validation_begins, validation_ends, labels_by)
    return Split(Period("training", train_begins, train_ends, labels_by), validation, test, gap, as_of)


def split_nothing(first_arrival: datetime, as_of: datetime) -> Split:
    """Assign all time before `as_of` to training, for the final fit: it uses every label known at `as_of`."""
    train = Period("training", truncate_to_day(first_arrival), as_of, as_of)
    validation, test = (Period(name, as_of, as_of, as_of) for name in ("validation", "test"))
    return Split(train, validation, test, timedelta(0), as_of)


def truncate_to_day(moment: datetime) -> datetime:
    """Return the beginning of the UTC day of a time."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
