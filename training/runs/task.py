"""Input of a training run: tables, date, target and settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import pandas as pd

from consignments.errors import BadInput
from consignments.records import Target
from consignments.timestamps import NO_TIME, get_time_column_us, to_datetime
from consignments.visibility import compute_visible_us
from features.batch import Tables
from features.streams import FeatureInputs
from training.config import EvaluationConfig, TrainConfig
from training.data.splits import truncate_to_day
from training.fitting.diagnostics import DiagnosticsOptions


@dataclass(frozen=True)
class TrainingTask:
    """Input of a training run: tables, date, target and settings.

    Attributes
    ----------
    tables : Tables or FeatureInputs
        Consignments, outcomes, alerts; as `FeatureInputs` the consignments need not fit in memory.
    as_of : datetime, optional
        Later arrivals, and outcomes that became visible later, are ignored. Default: the midnight after the last event of
        the tables.
    target : {"nps", "controlled_drug", "any_offence"}
    config : TrainConfig
    truth : DataFrame, optional
        Of a simulated world; used for evaluation, never for training.
    diagnostics : DiagnosticsOptions
        Additional diagnostics: ablation, search. Default: none.
    sources : mapping
        Name of a table to the path of its file, for the record. Default: tables in memory.
    work : Path, optional
        Folder that keeps the computed features, so that an interrupted run continues. Default: they are kept in memory.
    cluster : str, optional
        Address of a Dask cluster that computes the features. It needs `work`.
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

    def find_as_of(self) -> datetime:
        """Return the date of the run: the given one, else the midnight after the last event of the tables."""
        return self.as_of or find_day_after_last_event(self.inputs)

    def build_title(self) -> str:
        """Build the name of the run, which says what was requested.

        Examples
        --------
        `nps, as of 2024-07-15: truth, trials 20`
        """
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
        moments.append(compute_visible_us(inputs.outcomes))
    last = max((int(each.max()) for each in moments if len(each)), default=NO_TIME)
    if last == NO_TIME:
        raise BadInput("the tables contain no event", where="consignments")
    return truncate_to_day(to_datetime(last)) + timedelta(days=1)


def require_outcomes(tables: Tables | FeatureInputs) -> pd.DataFrame:
    """Return the outcomes of some tables; raise `BadInput` if there are none."""
    if tables.outcomes is None or tables.outcomes.empty:
        raise BadInput(
            "there are no results to train on", where="outcomes", expected="a table of inspection results"
        )
    return tables.outcomes
