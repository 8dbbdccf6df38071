"""Batch scoring of consignment tables as the service scores, inspection lists from them, and facts of consignments for pages.

The given consignments count for history, in its order; without outcomes it has no results.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import msgspec
import numpy as np
import pandas as pd

from consignments.columns import normalize_column
from consignments.records import HistoryUse
from consignments.timestamps import US_PER_DAY
from consignments.validation import to_frame
from consignments.versions import select_counting_rows
from features.batch import BATCH_KEY, ComputeOptions, FeatureParameters, Progress
from features.fitted import FittedParameters
from features.goods.naming import shorten_text
from features.history.pseudonyms import Pseudonyms
from features.spec import Spec
from features.streams import FeatureChunk, FeatureInputs, Mask, list_declared_texts, stream_features
from models.arrays import Floats, Ints, Rows
from models.bundle import UNREGISTERED, Bundle
from models.formats import UNKNOWN, format_number
from models.reasons.sentences import format_amount
from models.risk_model import RiskModel
from models.selection import SelectedConsignment, SelectionRule, select

TEXT = pd.StringDtype(na_value=np.nan)
SHOWN_COLUMNS = ("consignment_id", "channel", "office", "received_at")
COUNTRIES = ("departure_country", "destination_country", "origin_country")
FACT_COLUMNS = (*COUNTRIES, "gross_weight_kg", "declared_value", "currency")
MAX_GOODS_CHARACTERS = 160


@dataclass(frozen=True)
class ScoreColumns:
    """The optional columns of a score table: reasons as JSON text (0 to 10 a row), also of what lowers the score, and the version."""

    reasons: int = 0
    version: str = UNREGISTERED
    lowering: bool = False


def build_feature_parameters(bundle: Bundle, pseudonyms: Pseudonyms) -> FeatureParameters:
    """Build the parameters with which the features of a bundle's model are computed."""
    fitted = FittedParameters.from_plain(bundle.fitted, bundle.arrays)
    return FeatureParameters(bundle.config, fitted, pseudonyms)


class ScoredFeatures(NamedTuple):
    """Feature rows of consignments, and their probabilities."""

    X: Rows
    spec: Spec
    score: Floats


def score_features(
    bundle: Bundle, inputs: FeatureInputs, wanted: Mask, progress: Progress | None = None
) -> ScoredFeatures:
    """Compute the features and probabilities of the wanted consignments, in order; the others only count for history."""
    parameters = build_feature_parameters(bundle, Pseudonyms(BATCH_KEY))
    model = ChunkScorer.from_bundle(bundle, inputs, parameters).model
    options = ComputeOptions(progress=progress)
    chunks = []
    for each in stream_features(inputs, parameters, options=options, wanted=wanted):
        channels = to_frame(each.context.select(["channel"]))["channel"].tolist()
        chunks.append((each.X, model.score(each.X, channels)))
    X, score = (np.concatenate(each) for each in zip(*chunks, strict=True))
    return ScoredFeatures(X, model.spec, score)


def score_table(
    bundle: Bundle,
    inputs: FeatureInputs,
    pseudonyms: Pseudonyms,
    *,
    columns: ScoreColumns | None = None,
    wanted: Mask | None = None,
) -> pd.DataFrame:
    """Compute the score table of the wanted consignments, in order; the others only count for history."""
    parameters = build_feature_parameters(bundle, pseudonyms)
    scorer = ChunkScorer.from_bundle(bundle, inputs, parameters, columns)
    chunks = stream_features(inputs, parameters, wanted=wanted)
    return pd.concat([scorer(each) for each in chunks], ignore_index=True)


@dataclass(frozen=True)
class ChunkScorer:
    """A function that scores chunks of feature rows, also in another process."""

    model: RiskModel
    columns: ScoreColumns
    history: HistoryUse

    @classmethod
    def from_bundle(
        cls,
        bundle: Bundle,
        inputs: FeatureInputs,
        parameters: FeatureParameters,
        columns: ScoreColumns | None = None,
    ) -> "ChunkScorer":
        """Build the scorer of a bundle for some inputs."""
        model = bundle.model.replace_spec(parameters.build_pipeline().spec)
        return cls(model, columns or ScoreColumns(), "given" if inputs.has_history else "none")

    def __call__(self, piece: FeatureChunk) -> pd.DataFrame:
        """Return a chunk of the score table."""
        shown = [name for name in SHOWN_COLUMNS if name in piece.context.column_names]
        rows = to_frame(piece.context.select(shown))
        score = self.model.score(piece.X, rows["channel"].tolist())
        result = pd.DataFrame(
            {
                "consignment_id": rows["consignment_id"].array,
                "score": score,
                "band": pd.array(self.model.bands.assign_all(score), dtype=TEXT),
                "model_version": pd.array([self.columns.version] * len(rows), dtype=TEXT),
                "office": rows["office"].array if "office" in rows else None,
                "received_at": rows["received_at"].array,
                "history": pd.array([self.history] * len(rows), dtype=TEXT),
            }
        )
        if self.columns.reasons:
            declared = list_declared_texts(to_frame(piece.context))
            explain = partial(self.model.explain, top=self.columns.reasons, lowering=self.columns.lowering)
            pairs = zip(piece.X, declared, strict=True)
            encoded = [msgspec.json.encode(explain(row, declared=texts)).decode() for row, texts in pairs]
            result["reasons"] = pd.array(encoded, dtype=TEXT)
        return result


