"""Claims about the page of a run."""

from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from support.training_judged import QUICK, judged_world

from training.evaluation.estimate import Estimate
from training.evaluation.fairness import compute_fairness_rows
from training.evaluation.name_invariance import ALL_LANGUAGES
from training.evaluation.stored_scores import RecipeEvaluation
from training.evaluation.verdict import judge_recipe
from training.gate.recommendation import DecidingFacts, recommend
from training.gate.report import GateReport
from training.gate.rules import RESULTS_SOURCE, RuleResult
from training.reporting.consignments import ConsignmentFacts
from training.reporting.figures import Figure
from training.reporting.html import HEADLINE, format_figure
from training.reporting.plots import draw_fairness, draw_importance
from training.runs.run_report import MeasuredModel, RunReport, render_report

TRAFFIC, MODEL, BASELINES = judged_world()
FAIRNESS = compute_fairness_rows(TRAFFIC, 5, QUICK, "outcomes")
SWAPS = {"language": ALL_LANGUAGES, "rows": 900, "moved": 0.25, "move_95pct": 0.004, "move_largest": 0.02}


HELD = RuleResult(True, "reasons: 3", "at least one reason")
FACTS = DecidingFacts(
    Estimate(0.1, 0.05, 0.15),
    "the strongest baseline (rules)",
    False,
    50,
    Estimate(1.1, 0.8, 1.4),
    RESULTS_SOURCE,
)


def gate(**rules):
    rules = {"reasons present": HELD, **rules}
    return GateReport(rules, recommend(rules, FACTS))


def report(**changes):
    whole = RunReport(
        name="nps, as of 2024-07-01",
        target="nps",
        as_of=datetime(2024, 7, 1, tzinfo=UTC),
        facts={"data": "abc123"},
        gate=gate(),
        verdict=judge_recipe(RecipeEvaluation(MODEL, BASELINES), "nps"),
        sentences=["The final fit has learnt from 80 positives."],
        deciding=MeasuredModel("as deployed", MODEL, None, BASELINES),
        test=MeasuredModel("on the test period", MODEL, None, BASELINES),
        model=MODEL,
        pictures={
            "importance": Figure(draw_importance({"goods": 1.0}), "Groups", "Read so."),
            "fairness": Figure(draw_fairness(FAIRNESS), "Burden", "Read so."),
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
                "facts": ConsignmentFacts("research chemical", "CN → KR", "0.500 kg", "12.0 USD"),
                "reasons": ["<b>Sender</b> is new"],
                "waterfall": [
                    {
                        "text": "Sender is new",
                        "change": 0.7,
                        "factor": 2.0,
                        "left": 10,
                        "width": 20,
                        "direction": "raises",
                    }
                ],
            }
        ],
        features=[{"feature": "goods.text_score", "share": 0.5}],
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


def first_screen(page):
    return page[: page.index("Key metrics")]


def test_what_to_do_and_the_facts_that_decide_come_before_the_figures():
    screen = first_screen(render_report(report()))
    assert '<span class="word">promote</span>' in screen
    for fact in gate().recommendation.facts:
        assert fact.replace(" %", "\N{NO-BREAK SPACE}%") in screen


def test_a_rule_that_does_not_hold_stands_in_the_first_screen_with_what_was_expected():
    broken = RuleResult(False, "2 of <100> altered", "unaltered files")
    page = render_report(report(gate=gate(**{"checksums verified": broken})))
    shown = page[: page.index("<details>")]
    assert '<span class="word">refuse</span>' in shown
    assert "2 of &lt;100&gt; altered" in shown
    assert "unaltered files" in shown
    assert "reasons: 3" not in shown
    assert "reasons: 3" in first_screen(page)


def test_an_interval_that_contains_everything_is_shown_as_too_few_positives():
    wide = replace(MODEL, metrics=MODEL.metrics | {"recall_at_1pct": Estimate(0.05, 0.0, 0.983)})
    page = render_report(report(deciding=MeasuredModel("as deployed", wide, None, BASELINES)))
    assert "too few positives" in page
    assert "98.3 %" not in page


def test_every_picture_can_be_read_by_a_screen_reader():
    page = render_report(report())
    assert page.count("<svg") == page.count('role="img" aria-label=') == page.count("<figcaption>") > 0


def test_the_charts_say_which_of_them_show_the_evaluation_fit_if_the_key_metrics_are_of_another_one():
    pictures = report().pictures | {"precision": Figure("<svg >", "Precision", "Read so.")}
    words = "Precision, recall and lift are those of the recipe as deployed"
    names = ("as_of", "until", "learnt_positives", "positives", "recall_at_1pct", "recall_at_5pct")
    origins = [
        dict.fromkeys([*names, *(f"{name}{end}" for name in names[-2:] for end in ("_low", "_high"))], 0.5)
    ]
    assert words in " ".join(render_report(report(pictures=pictures, origins=origins)).split())
    assert words not in " ".join(render_report(report(pictures=pictures)).split())


def test_an_explained_consignment_has_its_facts_and_contributions():
    page = render_report(report())
    for text in ("research chemical", "CN → KR", "0.500 kg", "12.0 USD", "+0.7", "× 2"):
        assert text in page


def test_the_page_needs_nothing_from_elsewhere():
    parser = Outside()
    parser.feed(render_report(report()))
    assert parser.found == []


def test_what_comes_from_data_is_escaped_and_pictures_are_not():
    page = render_report(report(name="<script>alert(1)</script>"))
    assert "<script>" not in page
    assert "&lt;b&gt;Sender&lt;/b&gt; is new" in page
    assert "<svg" in page


def test_every_key_figure_has_an_interval_and_stands_next_to_those_of_the_baselines():
    page = render_report(report())
    for title in HEADLINE.values():
        assert title in page
    assert "<th>rules</th>" in page
    rules = BASELINES["rules"]["recall_at_1pct"]
    assert f"{format_figure(rules.low)} to {format_figure(rules.high)}" in page


def test_truth_and_estimate_stand_in_one_table_the_trusted_one_first():
    assert "by the truth" not in render_report(report())
    both = MeasuredModel("as deployed", MODEL, MODEL, BASELINES)
    page = render_report(report(deciding=both, test=both))
    head = page[page.index("<th>metric</th>") :]
    assert head.index("model, by the truth") < head.index("model, estimated")
    assert "The same metrics" not in page


def test_a_page_too_heavy_to_send_is_refused():
    with pytest.raises(ValueError, match="more than 2,000,000"):
        render_report(report(pictures={"fairness": Figure("x" * 2_000_001, "", "")}))


def test_who_bears_the_inspections_and_what_names_do_stands_in_the_page():
    page = render_report(report())
    section = page[page.index("Inspection burden by group") :]
    assert "air_cargo" in section
    assert "in 900 replacements 25.0 % of the scores changed" in section
    assert "less than 0.004 log-odds" in section
    assert "contains no personal name" in render_report(report(name_swaps=[SWAPS | {"rows": 0}]))
