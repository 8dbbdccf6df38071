"""The results of search and ablation are printed, ten rows at most, the best first."""

from cli.model.text_tables import MAX_ROWS, format_studies
from training.fitting.diagnostics import DiagnosticsResult

SHARED = {"recall_at_1pct": 0.25, "model.learning_rate": 0.054}
TRIALS = [
    {"trial": n, "worth": 0.5 + n / 1000, "model.leaves": 8 + n, "best": n == 11} | SHARED for n in range(12)
]
GROUP = {"left_out": "history.sender", "kind": "history key", "features": 31}
WORTH = {"worth": 0.0213, "worth_low": -0.001, "worth_high": 0.05}
RECALL = {"recall_at_1pct": 0.031, "recall_at_1pct_low": 0.0, "recall_at_1pct_high": 0.1}


def test_the_best_trials_come_first_and_parameters_that_differ_are_not_rounded_together() -> None:
    title, header, *rows, more = format_studies(DiagnosticsResult(trials=TRIALS)).splitlines()
    assert title.startswith("Search, 12 trials")
    assert header.split() == ["trial", "worth", "recall", "at", "1", "%", "leaves", "learning_rate"]
    assert len(rows) == MAX_ROWS
    assert rows[0].split() == ["11", "0.511", "25.0", "%", "19", "0.054", "used"]
    assert rows[1].split()[0] == "10"
    assert more == "and 2 more, in the tables of the run"


def test_an_ablation_shows_the_loss_with_its_interval_and_a_run_without_studies_prints_nothing() -> None:
    assert format_studies(DiagnosticsResult()) == ""
    lines = format_studies(DiagnosticsResult(ablation=[GROUP | WORTH | RECALL])).splitlines()
    assert len(lines) == 3
    assert lines[1].split()[:4] == ["left", "out", "kind", "features"]
    assert lines[2].startswith("history.sender  history key  31")
    assert "+0.0213 (-0.001 to +0.05)" in lines[2]
    assert lines[2].endswith("+3.1 points")