class ConsignmentFacts(NamedTuple):
    """Facts of a consignment for a page, without its parties; '–' for what is not given."""

    goods: str
    route: str
    weight: str
    value: str


def describe_consignments(frame: pd.DataFrame) -> list[ConsignmentFacts]:
    """Describe each row of a consignment table; (n,) in the order of the rows."""
    given = frame.reindex(columns=list(FACT_COLUMNS)).astype(object)
    rows = given.where(given.notna(), None).itertuples(index=False)
    found = []
    for declared, row in zip(list_declared_texts(frame), rows, strict=True):
        departure, destination, origin, weight, value, currency = row
        goods = shorten_text(declared.goods, MAX_GOODS_CHARACTERS) or UNKNOWN
        route = f"{departure or '?'} → {destination or '?'}" if departure or destination else UNKNOWN
        if origin and origin != departure:
            route = f"{route}, goods from {origin}"
        # As reasons say them: a weight of 4.635 kg is 4.64 kg as a feature.
        mass = UNKNOWN if weight is None else f"{format_number(float(np.float32(weight)))} kg"
        price = UNKNOWN if value is None else f"{format_amount(value)} {currency or ''}".rstrip()
        found.append(ConsignmentFacts(goods, route, mass, price))
    return found


GOODS_COLUMNS = (
    *("channel", "service", "description", "hs_code", "origin_country", "departure_country"),
    *("pieces", "gross_weight_kg", "declared_value", "currency"),
)
"""Columns of a consignment that an inspection list shows."""


def build_selection_table(scores: pd.DataFrame, *, capacity: int, explore: float, seed: int) -> pd.DataFrame:
    """Build the inspection lists from a score table; columns as in `build_list_table`."""
    rows = select(*read_score_columns(scores), SelectionRule(capacity, explore, seed))
    return build_list_table(scores, rows)


def read_score_columns(scores: pd.DataFrame) -> tuple[list[str], Floats, list[str], Ints]:
    """Read the arguments of `select` from a score table: identifiers, scores, offices ('' if unknown) and UTC days."""
    days = scores["received_at"].dt.floor("D").astype("datetime64[us, UTC]").astype("int64").to_numpy()
    offices = scores["office"].astype(object).where(scores["office"].notna(), "").tolist()
    score = scores["score"].to_numpy(dtype=np.float64)
    return scores["consignment_id"].tolist(), score, offices, days // US_PER_DAY


def build_list_table(scores: pd.DataFrame, rows: Sequence[SelectedConsignment]) -> pd.DataFrame:
    """Build the selection table of the selected rows; `selected_at` is the last arrival of the office and day."""
    _, _, offices, days = read_score_columns(scores)
    received = scores["received_at"]
    drawn_at = received.groupby([pd.Series(offices, index=received.index), days]).transform("max")
    return pd.DataFrame(
        {
            "consignment_id": [row.consignment_id for row in rows],
            "office": [row.office or None for row in rows],
            "selected_by": [row.selected_by for row in rows],
            "selection_probability": np.array([row.selection_probability for row in rows], dtype=np.float64),
            "selected_at": drawn_at.iloc[[row.place for row in rows]].array,
        }
    )


def add_work_columns(
    chosen: pd.DataFrame, scores: pd.DataFrame, consignments: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Add what an officer needs to find and judge a consignment: score, band, reasons, and goods if a table is given."""
    scored = scores.set_index("consignment_id").loc[chosen["consignment_id"].tolist()].reset_index(drop=True)
    added = {"score": scored["score"], "band": scored["band"]}
    if "reasons" in scored:
        added["reasons"] = scored["reasons"].map(_read_reason_texts, na_action="ignore")
    if consignments is not None:
        counting = consignments[select_counting_rows(consignments)]
        counting = counting.set_index(pd.Index(normalize_column(counting["consignment_id"]).to_pandas()))
        names = normalize_column(chosen["consignment_id"]).to_pylist()
        goods = counting.reindex(names).reset_index(drop=True)
        added |= {name: goods[name] for name in GOODS_COLUMNS if name in goods}
    return chosen.assign(**{name: pd.Series(values.array, chosen.index) for name, values in added.items()})


def _read_reason_texts(reasons: str) -> str:
    """Return the texts of the reasons of a score table, without codes and numbers."""
    return "; ".join(str(reason["text"]) for reason in json.loads(reasons))
