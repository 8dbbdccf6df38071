"""Results of an experiment: detections by week, in total, by kind of network and channel, and around each event.

Only choices within the capacity count, after the common warm-up. A detection is a consignment whose last result is the
target. Intervals are over seeds (Student's t); differences are paired by seed.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from consignments.errors import BadInput
from consignments.records import TARGET_NAMES
from models.formats import format_percent
from training.data.training_set import is_positive
from training.evaluation.estimate import Estimate
from training.policy_replay.experiment import Experiment
from training.policy_replay.policies import POLICIES
from training.policy_replay.replay import DAYS_PER_WEEK

BEFORE_DAYS, AFTER_DAYS = 28, 42
"""Windows around an event."""
CONFIDENCE = 0.95
REFERENCE, UPPER_BOUND = "greedy", "oracle"
"""Policy that others are compared with, and the upper bound of detections."""
DRAWING_POLICIES = {
    "explore": "Random exploration with logged probability",
}
"""Policies that draw with known probabilities, and their descriptions in the report."""
BREAKDOWN_COLUMNS = ("network", "channel")


@dataclass(frozen=True)
class ReplayResults:
    """The tables of the report.

    Attributes
    ----------
    runs : DataFrame
        One row for each policy and seed.
    policies : DataFrame
        One row for each policy, best first: means over seeds, with `_low` and `_high`.
    weeks : DataFrame
        One row for each policy, seed and week after the warm-up.
    missed : DataFrame
        Share of positives detected, by policy and kind of network or channel.
    events : DataFrame
        Share detected before and after each event, and the difference to the reference in detections.
    sentences : list of str
        Recommended policy, and its cost.
    """

    runs: pd.DataFrame
    policies: pd.DataFrame
    weeks: pd.DataFrame
    missed: pd.DataFrame
    events: pd.DataFrame
    sentences: list[str]


def compute_results(contest: Experiment) -> ReplayResults:
    """Compute the result tables of an experiment.

    Raises
    ------
    BadInput
        If there is no positive consignment.
    """
    openings = _after_warm_up(contest.openings)
    positives = _after_warm_up(contest.positives)
    if positives.empty:
        raise BadInput(
            f"there is nothing to detect: no consignment after the warm-up contains {TARGET_NAMES[contest.settings.target]}",
            todo="use a longer or a larger world, or another --target",
        )
    runs = _runs(openings, positives)
    policies = _policies(runs)
    return ReplayResults(
        runs=runs,
        policies=policies,
        weeks=_weeks(openings, positives, contest),
        missed=_missed(positives),
        events=_events(positives, contest),
        sentences=_sentences(runs, policies, contest),
    )


def estimate_over_seeds(values: pd.Series) -> Estimate:
    """Compute the mean over seeds with its interval; no interval with one seed."""
    from scipy.stats import t

    known = values.dropna().to_numpy(dtype=np.float64)
    if len(known) < 2:
        return Estimate(float(known.mean()) if len(known) else np.nan, np.nan, np.nan)
    half = t.ppf((1 + CONFIDENCE) / 2, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known))
    mean = float(known.mean())
    return Estimate(mean, float(mean - half), float(mean + half))


def _after_warm_up(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.loc[~frame["warm_up"]]


def _runs(openings: pd.DataFrame, positives: pd.DataFrame) -> pd.DataFrame:
    own, tips = openings[openings["within_capacity"]], openings[~openings["within_capacity"]]
    keys = ["policy", "seed"]
    runs = own.groupby(keys).agg(opened=("found", "size"), found=("found", "sum"))
    runs["hit_rate"] = runs["found"] / runs["opened"]
    offence = is_positive(own["result"], "any_offence")
    runs["offence_rate"] = own.assign(offence=offence).groupby(keys)["offence"].mean()
    runs["sent"] = positives.groupby(keys).size()
    runs["share_found"] = runs["found"] / runs["sent"]
    runs["found_on_tips"] = tips.groupby(keys)["found"].sum()
    runs = runs.fillna({"found_on_tips": 0}).astype({"found_on_tips": "int64"}).reset_index()
    best = runs.loc[runs["policy"] == UPPER_BOUND].set_index("seed")["found"]
    runs["share_of_oracle"] = runs["found"] / runs["seed"].map(best.where(best > 0))
    return runs


def _policies(runs: pd.DataFrame) -> pd.DataFrame:
    rows = []
    reference = runs.loc[runs["policy"] == REFERENCE].set_index("seed")["found"]
    for policy, mine in runs.groupby("policy"):
        row: dict[str, object] = {"policy": policy, "text": _get_policy_text(str(policy)), "seeds": len(mine)}
        values = {name: mine[name] for name in ("found", "hit_rate", "share_found", "share_of_oracle")}
        values |= {name: mine[name] for name in ("opened", "offence_rate", "found_on_tips")}
        values["found_more_than_greedy"] = mine["found"] - mine["seed"].map(reference)
        for name, series in values.items():
            estimate = estimate_over_seeds(series)
            row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
        rows.append(row)
    return pd.DataFrame(rows).sort_values(["found", "policy"], ascending=[False, True], ignore_index=True)


def _get_policy_text(policy: str) -> str:
    return POLICIES[policy].text if policy in POLICIES else ""


def _weeks(openings: pd.DataFrame, positives: pd.DataFrame, contest: Experiment) -> pd.DataFrame:
    own = openings[openings["within_capacity"]]
    keys = ["policy", "seed", "week"]
    opened = own.assign(week=_week(own, contest)).groupby(keys)["found"].agg(opened="size", found="sum")
    sent = positives.assign(week=_week(positives, contest)).groupby(keys).size().rename("sent")
    weeks: pd.DataFrame = (
        opened.join(sent, how="left").fillna({"sent": 0}).astype({"sent": "int64"}).reset_index()
    )
    weeks["hit_rate"] = weeks["found"] / weeks["opened"]
    weeks["found_so_far"] = weeks.groupby(["policy", "seed"])["found"].cumsum()
    best = weeks.loc[weeks["policy"] == UPPER_BOUND].set_index(["seed", "week"])["found_so_far"]
    place = pd.MultiIndex.from_frame(weeks[["seed", "week"]])
    weeks["share_of_oracle"] = (
        weeks["found_so_far"].to_numpy() / best.where(best > 0).reindex(place).to_numpy()
    )
    return weeks


def _week(frame: pd.DataFrame, contest: Experiment) -> pd.Series:
    return _since_start(frame, contest) // DAYS_PER_WEEK


def _since_start(frame: pd.DataFrame, contest: Experiment) -> pd.Series:
    return frame["day"] - contest.first_day


def _missed(positives: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for by in BREAKDOWN_COLUMNS:
        parts = positives[positives[by] != ""].groupby([by, "policy"])
        for (value, policy), mine in parts:
            own = mine["found"] & mine["within_capacity"]
            share = estimate_over_seeds(own.groupby(mine["seed"]).mean())
            rows.append(
                {
                    "by": by,
                    "value": value,
                    "policy": policy,
                    "sent": len(mine),
                    "found": int(own.sum()),
                    "found_on_tips": int((mine["found"] & ~mine["within_capacity"]).sum()),
                    "missed": int((~mine["found"]).sum()),
                    "share_found": share.value,
                    "share_found_low": share.low,
                    "share_found_high": share.high,
                }
            )
    return pd.DataFrame(rows)


def _events(positives: pd.DataFrame, contest: Experiment) -> pd.DataFrame:
    rows = []
    since = _since_start(positives, contest)
    own = positives.assign(own=positives["found"] & positives["within_capacity"], since=since)
    for name, day in contest.events:
        for window, begins, ends in (("before", day - BEFORE_DAYS, day), ("after", day, day + AFTER_DAYS)):
            begins = max(begins, contest.settings.warm_up_days)
            inside = own[(own["since"] >= begins) & (own["since"] < ends)]
            if begins >= ends or inside.empty:
                continue
            found = inside.groupby(["policy", "seed"])["own"].agg(["sum", "mean"]).reset_index()
            reference = found.loc[found["policy"] == REFERENCE].set_index("seed")["sum"]
            for policy, mine in found.groupby("policy"):
                gain, share = (
                    estimate_over_seeds(mine["sum"] - mine["seed"].map(reference)),
                    estimate_over_seeds(mine["mean"]),
                )
                rows.append(
                    {
                        "event": name,
                        "day": day,
                        "window": window,
                        "days": min(ends, contest.days) - begins,
                        "policy": policy,
                        "found": float(mine["sum"].mean()),
                        "share_found": share.value,
                        "more_than_greedy": gain.value,
                        "more_than_greedy_low": gain.low,
                        "more_than_greedy_high": gain.high,
                    }
                )
    return pd.DataFrame(rows)


def _sentences(runs: pd.DataFrame, policies: pd.DataFrame, contest: Experiment) -> list[str]:
    what = TARGET_NAMES[contest.settings.target]
    real = policies[policies["policy"] != UPPER_BOUND]
    best = real.iloc[0]
    sentences = [
        f"Run {best['policy']}. Of the policies that can be run it detected most {what}: "
        f"{_format_count(best, 'found')} in {best['opened']:,.0f} inspections ({format_percent(best['hit_rate'])})"
        + (
            f", {format_percent(best['share_of_oracle'])} of the oracle's detections."
            if np.isfinite(best["share_of_oracle"])
            else "."
        )
    ]
    sentences += _list_equivalent_policies(runs, str(best["policy"]))
    others = [
        name for name in ("officer", "rules", "random") if name in set(real["policy"]) - {best["policy"]}
    ]
    if others:
        found = real.set_index("policy")["found"]
        sentences.append(
            "Detections at the same capacity: "
            + ", ".join(f"{name} {found[name]:,.1f}".replace(".0", "") for name in others)
            + "."
        )
    sentences += _describe_exploration_cost(runs)
    return sentences


def _list_equivalent_policies(runs: pd.DataFrame, best: str) -> list[str]:
    """Return a sentence on policies whose detections do not differ significantly from the best one's, paired by seed."""
    found = runs.pivot_table(index="seed", columns="policy", values="found")
    alike = [
        str(name)
        for name in found.columns.drop([best, UPPER_BOUND], errors="ignore")
        if estimate_over_seeds(found[best] - found[name]).low <= 0
    ]
    return [f"Over these seeds the difference to {', '.join(alike)} is not significant."] if alike else []


