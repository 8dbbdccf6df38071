"""Monitoring without labels: compares later traffic with the reference, and recommends an action.

The three verdicts have different causes. `investigate data`: a source is silent, codes are unknown, a column is empty, or a
unit changed; a model trained on such data would learn the fault. `retrain`: scores, mix or senders changed. `stable`:
neither. All measures are effect sizes, not p-values, since with much traffic every difference has a small p-value.
"""

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.errors import BadInput
from consignments.records import Target
from consignments.timestamps import get_time_column_us, to_datetime, to_us
from features.batch import BATCH_KEY, ComputeOptions, Progress
from features.history.pseudonyms import Pseudonyms
from features.merged_rows import MergedRows
from features.streams import FeatureInputs, SelectedRows, TableSource, stream_features
from models.batch_scoring import build_feature_parameters
from models.bundle import Bundle
from models.traffic_profile import ReferenceProfile
from training.config import LABEL_DELAY_DAYS, EvaluationConfig
from training.data.splits import ALL_ARRIVALS, ArrivalWindow, compute_settled_end
from training.data.table_features import read_kept_rows
from training.data.traffic_sample import sample_traffic
from training.data.training_set import (
    Labels,
    find_last_visible_time,
    get_labels_as_of,
    select_counted_consignments,
)
from training.monitoring.drift_measures import DriftTables as DriftTables
from training.monitoring.drift_measures import Row, compute_drift_tables
from training.monitoring.drift_verdict import (
    DriftReason,
    DriftVerdict,
    decide_drift_verdict,
    find_drift_reasons,
    list_notes,
)
from training.monitoring.traffic_profile import (
    CHANNEL,
    OFFICE,
    ScoredTraffic,
    build_traffic_profile,
    multiply_counts,
)

_NOT_IN_METRIC_NAMES = re.compile(r"[^A-Za-z0-9_ .:/-]|//+|/$|/\.+(?=/|$)")
MAX_METRIC_NAME = 200


