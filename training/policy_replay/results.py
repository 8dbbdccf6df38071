"""Results of an experiment: detections by week, in total, and by kind of network and channel.

Only choices within the capacity count, after the common warm-up. A detection is a consignment whose last result is the
target. Intervals are over seeds (Student's t); differences are paired by seed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from consignments.errors import BadInput
from consignments.records import TARGET_NAMES
from models.formats import format_number, format_percent
from training.data.training_set import is_positive
from training.evaluation.estimate import Estimate
from training.policy_replay.experiment import Experiment
from training.policy_replay.policies import POLICIES

CONFIDENCE = 0.95
DAYS_PER_WEEK = 7
REFERENCE, UPPER_BOUND, EXPLORING = "greedy", "oracle", "explore"
"""Policy that others are compared with, the upper bound of detections, and the policy that draws at random."""
RUN = ["policy", "seed"]
AVERAGED = ("found", "hit_rate", "share_found", "share_of_oracle", "opened", "offence_rate", "found_on_tips")
"""Columns of the runs whose means over the seeds a policy has."""


@dataclass(frozen=True)
class ReplayResults:
    """The tables of the report, with intervals over the seeds (`NAME_low`, `NAME_high`), and what it recommends in sentences."""

    runs: pd.DataFrame  # one row for each policy and seed
    policies: pd.DataFrame  # one row for each policy, best first
    weeks: pd.DataFrame  # one row for each policy, seed and week after the warm-up
    missed: pd.DataFrame  # share of positives detected, by policy and kind of network or channel
    sentences: list[str]

    def list_tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables by name, without the empty ones."""
        tables = {name: table for name, table in vars(self).items() if name != "sentences"}
        return {name: table for name, table in tables.items() if not table.empty}


def compute_results(experiment: Experiment) -> ReplayResults:
    """Compute the result tables of an experiment; raise `BadInput` if there is nothing to detect."""
    openings, positives = experiment.openings, experiment.positives
    if positives.empty or positives["warm_up"].all():
        what = f"no consignment after the warm-up contains {TARGET_NAMES[experiment.settings.target]}"
        todo = "use a longer or a larger world, or another --target"
        raise BadInput(f"there is nothing to detect: {what}", todo=todo)
    first_day = experiment.world.first_day
    later = (frame.loc[~frame["warm_up"]] for frame in (openings, positives))
    openings, positives = (each.assign(week=(each["day"] - first_day) // DAYS_PER_WEEK) for each in later)
    positives = positives.assign(own=positives["found"] & positives["within_capacity"])
    own = openings[openings["within_capacity"]]
    runs = _summarize_runs(own, openings[~openings["within_capacity"]], positives)
    policies = _summarize_policies(runs)
    weeks, missed = _summarize_weeks(own, positives), _summarize_missed(positives)
    sentences = _write_sentences(runs, policies, TARGET_NAMES[experiment.settings.target])
    return ReplayResults(runs, policies, weeks, missed, sentences)


def estimate_over_seeds(values: pd.Series) -> Estimate:
    """Compute the mean over seeds with its interval; no interval with one seed."""
    from scipy.stats import t

    known = values.dropna().to_numpy(dtype=np.float64)
    mean = float(known.mean()) if len(known) else np.nan
    if len(known) < 2:
        return Estimate(mean, np.nan, np.nan)
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known)))
    return Estimate(mean, mean - half, mean + half)


def _build_columns(values: Mapping[str, pd.Series]) -> dict[str, float]:
    """Return the mean over seeds of each value, and its interval."""
    means = {name: estimate_over_seeds(series) for name, series in values.items()}
    return {f"{name}{end}": value for name, each in means.items() for end, value in each.list_ends()}


def _summarize_runs(own: pd.DataFrame, tips: pd.DataFrame, positives: pd.DataFrame) -> pd.DataFrame:
    offence = own.assign(offence=is_positive(own["result"], "any_offence"))
    groups = offence.groupby(RUN)
    runs = groups.agg(opened=("found", "size"), found=("found", "sum"), offence_rate=("offence", "mean"))
    runs["hit_rate"] = runs["found"] / runs["opened"]
    runs["sent"] = positives.groupby(RUN).size()
    runs["share_found"] = runs["found"] / runs["sent"]
    runs["found_on_tips"] = tips.groupby(RUN)["found"].sum().reindex(runs.index, fill_value=0)
    runs = runs.reset_index()
    best = runs.loc[runs["policy"] == UPPER_BOUND].set_index("seed")["found"]
    runs["share_of_oracle"] = runs["found"] / runs["seed"].map(best.where(best > 0))
    return runs


