"""Where the trees start from: the points of the rules, as log-odds."""

import numpy as np
from msgspec import structs
from support.described import REAL
from support.small_model import SPEC, Hand, make_rows, text_of

from models.fitting.boosting import LabelledRows, TreeParams, fit_risk_model
from models.fitting.linear_trees import blend_trees
from models.fitting.rule_prior import RulePrior
from models.risk_model import RiskModel
from models.trees import Trees

NAMED, VAGUE = REAL.get_column("goods.names_specific"), REAL.get_column("goods.vague_whole")
FEW = TreeParams(trees=3, leaves=4, depth=3, feature_share=1.0, linear_share=0.0, plain_share=0.0)


def rows_where_rules_are(right: bool, count: int = 4000) -> LabelledRows:
    """Make rows of the real features: what names a substance holds one in half of the cases, or never."""
    rng = np.random.default_rng(1)
    X = np.zeros((count, len(REAL)), dtype=np.float32)
    X[:, NAMED], X[:, VAGUE] = rng.random((2, count)) < 0.1
    X[rng.random(X.shape) < 0.05] = np.nan
    chance = np.where((X[:, NAMED] == 1) == right, 0.5, 0.02)
    return LabelledRows(X, (rng.random(count) < chance).astype(float), np.ones(count), ["postal"] * count)


def prior_of(rows: LabelledRows) -> RulePrior:
    return RulePrior.fit(rows.X, rows.y, rows.weight, REAL)


def test_points_become_log_odds_that_finds_bear_out() -> None:
    rows = rows_where_rules_are(right=True)
    prior = prior_of(rows)
    points = prior.rules.compute_scores(rows.X)
    for told in (0.0, 5.0):
        here = points == told
        assert abs(rows.y[here].mean() - (1 / (1 + np.exp(-prior.predict_raw(rows.X)[here]))).mean()) < 0.05


def test_where_points_tell_nothing_or_the_contrary_trees_start_by_themselves() -> None:
    wrong = prior_of(rows_where_rules_are(right=False))
    made = make_rows(1)
    unknown = RulePrior.fit(made.X, made.y, made.weight, SPEC)
    for prior, X in ((wrong, np.zeros((2, len(REAL)), dtype=np.float32)), (unknown, made.X)):
        assert (prior.per_point, prior.predict_raw(X), prior.to_step_functions(X)) == (0.0, None, [])


def test_as_trees_the_rules_say_the_same_for_every_row() -> None:
    rows = rows_where_rules_are(right=True)
    prior = prior_of(rows)
    rng = np.random.default_rng(2)
    X = rng.choice(np.float32([np.nan, -1, 0, 1 / 31, 1 / 30, 0.5, 1, 3, 5]), (500, len(REAL)))
    nothing = Hand([], [], [], [], [], [0.0], [1])
    numbered = " ".join(f"f{i}" for i in range(len(REAL)))
    flat = text_of([nothing], len(REAL)).replace(numbered, " ".join(REAL.names))
    steps = [(each, 1.0) for each in prior.to_step_functions(rows.X)]
    trees = Trees.from_text(blend_trees([(flat, 1.0)], steps))
    assert np.allclose(trees.predict_raw(X), prior.predict_raw(X), rtol=0, atol=1e-12)


def test_a_rule_that_no_training_row_met_still_speaks_and_is_told() -> None:
    model = fit(rows_where_rules_are(right=True))
    row = np.zeros((1, len(REAL)), dtype=np.float32)
    alerted = row.copy()
    alerted[0, REAL.get_column("alerts.party")] = 1
    assert model.trees.predict_raw(alerted)[0] > model.trees.predict_raw(row)[0] + 1
    assert model.explain(alerted[0])[0].code == "finds"


def test_trees_learn_what_the_rules_miss() -> None:
    rows = rows_where_rules_are(right=True)
    rows.X[:, 0] = np.where(rows.y == 1, 1, 0)
    model = fit(rows)
    known, missed = np.zeros((2, len(REAL)), dtype=np.float32)
    missed[0] = 1
    assert model.trees.predict_raw(missed[None])[0] > model.trees.predict_raw(known[None])[0]


def test_the_raw_score_is_the_weighted_mean_of_trees_from_the_rules_and_plain_trees() -> None:
    rows = rows_where_rules_are(right=True)
    models = [fit(rows, structs.replace(FEW, plain_share=share)) for share in (0, 1, 0.6)]
    guided, plain, mean = (model.trees.predict_raw(rows.X) for model in models)
    assert np.corrcoef(guided, plain)[0, 1] < 0.999
    assert np.allclose(mean, 0.4 * guided + 0.6 * plain, rtol=0, atol=1e-9)


def fit(rows: LabelledRows, params: TreeParams = FEW) -> RiskModel:
    return fit_risk_model(rows, rows, REAL, params)
