"""Study estimators of recall from selected results, and replay the gate, in simulated worlds of which the truth is known.

    python -m benchmarks.estimators --keep DIR [--held-out] [--draws 24] [--only estimators figures gate]
    python -m benchmarks.estimators --keep DIR --short      # one small world, to see that it runs

Each world is simulated and trained on once, in several variants of the recipe; their out-of-time scores are kept in DIR (about a
minute of one core for each). Then:

estimators   on the results as they came: each estimator of recall at 1 % of traffic, and of the difference of two variants
figures      recall and precision of single scores, with their intervals, on the same results
gate         days drawn with replacement and results thinned, to every number of finds: how often each pair of variants passes as better,
             each refit as not demonstrably worse, and how often the interval of a difference contains the truth

The held-out worlds are run only with `--held-out`, after every choice was made.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.skill import tables_of
from benchmarks.world import table
from consignments.records import Target
from consignments.timestamps import US_PER_DAY, get_time_column_us, to_datetime, to_us
from features.batch import FeatureMatrix, FeatureParameters, Tables
from features.streams import FeatureInputs
from models.baselines import fit_baselines
from models.risk_model import FitOptions, grow_trees, predict_finite
from training.config import EvaluationConfig, ModelConfig, TrainConfig, parse_config
from training.data.splits import TRAIN
from training.data.table_features import TableFeatures
from training.data.training_set import ObservedTables, build_data_set, get_true_labels
from training.evaluation.estimate import MIN_EFFECTIVE_FINDS, Estimate
from training.evaluation.finds import GAIN_ENDS, KnownFinds, RankedTraffic, estimate_mean, weigh_finds
from training.evaluation.traffic import ScoredPeriod, extract_texts
from training.fitting.fit import Recipe, SplitFeatures, fit_recipe
from training.fitting.rolling_origin import compute_shares_above
from training.gate.ways import MARGIN, MEASURES, ONE_SIDED, TWO_SIDED
from training.runs.task import find_day_after_last_event
from training.simulation.operation import simulate
from training.simulation.parameters import load_parameters

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Groups = Sequence[tuple[str, ...]]


class World(NamedTuple):
    """A simulated world: preset, seed, days, consignments a day, target, share that is inspected, and how, as TOML."""

    preset: str
    seed: int
    days: int
    per_day: int
    target: Target
    opened: float
    inspection: str = ""


BLIND = "xray_share = 0.0\ntips = {nps = 0.0, controlled_drug = 0.0, other_offence = 0.0, clear = 0.0}"
WORLDS = {
    "operation 1": World("operation", 201, 140, 700, "nps", 0.02),
    "operation 2": World("operation", 202, 130, 400, "nps", 0.05, "rules_only_days = 50"),
    "operation 3": World("operation", 209, 120, 400, "nps", 0.05, "random_share = 0.5"),
    "enriched 1": World("enriched", 203, 140, 500, "nps", 0.06, "rules_only_days = 60"),
    "enriched 2": World("enriched", 204, 110, 300, "any_offence", 0.03),
    "enriched 3": World("enriched", 210, 130, 500, "controlled_drug", 0.06, BLIND),
    "sweden": World("hard:sweden", 205, 140, 450, "nps", 0.05, "rules_only_days = 60"),
    "brazil": World("hard:brazil", 206, 140, 450, "nps", 0.05),
    "japan": World("hard:japan", 207, 130, 450, "nps", 0.05, "rules_only_days = 50"),
}
POOLS: Groups = (("operation 1", "operation 2", "operation 3"), ("sweden", "brazil", "japan", "enriched 1"))
"""Worlds whose traffic is also judged together, as that of one larger operation, for more finds."""
HELD_OUT = {
    "operation 5": World("operation", 301, 130, 400, "nps", 0.05, "rules_only_days = 70"),
    "kazakhstan": World("hard:kazakhstan", 302, 140, 450, "nps", 0.05, "rules_only_days = 60"),
    "new zealand": World("hard:newzealand", 303, 130, 450, "nps", 0.05),
    "enriched 4": World("enriched", 304, 110, 300, "any_offence", 0.03, "rules_only_days = 50"),
}
HELD_OUT_POOLS: Groups = (("operation 5", "kazakhstan", "new zealand"),)
SHORT = {"short": World("operation", 1, 100, 150, "any_offence", 0.06, "rules_only_days = 40")}
WINDOWS, WINDOW_DAYS = 3, 28
LAG_DAYS = 14
"""A stale variant was fitted this many days earlier, or one or two windows earlier."""
STALE, DEFAULT, RULES, TRUTH = "stale", "default", "rules", "trained on the truth"
REFITS = (
    (f"{STALE} 14", DEFAULT),
    (f"{STALE} 28", DEFAULT),
    (f"{STALE} 56", DEFAULT),
    (f"{STALE} 56", f"{STALE} 28"),
)
NOISE = (0.3, 0.6, 1.0)
"""Standard deviations of noise on the logarithm of the rank, for graded differences."""
TARGETS = (14, 22, 40, 60, 90, 130, 180, 260)
"""Mean numbers of known finds of the draws."""
MIN_DRAWN_FINDS = 5
MAX_REPEATS = 1.6
"""Largest mean number of known finds, as a multiple of those of the world."""
FIND_EDGES, CELLS = (10, 30, 75, 150, np.inf), ("10-30", "30-75", "75-150", "over 150")
EDGES = (-1.0, -0.1, -0.05, -0.03, -0.01, 0.01, 0.03, 0.05, 0.1, 1.0)
STEPS = ("worse >10", "5-10", "3-5", "1-3", "equal ±1", "better 1-3", "3-5 ", "5-10 ", ">10 ")
AT, RECALL = 0.01, "recall_at_1pct"
WRONG_FROM = 0.03
CANDIDATES = (*MEASURES, "average_precision", "roc_auc")
"""Measures of the gate, and those tried as the primary one."""
RESAMPLES = 200


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--keep",
        type=Path,
        required=True,
        help="folder for the scores of each world; existing ones are reused",
    )
    parser.add_argument("--held-out", action="store_true", help="the held-out worlds instead")
    parser.add_argument("--short", action="store_true", help="one small world and few draws")
    parser.add_argument("--draws", type=int, default=24, help="draws of each world for each number of finds")
    parser.add_argument("--only", nargs="+", choices=list(STUDIES), default=list(STUDIES))
    arguments = parser.parse_args()
    worlds, pools = (HELD_OUT, HELD_OUT_POOLS) if arguments.held_out else (WORLDS, POOLS)
    worlds, pools = (SHORT, ()) if arguments.short else (worlds, pools)
    arguments.keep.mkdir(parents=True, exist_ok=True)
    for name, world in worlds.items():
        path = arguments.keep / f"{name}.parquet"
        if not path.exists():
            score_world(world).to_parquet(path)
            print(f"{name}: scores kept", flush=True)
    groups = [(name,) for name in worlds] + list(pools)
    for study in arguments.only:
        print(
            f"\n**{study}**\n\n{STUDIES[study](arguments.keep, groups, 2 if arguments.short else arguments.draws)}",
            flush=True,
        )


def score_world(world: World) -> pd.DataFrame:
    """Simulate a world, train the variants before each window, and return its traffic with scores, results and truth."""
    with TemporaryDirectory() as folder:
        changes = Path(folder) / "changes.toml"
        preset = world.preset.partition(":")[0]
        changes.write_text(
            f"[prevalence.{preset}]\nopened = {world.opened}\n[inspection]\n{world.inspection}\n"
        )
        parameters = load_parameters(changes, world.preset)
    made = simulate(
        parameters, days=world.days, per_day=world.per_day, prevalence=world.preset, seed=world.seed
    )
    tables, config = tables_of(made), parse_config({"weights": {"background_share": 0.12}})
    frame, outcomes = tables.consignments, tables.outcomes
    assert outcomes is not None
    as_of = find_day_after_last_event(FeatureInputs.from_tables(Tables(frame, outcomes)))
    received = get_time_column_us(frame, "received_at")
    true = get_true_labels(frame["consignment_id"], made.truth, world.target)
    source = TableFeatures.from_tables(tables, config.features, as_of)
    spec = FeatureParameters(config.features).build_pipeline().spec
    matrix = FeatureMatrix(source.X, np.arange(len(source.X)), spec)
    final = build_data_set(ObservedTables(frame, outcomes, as_of), world.target, config, held_out="nothing")
    ends = to_datetime((int(received.max()) // US_PER_DAY + 1) * US_PER_DAY)
    begins = [ends - timedelta(days=WINDOW_DAYS * (place + 1)) for place in range(WINDOWS)]
    window = np.full(len(frame), -1)
    for place, start in enumerate(begins):
        window[(received >= to_us(start)) & (window < 0)] = place
    weight, scores = np.zeros(len(frame)), dict[str, Floats]()
    for place, start in enumerate(begins):
        inside = window == place
        weight[inside] = SplitFeatures(final, matrix).estimate_result_weights(inside, 1, np.ones(len(frame)))[
            inside
        ]
        for lag in (0, LAG_DAYS) if place < WINDOWS - 1 else (0,):
            observed = ObservedTables(frame, outcomes, start - timedelta(days=lag))
            data = build_data_set(observed, world.target, config, held_out="nothing")
            tested = (window >= 0) & (window <= place)
            own = fit_recipe(Recipe(source, config), data, tested, matrix).matrix
            for name, raw in _score_variants(SplitFeatures(data, own), config, true.positive, world.seed):
                for later in range(place + 1) if name == DEFAULT and not lag else (place,):
                    age = lag + WINDOW_DAYS * (place - later)
                    column = scores.setdefault(f"{STALE} {age}" if age else name, np.full(len(frame), np.nan))
                    column[window == later] = raw[window[own.rows] == later]
                if lag:
                    break
    labels = final.labels
    columns = {
        "window": window,
        "day": received // US_PER_DAY,
        "office": extract_texts(frame, "office"),
        "known": labels.known,
        "positive": labels.positive,
        "truth": true.positive,
        "logged": labels.probability,
        "weight": weight,
    }
    return pd.DataFrame(columns | scores)[window >= 0].reset_index(drop=True)


def _score_variants(
    parts: SplitFeatures, config: TrainConfig, truth: Bools, seed: int
) -> Iterator[tuple[str, Floats]]:
    """Yield the name of each variant of the recipe, the default first, and its raw scores of all feature rows."""
    rows, names, settings = parts.select_fitting_rows(TRAIN), np.array(parts.spec.names), config.model
    small = msgspec.structs.replace(settings, trees=25, leaves=4)
    history = np.char.startswith(names, "history.")
    goods = np.char.startswith(names, "goods.")
    third = rows & (~parts.known | (np.random.default_rng(seed).random(len(rows)) < 1 / 3))
    variants: list[tuple[str, ModelConfig, int, Bools | None, Bools, Bools]] = [
        (DEFAULT, settings, 1, None, rows, parts.positive),
        ("another seed", settings, 2, None, rows, parts.positive),
        ("few leaves", small, 1, None, rows, parts.positive),
        ("no history", settings, 1, history, rows, parts.positive),
        ("no goods", settings, 1, goods, rows, parts.positive),
        ("a third of the results", settings, 1, None, third, parts.positive),
        (TRUTH, settings, 1, None, rows, truth[parts.rows]),
    ]
    for name, model, number, hidden, learnt, positive in variants:
        X = parts.X
        if hidden is not None:
            X = X.copy()
            X[:, hidden] = np.nan
        labelled = parts.build_labelled_rows(learnt)._replace(X=X[learnt], y=positive[learnt].astype(float))
        if labelled.y.any():
            trees, _ = grow_trees(labelled, parts.spec, FitOptions(model.build_tree_params(), number))
            yield name, predict_finite(trees, X)
    few = np.flatnonzero(rows)
    baselines = fit_baselines(parts.X[few], parts.positive[few].astype(float), parts.weight[few], parts.spec)
    ids = parts.frame["consignment_id"].iloc[parts.rows].tolist()
    rules = next(each for each in baselines if each.name == RULES)
    yield RULES, rules.compute_scores(parts.X, ids)


class Traffic:
    """Scored traffic of one or more worlds, with what each estimator needs."""

    def __init__(self, folder: Path, group: Sequence[str], windows: int = WINDOWS) -> None:
        frames = []
        for place, name in enumerate(group):
            frame = pd.read_parquet(folder / f"{name}.parquet")
            frame["window"] += WINDOWS * place
            frame["day"] += 100_000 * place
            frame["office"] = frame["office"].astype(str) + f" {place}"
            frames.append(frame[frame["window"] % WINDOWS < windows])
        frame = pd.concat(frames, ignore_index=True)
        self.known, self.positive, self.truth = (
            frame[name].to_numpy(dtype=bool) for name in ("known", "positive", "truth")
        )
        self.window, self.day = frame["window"].to_numpy(), frame["day"].to_numpy()
        self.weight, logged = frame["weight"].to_numpy(), frame["logged"].to_numpy()
        self.logged_weight = np.where(np.isnan(logged), 1.0, 1.0 / np.where(logged > 0, logged, 1.0))
        self.finds = np.flatnonzero(self.known & self.positive)
        raw = {str(name): frame[name].to_numpy(dtype=float) for name in frame.columns[8:]}
        self.score = {name: self._rank(each) for name, each in raw.items() if not np.isnan(each).any()}
        self._add_graded()
        self.values: dict[str, dict[str, Floats]] = {}
        self.estimates: dict[str, dict[str, Estimate]] = {}
        self.true: dict[str, dict[str, float]] = {}
        self.within: dict[str, Floats] = {}
        config = EvaluationConfig(capacity=self._find_capacity(frame))
        office, everything = frame["office"].to_numpy(dtype=object), np.ones(len(frame), dtype=bool)
        results = np.where(self.known, self.weight, 0.0)
        for name, score in self.score.items():
            period = ScoredPeriod(score, self.day, office, self.known, self.positive, results)
            whole = ScoredPeriod(score, self.day, office, everything, self.truth, np.ones(len(frame)))
            ranked = RankedTraffic(period)
            finds, there = KnownFinds.locate(period, ranked, config), KnownFinds.locate(whole, ranked, config)
            self.values[name] = finds.values
            self.estimates[name] = finds.estimate_measures()
            self.true[name] = {measure: each.value for measure, each in there.estimate_measures().items()}
            self.within[name] = ranked.select_within(AT)

    def _rank(self, score: Floats) -> Floats:
        ranks = np.empty(len(score))
        for window in np.unique(self.window):
            inside = self.window == window
            ranks[inside] = 1.0 - compute_shares_above(score[inside], np.ones(int(inside.sum())))
        return ranks

    def _add_graded(self) -> None:
        """Add variants of small differences: the mean of two, and the default with noise."""
        rng, odds = np.random.default_rng(5), -np.log(1.0 - self.score[DEFAULT])
        if TRUTH in self.score:
            self.score["halfway"] = self._rank(odds - np.log(1.0 - self.score[TRUTH]))
        for size in NOISE:
            self.score[f"noise {size}"] = self._rank(odds + size * rng.standard_normal(len(odds)))

    def _find_capacity(self, frame: pd.DataFrame) -> int:
        return max(1, round(int(self.known.sum()) / frame.groupby(["office", "day"]).ngroups))

    def list_pairs(self) -> list[tuple[str, str]]:
        """List the pairs of variants; those with a stale one only in the windows that it scored."""
        stale = any(name.startswith(STALE) for name in self.score)
        pairs = combinations(self.score, 2)
        return [(a, b) for a, b in pairs if stale == (a.startswith(STALE) or b.startswith(STALE))]

    def get_true_difference(self, a: str, b: str, measure: str) -> float:
        """Return the true value of a measure of `b` minus that of `a`."""
        return self.true[b][measure] - self.true[a][measure]


def iterate_traffic(folder: Path, groups: Groups) -> Iterator[Traffic]:
    """Iterate over all traffic of each group, and over the windows that stale variants scored."""
    for group in groups:
        for windows in range(WINDOWS, 0, -1):
            yield Traffic(folder, group, windows)


class Results(NamedTuple):
    """Known results of some traffic with one score, and how often each resample (row of `drawn`) holds them; `above` is a share of the traffic."""

    positive: Bools
    within: Floats
    above: Floats
    drawn: Floats


def _cap(weight: Floats) -> Floats:
    """Cap weights at three times their mean."""
    for _ in range(100):
        weight = np.minimum(weight, 3.0 * weight.mean())
    return weight


def _divide(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole > 0)


def estimate_both_sides(results: Results, weight: Floats) -> Floats:
    """Estimate recall from the weighted rate of each side of the cut, times its traffic (Hájek 1971)."""
    found, missed = (
        size * _divide(results.drawn @ (weight * side * results.positive), results.drawn @ (weight * side))
        for size, side in ((AT, results.within), (1 - AT, 1 - results.within))
    )
    return _divide(found, found + missed)


def estimate_from_finds(results: Results, weight: Floats) -> Floats:
    """Estimate recall from the weighted finds alone."""
    weight = weight * results.positive
    return _divide(results.drawn @ (weight * results.within), results.drawn @ weight)


def estimate_by_strata(results: Results, weight: Floats) -> Floats:
    """Estimate recall from the rates of strata of the score, times their traffic."""
    stratum = np.searchsorted(STRATA, results.above, side="right") - 1
    member = np.eye(len(STRATA) - 1)[np.clip(stratum, 0, len(STRATA) - 2)]
    hits = results.drawn @ (member * (weight * results.positive)[:, None])
    found = np.diff(STRATA) * _divide(hits, results.drawn @ (member * weight[:, None]))
    return _divide(found[:, : STRATA.index(AT)].sum(axis=1), found.sum(axis=1))


def estimate_doubly_robust(results: Results, weight: Floats) -> Floats:
    """Estimate recall from expectations, a power of the rank fitted to the results, and the weighted residuals of the results."""
    raised = np.log(results.above + 1e-6)
    slope, rate = 0.5, 0.0
    for _ in range(50):  # scoring steps of a Poisson regression
        expected = np.exp(np.clip(rate - slope * raised, -20, 0))
        X = np.column_stack([np.ones_like(raised), -raised])
        step = np.linalg.solve(
            (X * (weight * expected)[:, None]).T @ X + 1e-6 * np.eye(2),
            X.T @ (weight * (results.positive - expected)),
        )
        rate, slope = rate + float(np.clip(step[0], -1, 1)), slope + float(np.clip(step[1], -1, 1))
    grid = (np.arange(10_000) + 0.5) / 10_000
    there = np.exp(np.clip(rate - slope * np.log(grid), -20, 0)) / len(grid)
    residual = weight * (results.positive - expected) / weight.sum()
    found, missed = (
        np.maximum(there[rows].sum() + results.drawn @ (residual * side), 0.0)
        for rows, side in ((grid < AT, results.within), (grid >= AT, 1 - results.within))
    )
    return _divide(found, found + missed)


STRATA = [0.0, 0.003, AT, 0.03, 0.1, 0.3, 1.0]
LOGGED_ONLY = "the same, results without a logged probability count 1 (comparison until now)"
Weigh = Callable[[Floats], Floats]
ESTIMATORS: dict[str, tuple[Callable[[Results, Floats], Floats], Weigh]] = {
    "both sides of the cut, inverse probability (training until now)": (estimate_both_sides, np.asarray),
    LOGGED_ONLY: (estimate_both_sides, np.asarray),
    "both sides, at most 3 times the mean": (estimate_both_sides, _cap),
    "finds, inverse probability": (estimate_from_finds, np.asarray),
    "finds, at most 3 times the mean": (estimate_from_finds, _cap),
    "finds, one each": (estimate_from_finds, np.ones_like),
    "**finds, root, at most twice the mean**": (estimate_from_finds, weigh_finds),
    "strata of the score, one each": (estimate_by_strata, np.ones_like),
    "doubly robust, at most 3 times the mean": (estimate_doubly_robust, _cap),
}


def study_estimators(folder: Path, groups: Groups, draws: int) -> str:  # noqa: ARG001
    """Compare the estimators on the results as they came, by the truth."""
    recall: dict[str, list[float]] = {name: [] for name in ESTIMATORS}
    moves: dict[str, list[float]] = {name: [] for name in ESTIMATORS}
    pairs: dict[str, list[tuple[float, ...]]] = {name: [] for name in ESTIMATORS}
    for traffic in iterate_traffic(folder, groups):
        rng, rows = np.random.default_rng(1), np.flatnonzero(traffic.known)
        days, day = np.unique(traffic.day[rows], return_inverse=True)
        counts = rng.multinomial(len(days), np.full(len(days), 1 / len(days)), RESAMPLES)
        drawn = np.vstack([np.ones(len(days)), counts]).astype(np.float64)[:, day]
        if len(traffic.finds) < 10:
            continue
        for name, (estimate, weigh) in ESTIMATORS.items():
            found = {}
            for variant, score in traffic.score.items():
                hits = traffic.positive[rows]
                weight = (traffic.logged_weight if name == LOGGED_ONLY else traffic.weight)[rows]
                used = hits if estimate is estimate_from_finds else np.ones_like(hits)
                weight[used] = weigh(weight[used])
                results = Results(hits, traffic.within[variant][rows], 1.0 - score[rows], drawn)
                found[variant] = estimate(results, weight)
                if variant != RULES:
                    recall[name].append(float(found[variant][0]) - traffic.true[variant][RECALL])
                if variant == DEFAULT:
                    moves[name].append(_find_largest_move(estimate, results, weight))
            for a, b in traffic.list_pairs():
                gain = found[b] - found[a]
                low, high = np.quantile(gain[1:], (0.025, 0.975))
                pairs[name].append(
                    (len(traffic.finds), float(gain[0]), low, high, traffic.get_true_difference(a, b, RECALL))
                )
    return _render_estimators(recall, moves, pairs)


def _find_largest_move(
    estimate: Callable[[Results, Floats], Floats], results: Results, weight: Floats
) -> float:
    """Compute by how much the removal of one result moves recall, at most."""
    count = len(weight)
    without = np.ones((count + 1, count))
    without[np.arange(count), np.arange(count)] = 0.0
    found = estimate(results._replace(drawn=without), weight)
    return float(np.abs(found - found[-1]).max())


def _render_estimators(
    recall: dict[str, list[float]], moves: dict[str, list[float]], pairs: dict[str, list[tuple[float, ...]]]
) -> str:
    lines = []
    for name in ESTIMATORS:
        off = np.array(recall[name])
        frame = pd.DataFrame(pairs[name], columns=["finds", "gain", "low", "high", "true"])
        large = frame[frame["true"].abs() >= WRONG_FROM]
        wrong = np.sign(large["gain"]) != np.sign(large["true"])
        certain = ((frame["low"] > 0) & (frame["true"] < 0)) | ((frame["high"] < 0) & (frame["true"] > 0))
        held = (frame["low"] <= frame["true"]) & (frame["true"] <= frame["high"])
        by_finds = [
            f"{100 * wrong[(large['finds'] >= low) & (large['finds'] < high)].mean():.0f}"
            for low, high in ((10, 30), (30, 75), (75, np.inf))
        ]
        lines.append(
            f"| {name} | {100 * off.mean():+.0f} | {100 * np.sqrt((off**2).mean()):.0f} | {', '.join(by_finds)} | "
            f"{100 * certain.mean():.1f} | {100 * held.mean():.0f} | {100 * (frame['high'] - frame['low']).median():.0f} | "
            f"{100 * np.median(moves[name]):.0f}, {100 * max(moves[name]):.0f} |"
        )
    return table(
        [
            "estimator of recall at 1 %",
            "mean error, points",
            "root mean square error, points",
            "wrong of two variants that differ by 3 points, %: 10-30, 30-75, over 75 finds",
            "wrong side and interval without zero, %",
            "interval of the difference contains the truth, %",
            "its width, points",
            "largest move by one result, points: median, maximum of the worlds",
        ],
        lines,
    )


def iterate_draws(traffic: Traffic, draws: int) -> Iterator[tuple[Ints, Ints]]:
    """Yield draws of days with replacement and of thinned results: places among the known finds, and which drawn day each is of."""
    rng, days = np.random.default_rng(len(traffic.finds)), np.unique(traffic.day)
    of_day = [np.flatnonzero(traffic.day[traffic.finds] == day) for day in days]
    for target in TARGETS:
        share = target / max(len(traffic.finds), 1)
        if share > MAX_REPEATS:
            return
        for _ in range(draws):
            chosen = rng.integers(0, len(days), round(len(days) * max(share, 1.0)))
            finds = np.concatenate([of_day[each] for each in chosen])
            day = np.repeat(np.arange(len(chosen)), [len(of_day[each]) for each in chosen])
            kept = rng.random(len(finds)) < min(share, 1.0)
            if kept.sum() >= MIN_DRAWN_FINDS:
                yield finds[kept], day[kept]


def study_figures(folder: Path, groups: Groups, draws: int) -> str:  # noqa: ARG001
    """Compare the figures of single scores, on the results as they came, with the truth; recall also by number of finds."""
    rows = [
        (
            measure,
            len(traffic.finds),
            found.value,
            found.low,
            found.high,
            found.is_shown,
            traffic.true[variant][measure],
        )
        for traffic in iterate_traffic(folder, groups)
        for variant, estimates in traffic.estimates.items()
        for measure, found in estimates.items()
    ]
    frame = _build_coverage(rows)
    lines = [_describe_coverage(str(name), some) for name, some in frame.groupby("measure", sort=False)]
    return table(["measure", *COVERAGE_COLUMNS], lines + _describe_by_finds(frame, (RECALL,)))


def _build_coverage(rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["measure", "finds", "value", "low", "high", "shown", "true"])
    frame["cell"] = pd.cut(frame["finds"], FIND_EDGES, right=False, labels=CELLS)
    return frame[frame["finds"] >= FIND_EDGES[0]]


def _describe_by_finds(frame: pd.DataFrame, measures: Sequence[str]) -> list[str]:
    some = frame[frame["measure"].isin(measures)].groupby(["measure", "cell"], sort=False, observed=True)
    return [_describe_coverage(f"{measure}, {cell} finds", each) for (measure, cell), each in some]


COVERAGE_COLUMNS = (
    "figures",
    "mean estimate",
    "mean truth",
    "interval contains the truth, %",
    "its mean width, points",
    "shown as a number, %",
)


def _describe_coverage(name: str, some: pd.DataFrame) -> str:
    held = (some["low"] <= some["true"]) & (some["true"] <= some["high"])
    return (
        f"| {name} | {len(some):,} | {100 * some['value'].mean():.1f} | {100 * some['true'].mean():.1f} | {100 * held.mean():.0f} | "
        f"{100 * (some['high'] - some['low']).mean():.0f} | {100 * some['shown'].mean():.0f} |"
    )


def study_gate(folder: Path, groups: Groups, draws: int) -> str:
    """Replay the gate on every pair of variants, in both directions."""
    rows, differences = [], []
    for traffic in iterate_traffic(folder, groups):
        values, pairs = traffic.values, traffic.list_pairs()
        for finds, day in iterate_draws(traffic, draws):
            weight = weigh_finds(traffic.weight[traffic.finds][finds])
            effective = weight.sum() ** 2 / (weight**2).sum()
            for a, b in pairs:
                gains = [
                    estimate_mean(weight, values[b][each][finds] - values[a][each][finds], day, GAIN_ENDS)
                    for each in CANDIDATES
                ]
                for measure, gain in zip(CANDIDATES, gains, strict=True):
                    true = traffic.get_true_difference(a, b, measure)
                    differences.append((measure, len(finds), gain.value, gain.low, gain.high, True, true))
                true = traffic.get_true_difference(a, b, RECALL)
                for sign, old, new in ((1, a, b), (-1, b, a)):
                    better = [_is_better(gains, place, sign, effective) for place in range(len(CANDIDATES))]
                    rows.append((old, new, len(finds), sign * true, _is_not_worse(gains, sign), *better))
    frame = pd.DataFrame(rows, columns=["old", "new", "finds", "true", "not worse", *CANDIDATES])
    frame["cell"] = pd.cut(frame["finds"], FIND_EDGES, right=False, labels=CELLS)
    frame["step"] = pd.cut(frame["true"], EDGES, labels=STEPS)
    models = frame[(frame["old"] != RULES) & (frame["new"] != RULES)]
    parts = []
    for primary in CANDIDATES:
        share = models.groupby(["cell", "step"], observed=False)[primary].mean().unstack()
        lines = [
            f"| {cell} | {' | '.join(_format_share(each) for each in line)} |"
            for cell, line in zip(share.index, share.to_numpy(), strict=True)
        ]
        title = f"Passes as better, %, by `{primary}` ({len(models):,} decisions):"
        parts.append(f"{title}\n\n{table(['known finds', *STEPS], lines)}")
    covered = _describe_by_finds(_build_coverage(differences), CANDIDATES)
    return "\n\n".join([*parts, _render_refits(frame), table(["difference of", *COVERAGE_COLUMNS], covered)])


def _is_better(gains: Sequence[Estimate], primary: int, sign: int, effective: float) -> bool:
    """Apply the gate's rule to the gains of `b` (sign 1) or of `a` (sign -1), with one of the measures as the primary one."""
    gain = gains[primary]
    low = sign * (gain.low + gain.high) / 2 - ONE_SIDED / TWO_SIDED * (gain.high - gain.low) / 2
    clear = effective >= MIN_EFFECTIVE_FINDS and sign * gain.value > 0 and low > -MARGIN
    return bool(clear and _is_not_worse(gains, sign))


