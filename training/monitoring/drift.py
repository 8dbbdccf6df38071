"""Watching without labels: later traffic against the reference, and what to do about what moved.

Three verdicts for different causes. `investigate data`: a source fell silent, codes are unknown, a column is empty, a unit
changed; a model trained on that would learn the fault. `retrain`: the world moved, in scores, mix or senders. `stable`:
neither. Everything is an effect size; no p-value, since with much traffic every difference has a small one.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.errors import BadInput
from consignments.records import Target
from consignments.timestamps import NO_TIME, get_time_column_us, to_us
from features.batch import BATCH_KEY, ComputeOptions, Progress, Tables
from features.history.pseudonyms import Pseudonyms
from features.streams import FeatureInputs, stream_features
from models.batch_scoring import build_feature_parameters
from models.bundle import Bundle
from models.traffic_profile import ReferenceProfile
from training.config import EvaluationConfig
from training.monitoring.drift_measures import DriftTables as DriftTables
from training.monitoring.drift_measures import Row, compute_drift_tables
from training.monitoring.drift_verdict import (
    DriftReason,
    DriftVerdict,
    decide_drift_verdict,
    find_drift_reasons,
    list_notes,
)
from training.monitoring.traffic_profile import CHANNEL, OFFICE, ScoredTraffic, build_traffic_profile


@dataclass(frozen=True)
class Drift:
    """Later traffic against the reference.

    Attributes
    ----------
    then, now : Reference
        The two portraits.
    tables : dict
        Of `training.monitoring.drift_measures.compute_drift_tables`.
    reasons : list of Reason
        What moved beyond its bound.
    notes : list of str
        What could not be judged.
    daily : dict
        Source, as `office:Incheon`, to its arrivals on each day.
    """

    then: ReferenceProfile
    now: ReferenceProfile
    tables: DriftTables
    reasons: list[DriftReason]
    notes: list[str]
    daily: dict[str, list[int]]

    @property
    def verdict(self) -> DriftVerdict:
        """What to do."""
        return decide_drift_verdict(self.reasons)

    def build_reason_rows(self) -> list[Row]:
        """Give the reasons as a table."""
        return [{"verdict": reason.verdict, "text": reason.text} for reason in self.reasons]

    def flatten_metrics(self) -> dict[str, float]:
        """Give the metrics of the run; unknown ones are left out."""
        named = {f"psi/score/{row['part']}": row["psi"] for row in self.tables["scores"]}
        named |= {f"total_variation/{row['column']}": row["total_variation"] for row in self.tables["mix"]}
        named |= {
            f"precision_at_capacity/{str(row['what']).replace(' ', '_')}": row["value"]
            for row in self.tables["precision"]
        }
        return {name: float(value) for name, value in named.items() if np.isfinite(float(value))}


def detect_drift(
    bundle: Bundle,
    tables: Tables,
    pseudonyms: Pseudonyms | None = None,
    config: EvaluationConfig | None = None,
    *,
    history: pd.DataFrame | None = None,
    reference: pd.DataFrame | None = None,
    begins: datetime | None = None,
    ends: datetime | None = None,
    progress: Progress | None = None,
) -> Drift:
    """Hold the traffic of a period against the reference.

    Parameters
    ----------
    bundle : Bundle
        The model that scores.
    tables : Tables
        Consignments, and the outcomes and alerts that history may show.
    pseudonyms : Pseudonyms, optional
    config : EvaluationConfig, optional
    history : DataFrame, optional
        Past consignments; they join the history and are not watched.
    reference : DataFrame, optional
        Consignments to take for the reference, in place of the bundle's own.
    begins, ends : datetime, optional
        Watched are the arrivals from `begins` until `ends`; those before join the history. Default: all given ones.

    Raises
    ------
    BadInput
        Where nothing arrived in the period, or the model carries no reference.
    """
    pseudonyms, config = pseudonyms or Pseudonyms(BATCH_KEY), config or EvaluationConfig()
    frame = tables.consignments
    received = get_time_column_us(frame, "received_at")
    inside = _select_period(received, begins, ends)
    if not inside.any():
        raise BadInput(
            "no consignment was received in the period",
            where="consignments",
            todo="give later consignments, or choose another period with --from and --until",
        )
    earlier = frame.loc[received < received[inside].min()]
    past = _concatenate(history, reference, earlier)
    told = Tables(frame.loc[inside], tables.outcomes, tables.alerts)
    then = bundle.reference
    if reference is not None:
        before = Tables(reference, tables.outcomes, tables.alerts)
        then = build_traffic_profile(
            score_traffic(bundle, before, history, pseudonyms, progress), _require_reference(then).capacity
        )
    seen = score_traffic(bundle, told, past, pseudonyms, progress)
    return measure_drift(
        _require_reference(then),
        seen,
        config,
        tables.outcomes,
        bundle.card.target,
        with_history=past is not None,
    )


def score_traffic(
    bundle: Bundle,
    given: Tables,
    history: pd.DataFrame | None,
    pseudonyms: Pseudonyms,
    progress: Progress | None = None,
) -> ScoredTraffic:
    """Score consignments and keep their features.

    Raises
    ------
    BundleRefused
        Where the model was trained on other features than this version computes.
    """
    parameters = build_feature_parameters(bundle, pseudonyms)
    model = bundle.model.replace_spec(parameters.build_pipeline().spec)
    pieces = stream_features(
        FeatureInputs.from_tables(given, history), parameters, options=ComputeOptions(progress=progress)
    )
    X, frame = np.concatenate([piece.X for piece in pieces]), given.consignments
    return ScoredTraffic(frame, X, model.spec, model.score(X, frame["channel"].tolist()), bundle.config)


def measure_drift(
    then: ReferenceProfile,
    seen: ScoredTraffic,
    config: EvaluationConfig,
    outcomes: pd.DataFrame | None = None,
    target: Target = "nps",
    *,
    with_history: bool = True,
) -> Drift:
    """Hold scored traffic against a reference.

    Parameters
    ----------
    then : Reference
    seen : Seen
    config : EvaluationConfig
        How often days are drawn anew.
    outcomes : DataFrame, optional
        For the realised precision.
    target : str
    with_history : bool
        Whether anything is known of the time before: without, scores and senders are not judged.
    """
    now = build_traffic_profile(seen, then.capacity, like=then)
    tables = compute_drift_tables(then, now, seen, config, outcomes, target)
    return Drift(
        then=then,
        now=now,
        tables=tables,
        reasons=find_drift_reasons(tables, with_history=with_history),
        notes=list(list_notes(tables, with_history=with_history)),
        daily=_count_daily_arrivals(seen, now),
    )


def _count_daily_arrivals(seen: ScoredTraffic, now: ReferenceProfile) -> dict[str, list[int]]:
    first = int(seen.day.min())
    return {
        f"{column}:{value}": np.bincount(seen.day[codes == value] - first, minlength=now.days).tolist()
        for column in (CHANNEL, OFFICE)
        for codes in [seen.extract_texts(column)]
        for value in sorted(set(codes) - {""})
    }


def _select_period(
    received: NDArray[np.int64], begins: datetime | None, ends: datetime | None
) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = received != NO_TIME
    if begins is not None:
        inside &= received >= to_us(begins)
    if ends is not None:
        inside &= received < to_us(ends)
    return inside


def _concatenate(*frames: pd.DataFrame | None) -> pd.DataFrame | None:
    """Put past consignments together, each once; None where there are none."""
    given = [frame for frame in frames if frame is not None and len(frame)]
    if not given:
        return None
    whole = pd.concat(given, ignore_index=True)
    return whole if "sequence" in whole else whole.drop_duplicates("consignment_id", keep="last")


def _require_reference(reference: ReferenceProfile | None) -> ReferenceProfile:
    if reference is None:
        raise BadInput(
            "the model carries no reference to watch against", where="bundle", todo="train the model again"
        )
    return reference