def _format_count(row: pd.Series, name: str) -> str:
    interval = f" ({row[f'{name}_low']:,.0f} to {row[f'{name}_high']:,.0f})" if row["seeds"] > 1 else ""
    return f"{row[name]:,.1f}".replace(".0", "") + interval


def _describe_exploration_cost(runs: pd.DataFrame) -> list[str]:
    """Describe the cost in detections of the policies that draw with known probabilities."""
    found = runs.pivot_table(index="seed", columns="policy", values="found")
    if REFERENCE not in found.columns:
        return []
    return [
        _describe_drawing_cost(what, found[policy] - found[REFERENCE], found[REFERENCE])
        for policy, what in DRAWING_POLICIES.items()
        if policy in found.columns
    ]


def _describe_drawing_cost(what: str, gains: pd.Series, reference: pd.Series) -> str:
    """Describe the mean gain as a share of the mean detections of the reference, or as a number if it has none."""
    change, mean = estimate_over_seeds(gains), float(reference.mean())
    gain, low, high = (
        format_percent(value / mean, "+") if mean else f"{value:+,.1f}"
        for value in (change.value, change.low, change.high)
    )
    interval = f" ({low} to {high})" if np.isfinite(change.low) else ""
    text = f"{what} changes the number of detections by {gain}{interval}, compared with selecting only the highest scores"
    if not np.isfinite(change.low):
        text += "; one seed gives no interval"
    elif change.low <= 0 <= change.high:
        text += "; the difference is not significant over these seeds"
    return text + "."