def _is_not_worse(gains: Sequence[Estimate], sign: int) -> bool:
    return all(gain.sign * sign >= 0 for gain in gains[: len(MEASURES)])


def _format_share(value: float) -> str:
    return "" if np.isnan(value) else f"{100 * value:.1f}"


def _render_refits(frame: pd.DataFrame) -> str:
    """Return the table of the refits: an older fit of the recipe, and a newer one."""
    mine = frame[[pair in REFITS for pair in zip(frame["old"], frame["new"], strict=True)]]
    lines = []
    for cell in CELLS:
        some = mine[mine["cell"] == cell]
        passed = some[some["not worse"]]
        if len(some):
            lines.append(
                f"| {cell} | {len(some):,} | {100 * some['not worse'].mean():.0f} | {100 * (passed['true'] <= -WRONG_FROM).mean():.1f} | "
                f"{-100 * passed['true'].clip(upper=0).mean():.1f} | {100 * passed['true'].mean():+.1f} |"
            )
    return table(
        [
            "known finds",
            "refits",
            "pass, %",
            "of these truly worse by 3 points or more, %",
            "mean loss of recall at 1 %, points (a gain counts 0)",
            "mean difference, points",
        ],
        lines,
    )


STUDIES: dict[str, Callable[[Path, Groups, int], str]] = {
    "estimators": study_estimators,
    "figures": study_figures,
    "gate": study_gate,
}

if __name__ == "__main__":
    main()
