"""Claims about the page of a run."""

from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest
from support.training_judged import QUICK, judged_world

from training.evaluation.fairness import compute_fairness_rows
from training.evaluation.name_invariance import ALL_LANGUAGES
from training.evaluation.off_policy import LoggedEvidence, OffPolicyEstimates
from training.evaluation.verdict import judge_model
from training.reporting.html import HEADLINE
from training.reporting.plots import draw_fairness, draw_importance
from training.runs.run_report import RunReport, render_report

TRAFFIC, MODEL, BASELINES = judged_world()
FAIRNESS = compute_fairness_rows(TRAFFIC, 5, QUICK, "outcomes")
ESTIMATES = OffPolicyEstimates.from_evidence(
    LoggedEvidence(TRAFFIC, np.zeros(len(TRAFFIC.score)), TRAFFIC.score), QUICK
)
SWAPS = {"language": ALL_LANGUAGES, "rows": 900, "moved": 0.25, "move_95pct": 0.004, "move_largest": 0.02}


def report(**changes):
    whole = RunReport(
        name="nps, as of 2024-07-01",
        target="nps",
        as_of=datetime(2024, 7, 1, tzinfo=UTC),
        facts={"data": "abc123"},
        verdict=judge_model(MODEL, BASELINES, target="nps", positives=50, by_truth=False),
        sentences=["The final fit has learnt from 80 positives."],
        model=MODEL,
        baselines=BASELINES,
        truth=None,
        truth_baselines={},
        pictures={
            "importance": draw_importance({"goods": 1.0}),
            "fairness": draw_fairness(FAIRNESS),
        },
        data=[{"period": "training", "arrived": 12000}],
        split=[{"period": "training", "arrivals_from": "2024-01-01"}],
        examples=[
            {
                "consignment_id": "RB1",
                "score": 0.5,
                "band": "high",
                "channel": "postal",
                "result": "nps",
                "reasons": ["<b>Sender</b> is new"],
            }
        ],
        features=[{"feature": "goods.text_score", "share": 0.5}],
        estimates=ESTIMATES,
        fairness=FAIRNESS,
        name_swaps=[SWAPS],
        leaks=[{"look": "results known on arrival", "found": 0.004, "bound": 0.01, "rows": 900, "where": ""}],
        origins=[],
        ages=[],
        ablation=[],
        trials=[],
        config={"split.test_days": 28},
    )
    return replace(whole, **changes)


class Outside(HTMLParser):
    """Collect what a page would fetch from elsewhere."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.found += [named[name] for name in ("src", "href") if named.get(name, "#")[0] != "#"]
        self.found += [tag] if tag in ("script", "link", "iframe") else []


def test_the_verdict_comes_before_the_figures():
    page = render_report(report())
    assert page.index("Better than its baselines") < page.index("Key metrics")


def test_the_page_needs_nothing_from_elsewhere():
    parser = Outside()
    parser.feed(render_report(report()))
    assert parser.found == []


def test_what_comes_from_data_is_escaped_and_pictures_are_not():
    page = render_report(report(name="<script>alert(1)</script>"))
    assert "<script>" not in page
    assert "&lt;b&gt;Sender&lt;/b&gt; is new" in page
    assert "<svg" in page


def test_every_key_figure_stands_beside_the_baselines():
    page = render_report(report())
    for title in HEADLINE.values():
        assert title in page
    assert "<th>rules</th>" in page


def test_the_truth_has_a_table_of_its_own_where_there_is_one():
    assert "against the truth" not in render_report(report())
    assert "against the truth" in render_report(report(truth=MODEL, truth_baselines=BASELINES))


def test_a_page_too_heavy_to_send_is_refused():
    with pytest.raises(ValueError, match="more than 2,000,000"):
        render_report(report(pictures={"fairness": "x" * 2_000_001}))


def test_who_bears_the_inspections_and_what_names_do_stands_in_the_page():
    page = render_report(report())
    section = page[page.index("Inspection burden by group") :]
    assert "air_cargo" in section
    assert "in 900 replacements 25.0 % of the scores changed" in section
    assert "less than 0.004 log-odds" in section
    assert "contains no personal name" in render_report(report(name_swaps=[SWAPS | {"rows": 0}]))
