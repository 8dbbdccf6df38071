"""Replay the full loop on the public Korean declarations, to measure costs and gains of exploration without an adversary.

    python -m benchmarks.korea_replay TABLES --out DIR [--seed N …] [--target any_offence]

TABLES is a folder with consignments.parquet, outcomes.parquet and korea.toml, as for `benchmarks.korea`. All labels are
known, so the outcomes are the truth. Each week 10 % of the arrivals are inspected, regardless of the office, with results 14
days after arrival; in the first twelve weeks the selection is random. Published (arXiv 2010.14282, the real data of four
countries): a random share costs a few points of precision and protects against drift.
"""

import argparse
import tomllib
from pathlib import Path

from benchmarks.korea import KoreanTables
from features.batch import Tables
from training.config import parse_config
from training.policy_replay.environments import describe_tables
from training.policy_replay.experiment import LOOP_CONFIG, ExperimentPlan, run_experiment
from training.policy_replay.policies import POLICIES
from training.policy_replay.replay import ReplaySettings
from training.policy_replay.report import write_report
from training.policy_replay.results import compute_results, estimate_over_seeds

SHARE, WEEK_DAYS = 0.10, 7


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--target", default="any_offence")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()

    world = KoreanTables.read(arguments.tables)
    truth = world.outcomes[["consignment_id", "result"]]
    past = Tables(world.consignments.drop(columns="office"), world.outcomes, None)
    replayed = describe_tables(past, truth, round_days=WEEK_DAYS, share=SHARE)
    declared = tomllib.loads((arguments.tables / "korea.toml").read_text())
    loop = {
        "split": {"validation_days": 28, "label_delay_days": 14},
        "model": {"trees": LOOP_CONFIG.model.trees},
        "weights": {"background_share": 1.0},
    }
    settings = ReplaySettings(
        capacity=1, explore=0.1, warm_up_days=84, retrain_days=28, target=arguments.target, background=0.2
    )
    plan = ExperimentPlan(
        replayed,
        [name for name in POLICIES if name != "officer"],
        arguments.seed or [1],
        settings,
        parse_config(declared | loop),
    )
    contest = run_experiment(plan, arguments.out / "replays", jobs=arguments.jobs)
    findings = compute_results(contest)
    write_report(
        findings,
        contest,
        arguments.out,
        title=f"Replay of the public Korean declarations, {arguments.target}, 10 % a week",
    )
    print("\n".join(findings.sentences))
    print("\n| policy | precision | difference to greedy | share of all positives | share of the oracle |")
    print("|---|---|---|---|---|")
    rate = findings.runs.pivot_table(index="seed", columns="policy", values="hit_rate")
    for row in findings.policies.itertuples(index=False):
        gain = estimate_over_seeds(rate[row.policy] - rate["greedy"])
        print(
            f"| {row.policy} | {row.hit_rate:.3f} | {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}) "
            f"| {row.share_found:.3f} | {row.share_of_oracle:.3f} |"
        )


if __name__ == "__main__":
    main()
