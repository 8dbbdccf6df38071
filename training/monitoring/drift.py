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
from consignments.visibility import NO_TIME, time_column_us, to_us
from features.batch import BATCH_KEY, Progress, Tables
from features.fitted import Fitted
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from features.streams import InMemory, World, feature_pieces
from models.bundle import Bundle
from models.traffic_profile import Reference
from training.config import EvaluationConfig
from training.monitoring.drift_measures import Row, drift_tables
from training.monitoring.drift_measures import Tables as DriftTables
from training.monitoring.drift_verdict import DriftVerdict, Reason, notes_of, reasons_of, verdict_of
from training.monitoring.traffic_profile import CHANNEL, OFFICE, Seen, portray


@dataclass(frozen=True)
class Drift:
    """Later traffic against the reference.

    Attributes
    ----------
    then, now : Reference
        The two portraits.
    tables : dict
        Of `training.monitoring.drift_measures.drift_tables`.
    reasons : list of Reason
        What moved beyond its bound.
    notes : list of str
        What could not be judged.
    daily : dict
        Source, as `office:Incheon`, to its arrivals on each day.
    """

    then: Reference
    now: Reference
    tables: DriftTables
    reasons: list[Reason]
    notes: list[str]
    daily: dict[str, list[int]]

    @property
    def verdict(self) -> DriftVerdict:
        """What to do."""
        return verdict_of(self.reasons)

    def reason_rows(self) -> list[Row]:
        """Give the reasons as a table."""
        return [{"verdict": reason.verdict, "text": reason.text} for reason in self.reasons]

    def flat(self) -> dict[str, float]:
        """Give the metrics of the run; unknown ones are left out."""
        named = {f"psi/score/{row['part']}": row["psi"] for row in self.tables["scores"]}
        named |= {f"total_variation/{row['column']}": row["total_variation"] for row in self.tables["mix"]}
        named |= {
            f"precision_at_capacity/{str(row['what']).replace(' ', '_')}": row["value"]
            for row in self.tables["precision"]
        }
        return {name: float(value) for name, value in named.items() if np.isfinite(float(value))}


def watch(
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
    received = time_column_us(frame, "received_at")
    inside = _inside(received, begins, ends)
    if not inside.any():
        raise BadInput(
            "no consignment was received in the period",
            where="consignments",
            todo="give later consignments, or choose another period with --from and --until",
        )
    earlier = frame.loc[received < received[inside].min()]
    past = _concatenated(history, reference, earlier)
    told = Tables(frame.loc[inside], tables.outcomes, tables.alerts)
    then = bundle.reference
    if reference is not None:
        before = Tables(reference, tables.outcomes, tables.alerts)
        then = portray(seen_by(bundle, before, history, pseudonyms, progress), _required(then).capacity)
    seen = seen_by(bundle, told, past, pseudonyms, progress)
    return hold_against(
        _required(then), seen, config, tables.outcomes, bundle.card.target, with_history=past is not None
    )


def seen_by(
    bundle: Bundle,
    given: Tables,
    history: pd.DataFrame | None,
    pseudonyms: Pseudonyms,
    progress: Progress | None = None,
) -> Seen:
    """Score consignments and keep their features.

    Raises
    ------
    BundleRefused
        Where the model was trained on other features than this version computes.
    """
    fitted = Fitted.from_plain(bundle.fitted, bundle.arrays)
    Pipeline(bundle.config, fitted, pseudonyms).spec.require(bundle.card.feature_spec_sha256)
    world = World(
        InMemory(given.consignments),
        None if history is None else InMemory(history),
        given.outcomes,
        given.alerts,
    )
    pieces = feature_pieces(world, bundle.config, fitted, pseudonyms, progress=progress)
    X, frame = np.concatenate([piece.X for piece in pieces]), given.consignments
    return Seen(frame, X, bundle.spec, bundle.model.score(X, frame["channel"].tolist()), bundle.config)


def hold_against(
    then: Reference,
    seen: Seen,
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
    now = portray(seen, then.capacity, like=then)
    tables = drift_tables(then, now, seen, config, outcomes, target)
    return Drift(
        then=then,
        now=now,
        tables=tables,
        reasons=reasons_of(tables, with_history=with_history),
        notes=list(notes_of(tables, with_history=with_history)),
        daily=_daily(seen, now),
    )


def _daily(seen: Seen, now: Reference) -> dict[str, list[int]]:
    first = int(seen.day.min())
    return {
        f"{column}:{value}": np.bincount(seen.day[codes == value] - first, minlength=now.days).tolist()
        for column in (CHANNEL, OFFICE)
        for codes in [seen.texts(column)]
        for value in sorted(set(codes) - {""})
    }


def _inside(received: NDArray[np.int64], begins: datetime | None, ends: datetime | None) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = received != NO_TIME
    if begins is not None:
        inside &= received >= to_us(begins)
    if ends is not None:
        inside &= received < to_us(ends)
    return inside


def _concatenated(*frames: pd.DataFrame | None) -> pd.DataFrame | None:
    """Put past consignments together, each once; None where there are none."""
    given = [frame for frame in frames if frame is not None and len(frame)]
    if not given:
        return None
    whole = pd.concat(given, ignore_index=True)
    return whole if "sequence" in whole else whole.drop_duplicates("consignment_id", keep="last")


def _required(reference: Reference | None) -> Reference:
    if reference is None:
        raise BadInput(
            "the model carries no reference to watch against", where="bundle", todo="train the model again"
        )
    return reference