def _summarize_policies(runs: pd.DataFrame) -> pd.DataFrame:
    rows = []
    reference = runs.loc[runs["policy"] == REFERENCE].set_index("seed")["found"]
    for policy, mine in runs.groupby("policy"):
        values = {name: mine[name] for name in AVERAGED}
        values["found_more_than_greedy"] = mine["found"] - mine["seed"].map(reference)
        text = POLICIES[str(policy)].text if policy in POLICIES else ""
        rows.append({"policy": policy, "text": text, "seeds": len(mine)} | _build_columns(values))
    return pd.DataFrame(rows).sort_values(["found", "policy"], ascending=[False, True], ignore_index=True)


def _summarize_weeks(own: pd.DataFrame, positives: pd.DataFrame) -> pd.DataFrame:
    keys = [*RUN, "week"]
    weeks = own.groupby(keys).agg(opened=("found", "size"), found=("found", "sum"))
    weeks["sent"] = positives.groupby(keys).size().reindex(weeks.index, fill_value=0)
    weeks["hit_rate"] = weeks["found"] / weeks["opened"]
    weeks["found_so_far"] = weeks.groupby(RUN)["found"].cumsum()
    return weeks.reset_index()


def _summarize_missed(positives: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for by in ("network", "channel"):
        for (value, policy), mine in positives[positives[by] != ""].groupby([by, "policy"]):
            on_tips, missed = mine["found"] & ~mine["within_capacity"], ~mine["found"]
            counts = {"sent": len(mine), "found": int(mine["own"].sum())}
            counts |= {"found_on_tips": int(on_tips.sum()), "missed": int(missed.sum())}
            share = _build_columns({"share_found": mine.groupby("seed")["own"].mean()})
            rows.append({"by": by, "value": value, "policy": policy} | counts | share)
    return pd.DataFrame(rows)


def _write_sentences(runs: pd.DataFrame, policies: pd.DataFrame, target: str) -> list[str]:
    found = runs.pivot_table(index="seed", columns="policy", values="found")
    real = policies[policies["policy"] != UPPER_BOUND].set_index("policy")
    best, row = str(real.index[0]), real.iloc[0]
    interval = f" ({row['found_low']:,.0f} to {row['found_high']:,.0f})" if row["seeds"] > 1 else ""
    share = row["share_of_oracle"]
    counted = f"{format_number(row['found'])}{interval} in {row['opened']:,.0f} inspections ({format_percent(row['hit_rate'])})"
    part = f", {format_percent(share)} of the oracle's detections" if np.isfinite(share) else ""
    sentences = [f"Run {best}. Of the policies that can be run it detected most {target}: {counted}{part}."]
    others = [str(name) for name in found.columns.drop([best, UPPER_BOUND], errors="ignore")]
    alike = [name for name in others if estimate_over_seeds(found[best] - found[name]).low <= 0]
    if alike:
        sentences.append(f"Over these seeds the difference to {', '.join(alike)} is not significant.")
    old = [name for name in ("officer", "rules", "random") if name in others]
    if old:
        counts = ", ".join(f"{name} {format_number(real['found'][name])}" for name in old)
        sentences.append(f"Detections at the same capacity: {counts}.")
    if {REFERENCE, EXPLORING} <= set(found.columns):
        sentences.append(_describe_exploration_cost(found[EXPLORING] - found[REFERENCE], found[REFERENCE]))
    return sentences


def _describe_exploration_cost(gains: pd.Series, reference: pd.Series) -> str:
    """Describe the mean gain as a share of the mean detections of the reference, or as a number if it has none."""
    change, mean = estimate_over_seeds(gains), float(reference.mean())
    gain, low, high = (
        format_percent(value / mean, "+") if mean else f"{value:+,.1f}"
        for value in (change.value, change.low, change.high)
    )
    interval, doubt = f" ({low} to {high})", ""
    if not change.has_interval:
        interval, doubt = "", "; one seed gives no interval"
    elif change.sign == 0:
        doubt = "; the difference is not significant over these seeds"
    return (
        f"Random exploration with logged probability changes the number of detections by {gain}{interval}, "
        f"compared with selecting only the highest scores{doubt}."
    )
