"""Study the estimates of recall from selected results, and replay the gate, in simulated worlds of which the truth is known.

    python -m benchmarks.estimators --keep DIR [--held-out] [--draws 24] [--only figures gate]
    python -m benchmarks.estimators --keep DIR --short      # one small world, to see that it runs

Each world is simulated and trained on once, in several variants of the recipe; their out-of-time scores are kept in DIR (about a
minute of one core for each). Then:

figures      recall and precision of the served recipe, with their intervals, on the results as they came
gate         days drawn with replacement and results thinned, to every number of finds: how often each pair of variants passes as better,
             each refit as not demonstrably worse, and how often the interval of a difference contains the truth

The held-out worlds are run only with `--held-out`, after every choice was made.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.script import format_table, parse_options
from benchmarks.worlds import World, read_tables
from consignments.records import Target
from consignments.timestamps import US_PER_DAY
from features.batch import FeatureParameters, Tables
from features.streams import FeatureInputs
from models.fitting.boosting import grow_trees
from models.rules import Rules
from training.config import EvaluationConfig, TrainConfig, parse_config
from training.data.fit_rows import compute_fit_rows
from training.data.splits import TRAIN
from training.data.table_features import TableFeatures
from training.data.training_set import build_data_set, get_true_labels
from training.evaluation.difference import MEASURES, judge_difference
from training.evaluation.estimate import Estimate, attach_finds
from training.evaluation.estimators import GAIN_ENDS, KnownFinds, RankedTraffic, estimate_mean, weigh_finds
from training.evaluation.traffic import ScoredPeriod, compute_daily_capacity, extract_texts
from training.fitting.fit import Recipe, SplitFeatures, fit_recipe
from training.fitting.rolling_origin import compute_shares_above
from training.runs.task import find_day_after_last_event

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Groups = Sequence[tuple[str, ...]]


def make_world(
    preset: str, seed: int, size: tuple[int, int], target: Target, opened: float, inspection: str = ""
) -> tuple[World, Target]:
    """Return a world of some days and consignments a day, of which a share is inspected, and its target."""
    name = preset.partition(":")[0]
    changes = f"[prevalence.{name}]\nopened = {opened}\n[inspection]\n{inspection}\n"
    return World(preset, seed, *size, changes), target


BLIND = "xray_share = 0.0\ntips = {nps = 0.0, controlled_drug = 0.0, other_offence = 0.0, clear = 0.0}"
WORLDS = {
    "operation 1": make_world("operation", 201, (140, 700), "nps", 0.02),
    "operation 2": make_world("operation", 202, (130, 400), "nps", 0.05, "rules_only_days = 50"),
    "operation 3": make_world("operation", 209, (120, 400), "nps", 0.05, "random_share = 0.5"),
    "enriched 1": make_world("enriched", 203, (140, 500), "nps", 0.06, "rules_only_days = 60"),
    "enriched 2": make_world("enriched", 204, (110, 300), "any_offence", 0.03),
    "enriched 3": make_world("enriched", 210, (130, 500), "controlled_drug", 0.06, BLIND),
    "sweden": make_world("hard:sweden", 205, (140, 450), "nps", 0.05, "rules_only_days = 60"),
    "brazil": make_world("hard:brazil", 206, (140, 450), "nps", 0.05),
    "japan": make_world("hard:japan", 207, (130, 450), "nps", 0.05, "rules_only_days = 50"),
}
POOLS: Groups = (("operation 1", "operation 2", "operation 3"), ("sweden", "brazil", "japan", "enriched 1"))
"""Worlds whose traffic is also judged together, as that of one larger operation, for more finds."""
HELD_OUT = {
    "operation 5": make_world("operation", 301, (130, 400), "nps", 0.05, "rules_only_days = 70"),
    "kazakhstan": make_world("hard:kazakhstan", 302, (140, 450), "nps", 0.05, "rules_only_days = 60"),
    "new zealand": make_world("hard:newzealand", 303, (130, 450), "nps", 0.05),
    "enriched 4": make_world("enriched", 304, (110, 300), "any_offence", 0.03, "rules_only_days = 50"),
}
HELD_OUT_POOLS: Groups = (("operation 5", "kazakhstan", "new zealand"),)
SHORT = {"short": make_world("operation", 1, (100, 150), "any_offence", 0.06, "rules_only_days = 40")}
WINDOWS, WINDOW_DAYS = 3, 28
LAG_DAYS = 14
"""A stale variant was fitted this many days earlier, or one or two windows earlier."""
STALE, DEFAULT, RULES, TRUTH = "stale", "default", "rules", "trained on the truth"
REFITS = (*((f"{STALE} {days}", DEFAULT) for days in (14, 28, 56)), (f"{STALE} 56", f"{STALE} 28"))
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
RECALL = "recall_at_1pct"
WRONG_FROM = 0.03
CANDIDATES = (*MEASURES, "average_precision", "roc_auc")
"""Measures of the gate, and those tried as the primary one."""


def main() -> None:
    options = parse_options(
        __doc__, keep=Path("estimators"), held_out=False, short=False, draws=24, only=list(STUDIES)
    )
    worlds, pools = (HELD_OUT, HELD_OUT_POOLS) if options.held_out else (WORLDS, POOLS)
    worlds, pools = (SHORT, ()) if options.short else (worlds, pools)
    options.keep.mkdir(parents=True, exist_ok=True)
    for name, (world, target) in worlds.items():
        path = options.keep / f"{name}.parquet"
        if not path.exists():
            score_world(world, target).to_parquet(path)
            print(f"{name}: scores kept", flush=True)
    groups = [(name,) for name in worlds] + list(pools)
    draws = 2 if options.short else options.draws
    for study in options.only:
        print(f"\n**{study}**\n\n{STUDIES[study](options.keep, groups, draws)}", flush=True)


def score_world(world: World, target: Target) -> pd.DataFrame:
    """Simulate a world, train the variants before each window, and return its traffic with scores, results and truth."""
    made, config = world.simulate(), parse_config({"weights": {"background_share": 0.12}})
    given = read_tables(made)
    frame = given.frame
    as_of = find_day_after_last_event(FeatureInputs.from_tables(Tables(frame, given.outcomes)))
    true = get_true_labels(frame["consignment_id"], made.truth, target)
    source = TableFeatures.from_tables(given.tables, config.features, as_of)
    final = build_data_set(given.observe(as_of), target, config, held_out="nothing")
    windows = list(given.iterate_windows(WINDOWS, WINDOW_DAYS))
    window = np.full(len(frame), -1)
    for place, (_, inside) in enumerate(windows):
        window[inside] = place
    weight, scores, every = np.zeros(len(frame)), dict[str, Floats](), np.ones(len(frame), dtype=bool)
    parts = SplitFeatures(final, compute_fit_rows(source, FeatureParameters(config.features), every))
    for place, (start, inside) in enumerate(windows):
        weight[inside] = parts.weigh_results(np.flatnonzero(inside), np.ones(int(inside.sum())))
        for lag in (0, LAG_DAYS) if place < WINDOWS - 1 else (0,):
            observed = given.observe(start - timedelta(days=lag))
            data = build_data_set(observed, target, config, held_out="nothing")
            tested = (window >= 0) & (window <= place)
            own = fit_recipe(Recipe(source, config), data, tested).matrix
            for name, raw in _score_variants(SplitFeatures(data, own), config, true.positive, world.seed):
                for later in range(place + 1) if name == DEFAULT and not lag else (place,):
                    age = lag + WINDOW_DAYS * (place - later)
                    column = scores.setdefault(f"{STALE} {age}" if age else name, np.full(len(frame), np.nan))
                    column[window == later] = raw[window[own.rows] == later]
                if lag:
                    break
    columns = {
        "window": window, "day": given.received_us // US_PER_DAY, "office": extract_texts(frame, "office"),
        "known": final.labels.known, "positive": final.labels.positive, "truth": true.positive,
        "logged": final.labels.probability, "weight": weight,
    }  # fmt: skip
    return pd.DataFrame(columns | scores)[window >= 0].reset_index(drop=True)


def _score_variants(
    parts: SplitFeatures, config: TrainConfig, truth: Bools, seed: int
) -> Iterator[tuple[str, Floats]]:
    """Yield the name of each variant of the recipe, the default first, and its raw scores of all feature rows."""
    rows, names, settings = parts.select_fitting_rows(TRAIN), np.array(parts.spec.names), config.model
    whole = parts.matrix.take(slice(None))
    small = msgspec.structs.replace(settings, trees=25, leaves=4)
    known, positive = parts.labels.known, parts.labels.positive
    third = rows & (~known | (np.random.default_rng(seed).random(len(rows)) < 1 / 3))
    nothing = np.zeros(len(names), dtype=bool)
    variants = [
        (DEFAULT, settings, 1, nothing, rows, positive),
        ("another seed", settings, 2, nothing, rows, positive),
        ("few leaves", small, 1, nothing, rows, positive),
        ("no history", settings, 1, np.char.startswith(names, "history."), rows, positive),
        ("no goods", settings, 1, np.char.startswith(names, "goods."), rows, positive),
        ("a third of the results", settings, 1, nothing, third, positive),
        (TRUTH, settings, 1, nothing, rows, truth[parts.rows]),
    ]
    for name, model, number, hidden, learnt, found in variants:
        X = np.where(hidden, np.float32(np.nan), whole) if hidden.any() else whole
        labelled = parts.build_labelled_rows(learnt)._replace(X=X[learnt], y=found[learnt].astype(float))
        if labelled.y.any():
            trees, _ = grow_trees(labelled, parts.spec, model, seed=number)
            yield name, trees.predict_raw(X)
    yield RULES, Rules(parts.spec).compute_scores(whole)


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
        self.known, self.positive, truth = (
            frame[name].to_numpy(dtype=bool) for name in ("known", "positive", "truth")
        )
        self.window, self.day = frame["window"].to_numpy(), frame["day"].to_numpy()
        self.weight = frame["weight"].to_numpy()
        self.finds = np.flatnonzero(self.known & self.positive)
        raw = {str(name): frame[name].to_numpy(dtype=float) for name in frame.columns[8:]}
        self.score = {name: self._rank(each) for name, each in raw.items() if not np.isnan(each).any()}
        self._add_graded()
        self.values: dict[str, dict[str, Floats]] = {}
        self.estimates: dict[str, dict[str, Estimate]] = {}
        self.true: dict[str, dict[str, float]] = {}
        opened = int(self.known.sum()) / frame.groupby(["office", "day"]).ngroups
        config, office = EvaluationConfig(capacity=max(1, round(opened))), frame["office"].to_numpy(object)
        every, results = np.ones(len(frame), dtype=bool), np.where(self.known, self.weight, 0.0)
        for name, score in self.score.items():
            ranked = RankedTraffic(ScoredPeriod(score, self.day, office, self.known, self.positive, results))
            whole = RankedTraffic(ScoredPeriod(score, self.day, office, every, truth, np.ones(len(frame))))
            within = ranked.select_at_capacities(compute_daily_capacity(ranked.period, config))
            finds = KnownFinds.locate(ranked, within)
            there = KnownFinds.locate(whole, within).estimate_measures()
            self.values[name], self.estimates[name] = finds.values, finds.estimate_measures()
            self.true[name] = {measure: each.value for measure, each in there.items()}

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

    def list_pairs(self) -> list[tuple[str, str]]:
        """List the pairs of variants; those with a stale one only in the windows that it scored."""
        stale = any(name.startswith(STALE) for name in self.score)
        pairs = combinations(self.score, 2)
        return [(a, b) for a, b in pairs if stale == (a.startswith(STALE) or b.startswith(STALE))]

    def get_true_difference(self, a: str, b: str, measure: str) -> float:
        """Return the true value of a measure of `b` minus that of `a`."""
        return self.true[b][measure] - self.true[a][measure]

    def estimate_gains(self, a: str, b: str, finds: Ints, day: Ints) -> dict[str, Estimate]:
        """Estimate each measure of `b` minus that of `a` from some of the known finds, as the gate does."""
        weight = weigh_finds(self.weight[self.finds][finds])
        one, other = self.values[a], self.values[b]
        return {
            name: attach_finds(
                estimate_mean(weight, other[name][finds] - one[name][finds], day, GAIN_ENDS), weight
            )
            for name in CANDIDATES
        }


def iterate_traffic(folder: Path, groups: Groups) -> Iterator[Traffic]:
    """Iterate over all traffic of each group, and over the windows that stale variants scored."""
    for group in groups:
        for windows in range(WINDOWS, 0, -1):
            yield Traffic(folder, group, windows)


def _contains(frame: pd.DataFrame) -> "pd.Series":
    return (frame["low"] <= frame["true"]) & (frame["true"] <= frame["high"])


def render(frame: pd.DataFrame) -> str:
    """Render a table with three significant digits."""
    rows = [
        [
            " ".join(map(str, np.atleast_1d(np.array(name, dtype=object)))),
            *("" if np.isnan(each) else f"{each:.3g}" for each in row),
        ]
        for name, row in zip(frame.index, frame.to_numpy(dtype=float), strict=True)
    ]
    return format_table(["", *map(str, frame.columns)], rows)


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
    """Compare the figures of the recipe, on the results as they came, with the truth; recall also by number of finds."""
    frame = _build_coverage(
        (measure, len(traffic.finds), found, traffic.true[DEFAULT][measure])
        for traffic in iterate_traffic(folder, groups)
        for measure, found in traffic.estimates[DEFAULT].items()
    )
    recall = frame[frame["measure"] == RECALL]
    tables = _describe_coverage(frame, ["measure"]), _describe_coverage(recall, ["measure", "cell"])
    return "\n\n".join(tables)


def _build_coverage(rows: Iterable[tuple[str, float, Estimate, float]]) -> pd.DataFrame:
    columns = ["measure", "size", "value", "low", "high", "shown", "true"]
    flat = [
        (name, size, each.value, each.low, each.high, each.is_shown, true) for name, size, each, true in rows
    ]
    frame = pd.DataFrame(flat, columns=columns)
    return frame.assign(cell=pd.cut(frame["size"], FIND_EDGES, right=False, labels=CELLS))


def _describe_coverage(frame: pd.DataFrame, by: list[str]) -> str:
    """Render how often the intervals contain the truth."""
    flat = frame.assign(
        **{
            "mean estimate, %": frame["value"],
            "mean truth, %": frame["true"],
            "mean error, points": frame["value"] - frame["true"],
            "mean absolute error, points": (frame["value"] - frame["true"]).abs(),
            "interval contains the truth, %": _contains(frame),
            "mean width, points": frame["high"] - frame["low"],
            "shown as a number, %": frame["shown"],
        }
    )
    groups = flat.groupby(by, sort=False, observed=True)
    means = 100 * groups[list(flat.columns[len(frame.columns) :])].mean()
    return render(groups.size().rename("figures").to_frame().join(means))


def study_gate(folder: Path, groups: Groups, draws: int) -> str:
    """Replay the gate on every pair of variants, in both directions, by the number of known finds."""
    rows, differences = list[Any](), list[Any]()
    for traffic in iterate_traffic(folder, groups):
        for finds, day in iterate_draws(traffic, draws):
            for a, b in traffic.list_pairs():
                gains = traffic.estimate_gains(a, b, finds, day)
                true = {name: traffic.get_true_difference(a, b, name) for name in gains}
                differences += [(name, len(finds), gain, true[name]) for name, gain in gains.items()]
                for sign, old, new in ((1, a, b), (-1, b, a)):
                    mine = gains if sign > 0 else {name: _reverse(gain) for name, gain in gains.items()}
                    not_worse = all(mine[name].sign >= 0 for name in MEASURES)
                    better = [not_worse and judge_difference(mine[name]) == "better" for name in CANDIDATES]
                    rows.append((old, new, len(finds), sign * true[RECALL], not_worse, *better))
    frame = pd.DataFrame(rows, columns=["old", "new", "size", "true", "not worse", *CANDIDATES])
    frame["cell"] = pd.cut(frame["size"], FIND_EDGES, right=False, labels=CELLS)
    frame["step"] = pd.cut(frame["true"], EDGES, labels=STEPS)
    models = frame[(frame["old"] != RULES) & (frame["new"] != RULES)]
    coverage = _build_coverage(differences)
    covered = _describe_coverage(coverage[coverage["size"] >= FIND_EDGES[0]], ["measure", "cell"])
    steps = [
        f"By {primary}, %:\n\n"
        + render(100 * models.groupby(["cell", "step"], observed=False)[primary].mean().unstack())
        for primary in CANDIDATES
    ]
    return "\n\n".join([f"{len(models):,} decisions", *steps, _render_refits(frame), covered])


def _reverse(gain: Estimate) -> Estimate:
    return replace(gain, value=-gain.value, low=-gain.high, high=-gain.low)


def _render_refits(frame: pd.DataFrame) -> str:
    """Render the refits: an older fit of the recipe, and a newer one."""
    mine = frame[[pair in REFITS for pair in zip(frame["old"], frame["new"], strict=True)]]
    passed = mine[mine["not worse"]]
    true = passed["true"].groupby(passed["cell"], observed=True)
    columns = {
        "pass, %": mine.groupby("cell", observed=True)["not worse"].mean(),
        "of these truly worse by 3 points or more, %": true.apply(lambda each: (each <= -WRONG_FROM).mean()),
        "mean loss of recall at 1 %, points (a gain counts 0)": -true.apply(
            lambda each: each.clip(upper=0).mean()
        ),
        "mean difference, points": true.mean(),
    }
    sizes = mine.groupby("cell", observed=True).size().rename("refits").to_frame()
    return render(sizes.join(100 * pd.DataFrame(columns)))


STUDIES: dict[str, Callable[[Path, Groups, int], str]] = {"figures": study_figures, "gate": study_gate}

if __name__ == "__main__":
    main()
