"""Which metrics of a run are logged."""

import re
from pathlib import Path

import training.gate.rules
from training.runs.result import is_headline


def test_every_metric_that_the_gate_reads_is_logged() -> None:
    source = Path(training.gate.rules.__file__).read_text()
    read = set(re.findall(r'"((?:test|baseline)/[a-z0-9_/]+)"', source))
    assert len(read) > 5
    assert [name for name in sorted(read) if not is_headline(name)] == []
    assert all(is_headline(f"test/calibration_ratio{end}") for end in ("", "_low", "_high"))


def test_slices_and_intervals_of_baselines_are_left_to_the_tables() -> None:
    assert not is_headline("test/office:Incheon/roc_auc")
    assert not is_headline("baseline/rules/average_precision_low")
    assert not is_headline("truth/precision_at_5pct_high")