@dataclass(frozen=True)
class Drift:
    """Comparison of later traffic with the reference.

    Attributes
    ----------
    then, now : ReferenceProfile
        Profiles of the reference and of the later traffic.
    tables : dict
        Tables of `training.monitoring.drift_measures.compute_drift_tables`.
    reasons : list of DriftReason
        Changes beyond their limits.
    notes : list of str
        Parts that could not be evaluated, and why.
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
        """The recommended action."""
        return decide_drift_verdict(self.reasons)

    def build_reason_rows(self) -> list[Row]:
        """Return the reasons as a table."""
        return [{"verdict": reason.verdict, "text": reason.text} for reason in self.reasons]

    def flatten_metrics(self) -> dict[str, float]:
        """Return the metrics of the run; unknown ones are left out."""
        named = {f"psi/score/{row['part']}": row["psi"] for row in self.tables["scores"]}
        named |= {f"total_variation/{row['column']}": row["total_variation"] for row in self.tables["mix"]}
        named |= {
            f"precision_at_capacity/{str(row['what']).replace(' ', '_')}": row["value"]
            for row in self.tables["precision"]
        }
        return {
            build_metric_name(name): float(value)
            for name, value in named.items()
            if np.isfinite(float(value))
        }


def build_metric_name(name: str) -> str:
    """Build a name that MLflow accepts from one with values of the traffic in it, such as the name of an office.

    Other characters become underscores. A digest is then appended, so that two names stay two.

    Examples
    --------
    >>> build_metric_name("psi/score/office:Incheon")
    'psi/score/office:Incheon'
    >>> build_metric_name("psi/score/office:Busan (Mail Centre)")
    'psi/score/office:Busan _Mail Centre_-abba'
    """
    plain = _NOT_IN_METRIC_NAMES.sub("_", name)[:MAX_METRIC_NAME]
    if plain == name:
        return name
    return f"{plain}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:4]}"


@dataclass(frozen=True)
class MonitoredTraffic:
    """The monitored traffic, its history, and the reference.

    Attributes
    ----------
    inputs : FeatureInputs
        Consignments; past ones, which are not monitored; and the outcomes and alerts that the history may use.
    reference : TableSource, optional
        Consignments to use as the reference, instead of the profile in the bundle.
    window : ArrivalWindow
        Monitored arrivals; those before join the history. Default: all given ones.
    """

    inputs: FeatureInputs
    reference: TableSource | None = None
    window: ArrivalWindow = ALL_ARRIVALS


def detect_drift(
    bundle: Bundle,
    traffic: MonitoredTraffic,
    config: EvaluationConfig | None = None,
    progress: Progress | None = None,
) -> Drift:
    """Compare the traffic of a period with the reference.

    Parameters
    ----------
    bundle : Bundle
        The model that scores.
    traffic : MonitoredTraffic
    config : EvaluationConfig, optional
    progress : callable, optional

    Raises
    ------
    BadInput
        If nothing arrived in the period, the reference has no rows, or the model has no reference.
    """
    config = config or EvaluationConfig()
    inputs, reference = FeatureInputs.to_repeatable(traffic.inputs), traffic.reference
    past = None if inputs.history is None else SelectedRows.from_source(inputs.history)
    inputs = replace(inputs, history=past)
    received = get_time_column_us(inputs.consignments.take_order(), "received_at")
    within = traffic.window.select(received)
    _require_arrivals(within)
    then, notes = bundle.reference, []
    if then is not None and reference is None:
        notes = describe_overlap(then, received[within])
    if reference is not None:
        # Both are read twice: here, and as the past of the monitored traffic.
        before = SelectedRows.from_source(reference)
        given = replace(inputs, consignments=before)
        counted = _select_counted(given, None)
        if not counted.any():
            raise BadInput(
                "the reference is empty",
                where="reference",
                got=f"{len(reference):,} rows, of which none counts",
                expected="consignments of an earlier period, not all of them withdrawn",
                todo="give the consignments of the weeks to compare with",
            )
        scored = score_traffic(bundle, given, counted, config, progress)
        capacity = _require_reference(then).capacity
        then = multiply_counts(build_traffic_profile(scored, capacity), scored.stands_for)
        inputs = replace(inputs, history=before if past is None else MergedRows.from_sources(past, before))
    inside = within & _select_counted(inputs, traffic.window.ends)
    _require_arrivals(inside)
    seen = score_traffic(bundle, inputs, inside, config, progress)
    if seen.stands_for > 1.0:
        notes.append(describe_sample(len(seen.score), int(inside.sum())))
    earlier = received < received[within].min()
    labels, young = _read_labels(seen, inputs.outcomes, bundle.card.target)
    drift = measure_drift(
        _require_reference(then),
        seen,
        config,
        labels,
        with_history=inputs.has_history or bool(earlier.any()),
    )
    return replace(drift, notes=[*notes, *young, *drift.notes])


def _require_arrivals(rows: NDArray[np.bool_]) -> None:
    if not rows.any():
        raise BadInput(
            "no consignment was received in the period",
            where="consignments",
            todo="provide later consignments, or choose another period with --from and --until",
        )


def _select_counted(inputs: FeatureInputs, moment: datetime | None) -> NDArray[np.bool_]:
    """Select one row of each given consignment, as for the reference of a bundle; earlier versions may be in the history."""
    order = inputs.consignments.take_order()
    past = order.iloc[:0] if inputs.history is None else inputs.history.take_order()
    both = pd.concat([past, order], ignore_index=True)
    return select_counted_consignments(both, inputs.outcomes, moment)[len(past) :]


def describe_sample(kept: int, arrived: int) -> str:
    """Return a sentence on the sample that was compared in place of all traffic.

    Examples
    --------
    >>> describe_sample(500_000, 2_000_000)
    'A uniform sample of 500,000 of 2,000,000 consignments was compared. Numbers of arrivals of sources are those of the sample.'
    """
    return (
        f"A uniform sample of {kept:,} of {arrived:,} consignments was compared. "
        "Numbers of arrivals of sources are those of the sample."
    )


def describe_overlap(reference: ReferenceProfile, received_us: NDArray[np.int64]) -> list[str]:
    """Warn of monitored days that are in the reference period too: they are compared with themselves.

    Parameters
    ----------
    reference : ReferenceProfile
    received_us : int64 array, (n,)
        Arrivals of the monitored traffic, in microseconds since the epoch; at least one.

    Returns
    -------
    list of str
        One sentence, or none.
    """
    first = date.fromisoformat(reference.first_day)
    last = first + timedelta(days=reference.days - 1)
    begins, ends = (to_datetime(int(moment)).date() for moment in (received_us.min(), received_us.max()))
    shared = (min(last, ends) - max(first, begins)).days + 1
    if shared <= 0:
        return []
    return [
        f"Warning: {shared} of the {(ends - begins).days + 1} monitored days are in the reference period ({first} to {last}), so they are "
        f"compared with themselves and hide drift. Use --from {last + timedelta(days=1)} or later."
    ]


def _read_labels(
    seen: ScoredTraffic, outcomes: pd.DataFrame | None, target: Target
) -> tuple[Labels | None, list[str]]:
    """Read the latest outcomes of scored traffic, without those of young arrivals; None if there is no outcome.

    Of young arrivals mostly the quick results are known, and these are `clear`: they would look like a loss of precision.
    """
    if outcomes is None or outcomes.empty:
        return None, []
    moment = find_last_visible_time(outcomes)
    labels = get_labels_as_of(seen.frame["consignment_id"], outcomes, moment, target)
    end = compute_settled_end(moment)
    settled = get_time_column_us(seen.frame, "received_at") < to_us(end)
    young = int((labels.known & ~settled).sum())
    notes = (
        [
            f"{young:,} results of arrivals from {end:%Y-%m-%d} on are not used for the observed precision: "
            f"most others of these days are not known yet (label delay {LABEL_DELAY_DAYS} days)."
        ]
        if young
        else []
    )
    return replace(labels, known=labels.known & settled, positive=labels.positive & settled), notes


def score_traffic(
    bundle: Bundle,
    inputs: FeatureInputs,
    inside: NDArray[np.bool_],
    config: EvaluationConfig,
    progress: Progress | None = None,
) -> ScoredTraffic:
    """Score some of the given consignments, at most `traffic_rows`, and return their features and scores.

    Parameters
    ----------
    bundle : Bundle
    inputs : FeatureInputs
        The order of the consignments may be taken several times.
    inside : bool array, (given consignments,)
        Those to score. If they are too many, a uniform sample of them is scored.
    config : EvaluationConfig
    progress : callable, optional

    Raises
    ------
    BundleRefused
        If the model was trained on other features than this version computes.
    """
    parameters = build_feature_parameters(bundle, Pseudonyms(BATCH_KEY))
    model = bundle.model.replace_spec(parameters.build_pipeline().spec)
    ids = inputs.consignments.take_order()["consignment_id"]
    sample = sample_traffic(ids, np.zeros_like(inside), [inside], config.traffic_rows, config.seed)
    wanted = np.zeros_like(inside)
    wanted[sample.rows] = True
    options = ComputeOptions(progress=progress)
    X = np.concatenate(
        [piece.X for piece in stream_features(inputs, parameters, options=options, wanted=wanted)]
    )
    frame = read_kept_rows(inputs.consignments, bundle.config, sample.rows)
    score = model.score(X, frame["channel"].tolist())
    return ScoredTraffic(frame, X, model.spec, score, bundle.config, float(inside.sum()) / len(frame))


def measure_drift(
    then: ReferenceProfile,
    seen: ScoredTraffic,
    config: EvaluationConfig,
    labels: Labels | None = None,
    *,
    with_history: bool = True,
) -> Drift:
    """Compare scored traffic with a reference.

    Parameters
    ----------
    then : ReferenceProfile
    seen : ScoredTraffic
    config : EvaluationConfig
        Number of resamples of days.
    labels : Labels, optional
        Of the same consignments, for the observed precision.
    with_history : bool
        False if no earlier traffic is known; then scores and senders are not evaluated.
    """
    now = build_traffic_profile(seen, then.capacity, like=then)
    tables = compute_drift_tables(then, now, seen, config, labels)
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
        f"{column}:{value}": np.rint(
            np.bincount(seen.day[codes == value] - first, minlength=now.days) * seen.stands_for
        )
        .astype(np.int64)
        .tolist()
        for column in (CHANNEL, OFFICE)
        for codes in [seen.extract_texts(column)]
        for value in sorted(set(codes) - {""})
    }


def _require_reference(reference: ReferenceProfile | None) -> ReferenceProfile:
    if reference is None:
        raise BadInput(
            "the model has no reference profile to compare with", where="bundle", todo="train the model again"
        )
    return reference
