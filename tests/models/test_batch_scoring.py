"""Batch scores: a model scores only features that were computed with what it learnt."""

from dataclasses import replace

import numpy as np
import pytest
from support.registered_model import make_new_consignments
from support.serving_examples import make_bundle

from consignments.errors import BadInput
from features.batch import BATCH_KEY, FeatureMatrix, Tables
from features.config import FeatureConfig
from features.history.pseudonyms import Pseudonyms
from features.streams import FeatureInputs, compute_feature_matrix, stream_features
from models.batch_scoring import build_feature_parameters, score_table
from models.bundle import Bundle, load_bundle

PSEUDONYMS = Pseudonyms(BATCH_KEY)
CHANNELS = ["postal"] * 3
REFUSAL = "a feature matrix without fitted parameters cannot be scored"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(make_bundle(tmp_path_factory.mktemp("model") / "bundle", FeatureConfig(), seed=1))


@pytest.fixture(scope="module")
def unfitted() -> FeatureMatrix:
    return compute_feature_matrix(Tables(make_new_consignments()))


def test_a_feature_matrix_without_fit_cannot_be_scored(bundle: Bundle, unfitted: FeatureMatrix) -> None:
    fitted = build_feature_parameters(bundle, PSEUDONYMS)
    inputs = FeatureInputs.from_tables(Tables(make_new_consignments()))
    (piece,) = stream_features(inputs, replace(fitted, fitted=fitted.fitted.create_empty()))
    parts = unfitted.X[1:], unfitted.X[[0, 2]], np.concatenate([unfitted.X, unfitted.X])
    for X in (unfitted.X, *parts, piece.X):
        with pytest.raises(BadInput, match=REFUSAL):
            bundle.model.score(X, CHANNELS[: len(X)])
    with pytest.raises(BadInput, match=REFUSAL):
        bundle.model.explain(unfitted.X[0])


def test_a_bundle_without_anything_learnt_does_not_score_a_table(bundle: Bundle) -> None:
    values, arrays = build_feature_parameters(bundle, PSEUDONYMS).fitted.create_empty().to_plain()
    unlearnt = replace(bundle, fitted=values, arrays=arrays)
    inputs = FeatureInputs.from_tables(Tables(make_new_consignments()))
    with pytest.raises(BadInput, match=REFUSAL):
        score_table(unlearnt, inputs, PSEUDONYMS)
