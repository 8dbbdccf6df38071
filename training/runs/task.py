"""Input of a training run: tables, date, target and settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import pandas as pd

from consignments.errors import BadInput
from consignments.records import Target
from consignments.timestamps import NO_TIME, get_time_column_us, to_datetime, to_us
from consignments.visibility import FINAL_RESULTS, compute_visible_us
from features.batch import Tables
from features.streams import FeatureInputs
from models.formats import format_percent
from training.config import EvaluationConfig, TrainConfig
from training.data.splits import truncate_to_day
from training.data.training_set import is_positive, select_current_outcomes
from training.fitting.diagnostics import DiagnosticsOptions

MAX_QUIET_DAYS = 31  # days without any event between the tables and the date of a training
MAX_POSITIVE_SHARE = 0.5
MIN_CHECKED_RESULTS = 50  # results from which on the share of positives is checked; fewer may be chance


@dataclass(frozen=True, repr=False)
class TrainingTask:
    """Input of a training run: tables, date, target and settings.

    Consignments as `FeatureInputs` need not fit in memory. Arrivals after `as_of`, and outcomes that became visible after it, are ignored; by
    default it is the midnight after the last event. The `truth` of a simulated world is for evaluation, never for training. `sources` are
    the paths of the tables by name, for the record. In the folder `work` the computed features stay, so that an interrupted run continues;
    a Dask `cluster` that computes them, by its address, needs it.
    """

    tables: Tables | FeatureInputs
    as_of: datetime | None = None
    target: Target = "nps"
    config: TrainConfig = field(default_factory=TrainConfig)
    truth: pd.DataFrame | None = None
    diagnostics: DiagnosticsOptions = field(default_factory=DiagnosticsOptions)
    sources: Mapping[str, str] = field(default_factory=dict)
    work: Path | None = None
    cluster: str | None = None

    @cached_property
    def inputs(self) -> FeatureInputs:
        """The tables, with one spelling for each consignment. They can be read several times."""
        require_outcomes(self.tables)
        return FeatureInputs.to_repeatable(self.tables)

    def check(self) -> None:
        """Check the date, the results and the diagnostics before anything is computed; `BadInput`, `UnknownName` if one is faulty."""
        if not len(self.inputs.consignments):
            raise _build_empty_fault("consignments", "0 rows")
        ends = find_day_after_last_event(self.inputs)
        if self.as_of is not None and self.as_of > ends + timedelta(days=MAX_QUIET_DAYS):
            raise BadInput(
                "the date of the training is long after the last event of the tables",
                where="--as-of",
                got=f"{self.as_of:%Y-%m-%d}, {(self.as_of - ends).days:,} days after the last event",
                expected=f"at most {MAX_QUIET_DAYS} days after it, {ends:%Y-%m-%d} or earlier is usual",
                todo="correct the date, leave it out, or provide newer tables",
            )
        check_results(require_outcomes(self.inputs), self.find_as_of(), self.target)
        self.diagnostics.check(self.config)

    def find_as_of(self) -> datetime:
        """Return the date of the run: the given one, else the midnight after the last event of the tables."""
        if self.as_of is None:
            return find_day_after_last_event(self.inputs)
        # Files of the run are encoded without pandas, which gives the date of the command line.
        return to_datetime(to_us(self.as_of))

    def build_title(self) -> str:
        """Build the name of the run, which says what was requested: `nps, as of 2024-07-15: truth, trials 20`."""
        trials = self.diagnostics.search
        origins = self.config.evaluation.origins
        requested = [
            *(["truth"] if self.truth is not None else []),
            *([f"trials {trials.trials}"] if trials is not None else []),
            *(["ablation"] if self.diagnostics.ablation else []),
            *([f"origins {origins}"] if origins != EvaluationConfig().origins else []),
        ]
        return f"{self.target}, as of {self.find_as_of():%Y-%m-%d}: {', '.join(requested) or 'plain'}"


def find_day_after_last_event(inputs: FeatureInputs) -> datetime:
    """Find the midnight after the last arrival or result of the tables."""
    moments = [get_time_column_us(inputs.consignments.take_order(), "received_at")]
    if inputs.outcomes is not None:
        # Pending rows may be of days to come.
        moments.append(compute_visible_us(inputs.outcomes[inputs.outcomes["result"].isin(FINAL_RESULTS)]))
    last = max((int(each.max()) for each in moments if len(each)), default=NO_TIME)
    if last == NO_TIME:
        raise _build_empty_fault("consignments", "no time of arrival")
    return truncate_to_day(to_datetime(last)) + timedelta(days=1)


def require_outcomes(tables: Tables | FeatureInputs) -> pd.DataFrame:
    """Return the outcomes of some tables; raise `BadInput` if there are none."""
    if tables.outcomes is None or tables.outcomes.empty:
        raise _build_empty_fault("outcomes", "no table" if tables.outcomes is None else "0 rows")
    return tables.outcomes


def _build_empty_fault(table: str, got: str) -> BadInput:
    return BadInput(
        f"there are no {'results' if table == 'outcomes' else table} to train on",
        where=table,
        got=got,
        expected="consignments with their time of arrival, and outcomes of inspections",
        todo="check that it is the right file; if its rows were refused, --rejects FILE shows them with their reasons",
    )


def check_results(outcomes: pd.DataFrame, as_of: datetime, target: Target) -> None:
    """Raise `BadInput` if more than half of the results not on intelligence are positive, as after a swap."""
    current = select_current_outcomes(outcomes, to_us(as_of))
    final = current[current["result"].isin(FINAL_RESULTS) & (current["selected_by"] != "intelligence")]
    positive = is_positive(final["result"], target)
    if len(final) < MIN_CHECKED_RESULTS or positive.mean() <= MAX_POSITIVE_SHARE:
        return
    counts = ", ".join(f"{result} {count:,}" for result, count in final["result"].value_counts().items())
    raise BadInput(
        "more than half of the results are positive",
        where=f"outcomes as of {as_of:%Y-%m-%d}, target {target}",
        got=f"{format_percent(positive.mean())} of {len(final):,} results: {counts}",
        expected=f"at most {format_percent(MAX_POSITIVE_SHARE)}, because most inspections find nothing",
        todo="check that the values of `result` are not swapped, and that the table also has the inspections that found nothing",
    )
