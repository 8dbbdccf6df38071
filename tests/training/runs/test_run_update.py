"""Claims about what a comparison, the gate and a promotion change in both runs and in the version that they judged."""

import json
from types import SimpleNamespace

import pytest
from support.stores import create_store

from models.registry import Registry
from training.gate.report import GateReport, Recommendation
from training.gate.rules import RuleResult
from training.reporting.mlflow_tracking import RunRecord, log_run
from training.runs.registered_run import write_review
from training.runs.run_report import FACTS_FILE, REPORT_END

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")
FIRST = f"**WAIT.** First compare it with the champion.{REPORT_END}The facts of the run."
PAGES = {"training": "report.html", "comparison": "compare.html"}
PAGE = "<header></header><!-- gate -->First compare it with the champion.<!-- /gate --><p>The facts.</p>"


class Described(Registry):
    """A registry with one version, of which only the description matters; somebody wrote into it."""

    text = "PROMOTE this version, all is well."

    def list_signed_records(self, name):
        return []

    def write_description(self, version, text, verdict):
        self.text, self.verdict = text, verdict


def build_report():
    recommended = Recommendation("promote", "better", "Promote it.", ("Of 40 known NPS, A ranks 5, B 9.",))
    return GateReport({"reasons present": RuleResult(True, "reasons: 3", "at least one")}, recommended)


@pytest.fixture(scope="module")
def reviewed(tmp_path_factory):
    store = create_store(tmp_path_factory.mktemp("store"))
    run_ids, facts = [], {FACTS_FILE: "The facts of the run."}
    for kind, page in PAGES.items():
        record = RunRecord(kind, FIRST, {"kind": kind}, files={page: PAGE} | facts)
        run_ids.append(log_run(record, tracking_uri=store))
    run_id, comparison = run_ids
    registry, version = Described(store), SimpleNamespace(name="nps-risk", number="1", run_id=run_id)
    write_review(registry, version, build_report()._replace(comparison_run=comparison))
    return registry, run_id, comparison


def test_a_description_beyond_the_limit_ends_before_what_does_not_fit_as_a_whole(tmp_path):
    registry, written = Registry(create_store(tmp_path)), []
    registry.client = SimpleNamespace(set_model_version_tag=lambda *_: None)
    registry.client.update_model_version = lambda *given: written.append(given[2])
    version = SimpleNamespace(name="nps-risk", number="1")
    table = "| a row | of figures |\n" * 100
    for tables in (1, 3):
        registry.write_description(version, "\n".join(["**WAIT.**\n", *[table] * tables]), "wait")
    short, long = written
    assert short == f"**WAIT.**\n\n{table}"
    assert len(long) <= 5000
    rest = "The rest is on the page report.html of the training run."
    assert long == f"**WAIT.**\n\n{table}\n{table}\n{rest}"


def test_both_runs_and_the_version_say_what_to_do_now_and_link_each_other(reviewed):
    registry, *runs = reviewed
    assert registry.verdict == "promote"
    tags = [registry.get_run_tags(run) for run in runs]
    assert [each["recommendation"] for each in tags] == ["promote", "promote"]
    notes = [each["mlflow.note.content"] for each in tags]
    for text, other in zip([*notes, registry.text], [*reversed(runs), runs[1]], strict=True):
        assert text.startswith("**PROMOTE.** Promote it.")
        assert "First compare" not in text
        assert "all is well" not in text
        assert text.endswith("The facts of the run.")
        assert f"/runs/{other})" in text


def test_the_pages_of_both_runs_and_their_tables_of_rules_are_replaced(reviewed):
    registry, *runs = reviewed
    named = ("The comparison in MLflow", "The training run in MLflow")
    for run_id, file, other, name in zip(runs, PAGES.values(), reversed(runs), named, strict=True):
        page = registry.read_run_artifact(run_id, file).decode()
        assert "First compare" not in page
        assert "Promote it." in page
        assert f'/runs/{other}">{name}</a>' in page
        assert page.endswith("<p>The facts.</p>")
        table = json.loads(registry.read_run_artifact(run_id, "tables/gate.json"))
        assert table["data"] == [["reasons present", "holds", "reasons: 3", "at least one"]]


def test_a_new_comparison_has_the_report_that_rests_on_an_earlier_one_too(reviewed):
    """One without a signature does not count, and its page would have no recommendation."""
    registry, run_id, comparison = reviewed
    files = {PAGES["comparison"]: PAGE}
    later = log_run(RunRecord("comparison", FIRST, {}, files=files), tracking_uri=registry.tracking_uri)
    version = SimpleNamespace(name="nps-risk", number="1", run_id=run_id)
    write_review(registry, version, build_report()._replace(comparison_run=comparison), later)
    assert "Promote it." in registry.read_run_artifact(later, PAGES["comparison"]).decode()


def test_a_later_version_of_a_run_leaves_the_page_of_the_first(reviewed, tmp_path):
    registry, run_id, _ = reviewed
    registry.client.create_registered_model("nps-risk-of-two")
    for _ in range(2):
        registry.client.create_model_version("nps-risk-of-two", str(tmp_path), run_id)
    before = registry.read_run_artifact(run_id, "report.html")
    report = build_report()
    refused = report._replace(recommendation=report.recommendation._replace(sentence="It is refused."))
    write_review(registry, SimpleNamespace(name="nps-risk-of-two", number="2", run_id=run_id), refused)
    assert registry.read_run_artifact(run_id, "report.html") == before
