"""Ordinary models that a competent person builds from the same tables, for benchmarks.skill: the hour form and the strong form.

Both use scikit-learn and LightGBM as documented, on every label known at the beginning of the test period. Counts and
rates use only earlier data, so neither leaks; spellings are used as written.
"""

from dataclasses import dataclass
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from consignments.timestamps import get_time_column_us
from consignments.visibility import compute_visible_us

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CODES = (
    "channel", "service", "nature", "sender_country", "consignee_country", "carrier", "office", "departure_country",
    "destination_country", "origin_country", "currency", "payment", "declarant", "route",
)  # fmt: skip
NUMBERS = ("pieces", "gross_weight_kg", "declared_value", "postage")
NAMES = ("sender_name", "consignee_name")
PARTIES = (
    "sender_name", "sender_address", "sender_phone", "consignee_name", "consignee_address", "consignee_phone",
)  # fmt: skip
SVD_PARTS = 50
GRAMS = (3, 5)
MOST_GRAMS = 50_000
SECONDS = 1_000_000
RATE_STRENGTH = 10.0
BACKGROUND_WEIGHT = 3.0
"""Total weight of the background, in weights of all labelled rows: npsrisk's own setting."""
PARAMS = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 31,
    "min_data_in_leaf": 20,
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "num_threads": 1,
    "verbosity": -1,
}
ROUNDS = 200


@dataclass(frozen=True)
class Past:
    """Data of both models: results visible when the test period begins, rows drawn from the uninspected ones before it, and its rows."""

    frame: pd.DataFrame
    known: NDArray[np.bool_]
    positive: NDArray[np.bool_]
    background: Ints
    test: Ints
    outcomes: pd.DataFrame


def score_by_hour_form(past: Past) -> Floats:
    """Score the test rows: labelled rows, n-gram SVD of the description, codes, value per kilogram, counts by name."""
    rows = np.flatnonzero(past.known)
    X = _plain_columns(past.frame, rows)
    return _fitted(X, rows, past, np.ones(len(rows)))


def score_by_strong_form(past: Past) -> Floats:
    """Score the test rows as `score_by_hour_form`, with counts and rates by raw keys, and uninspected rows as weak negatives."""
    labelled = np.flatnonzero(past.known)
    rows = np.concatenate([labelled, past.background])
    X = np.hstack([_plain_columns(past.frame, labelled), _counted_columns(past)])
    share = BACKGROUND_WEIGHT * len(labelled) / max(len(past.background), 1)
    weight = np.concatenate([np.ones(len(labelled)), np.full(len(past.background), share)])
    return _fitted(X, rows, past, weight)


def _fitted(X: NDArray[np.float32], rows: Ints, past: Past, weight: Floats) -> Floats:
    data = lightgbm.Dataset(X[rows], past.positive[rows].astype(np.float64), weight=weight)
    booster = lightgbm.train({**PARAMS, "seed": 1}, data, num_boost_round=ROUNDS)
    return np.asarray(booster.predict(X[past.test], num_threads=1), dtype=np.float64)


def _plain_columns(frame: pd.DataFrame, fitted_on: Ints) -> NDArray[np.float32]:
    """Compute codes, numbers, counts by name, and the description by n-grams and SVD; float32 (n, columns)."""
    columns = [pd.factorize(frame[name])[0].astype(np.float32) for name in CODES]
    columns += [_number(frame, name) for name in NUMBERS]
    weight = np.maximum(_number(frame, "gross_weight_kg"), 1e-3)
    columns.append((_number(frame, "declared_value") / weight).astype(np.float32))
    hs = frame["hs_code"].astype(object).where(frame["hs_code"].notna(), "")
    columns += [pd.factorize(hs.str[:digits])[0].astype(np.float32) for digits in (2, 4, 6)]
    by_time = np.argsort(frame["received_at"].to_numpy(), kind="stable")
    columns += [count_arrivals_before(frame[name], by_time) for name in NAMES]
    return np.column_stack([*columns, compute_text_columns(frame["description"], fitted_on)]).astype(
        np.float32
    )


def _number(frame: pd.DataFrame, name: str) -> NDArray[np.float32]:
    return frame[name].to_numpy(dtype=np.float32, na_value=np.nan)


def compute_text_columns(description: "pd.Series", fitted_on: Ints) -> NDArray[np.float32]:
    """Compute the components of each description's n-grams; float32 (n, components)."""
    texts = description.astype(object).where(description.notna(), "").to_numpy()
    distinct, place = np.unique(texts.astype(str), return_inverse=True)
    grams = TfidfVectorizer(
        analyzer="char_wb", ngram_range=GRAMS, min_df=2, max_features=MOST_GRAMS, sublinear_tf=True
    )
    grams.fit(texts[fitted_on])
    found: csr_matrix = grams.transform(distinct)
    svd = TruncatedSVD(SVD_PARTS, random_state=1).fit(grams.transform(texts[fitted_on]))
    return np.asarray(svd.transform(found), dtype=np.float32)[place]


def count_arrivals_before(key: "pd.Series", by_time: Ints) -> NDArray[np.float32]:
    """Count the consignments of the same key before each; missing keys are missing."""
    counts = np.full(len(key), np.nan, dtype=np.float32)
    counts[by_time] = key.iloc[by_time].groupby(key.iloc[by_time], sort=False).cumcount().to_numpy()
    counts[key.isna().to_numpy()] = np.nan
    return counts


def _counted_columns(past: Past) -> NDArray[np.float32]:
    """Count earlier arrivals, results and positives for each raw key, and a smoothed rate; float32 (n, 4 keys)."""
    frame, outcomes = past.frame, past.outcomes
    received = get_time_column_us(frame, "received_at") // SECONDS
    by_time = np.argsort(received, kind="stable")
    final = outcomes[outcomes["result"].isin(["nps", "controlled_drug", "other_offence", "clear"])]
    final = final.assign(visible=compute_visible_us(final) // SECONDS)
    final = final.sort_values("visible").drop_duplicates("consignment_id", keep="last")
    place = pd.Series(np.arange(len(frame)), index=frame["consignment_id"]).reindex(final["consignment_id"])
    final, row = final[place.notna().to_numpy()], place.dropna().to_numpy(dtype=np.int64)
    visible, found = final["visible"].to_numpy(dtype=np.int64), (final["result"] == "nps").to_numpy()
    columns: list[NDArray[Any]] = []
    for key in (
        *(frame[name] for name in PARTIES),
        frame["hs_code"].str[:6] + "|" + frame["departure_country"],
    ):
        code = pd.factorize(key)[0].astype(np.int64)
        opened = count_events_before(code, received, row, visible)
        finds = count_events_before(code, received, row[found], visible[found])
        rate = (finds + RATE_STRENGTH * found.mean()) / (opened + RATE_STRENGTH)
        columns += [count_arrivals_before(key, by_time), opened, finds, rate]
    return np.column_stack(columns).astype(np.float32)


def count_events_before(code: Ints, received: Ints, row: Ints, visible: Ints) -> Floats:
    """Count for each consignment the events of its key that were visible before it arrived; codes below 0 have none."""
    span = int(max(received.max(), visible.max(initial=0))) + 1
    events = np.sort(code[row] * span + visible)
    return np.where(
        code < 0,
        np.nan,
        np.searchsorted(events, code * span + received) - np.searchsorted(events, code * span),
    )
