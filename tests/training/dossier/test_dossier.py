"""A dossier of a model that was really trained and approved says what its run says, and of an unknown model nothing."""

import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.approval import SETTING, Approved
from support.browser import browsing, find_chromium
from support.signing import APPROVERS
from support.trained_run import CONFIG
from support.training_judged import build_stored_scores

from consignments.errors import BundleRefused, FileFault
from models.calibration import MIN_RANDOM_POSITIVES
from models.formats import format_number
from models.signatures.key_holders import Approvers
from training.dossier.dossier import NOT_SHOWN, build_dossier, encode_dossier, render_dossier, write_dossier
from training.dossier.tables import DossierEvidence, gather_dossier_evidence
from training.evaluation.estimate import TOO_FEW, describe_estimate
from training.evaluation.stored_scores import StoredScores, evaluate_recipe
from training.monitoring.drift_measures import LIMITS
from training.reporting.mlflow_tracking import RunRecord, log_run
from training.runs.artifacts import STORED_SCORES

DAY = date(2026, 1, 2)
PERSONAL = ("name", "address", "phone", "email")


def find(made: dict[str, Any], key: str) -> dict[str, Any]:
    fields = [field for section in made["sections"] for field in section["fields"]]
    return next(field for field in fields if field["key"] == key)


def list_rows(made: dict[str, Any], key: str, table: str = "") -> list[dict[str, Any]]:
    """Return the rows of a table of a field; default: the table with the name of the field."""
    return find(made, key)["known"][table or key]["rows"]


def list_pairs(made: dict[str, Any], key: str, table: str = "") -> dict[str, Any]:
    return {row["name"]: row["value"] for row in list_rows(made, key, table)}


def give_few_results(evidence: DossierEvidence) -> DossierEvidence:
    """Return the evidence of a run of which only four finds are known."""
    frame = build_stored_scores().frame
    fourth = frame.index[frame["positive"]][3]
    labelled = frame["labelled"] & (~frame["positive"] | (frame.index <= fourth))
    known = {"positive": frame["positive"] & labelled, "weight": frame["weight"].where(labelled, 0.0)}
    few = frame.assign(labelled=labelled, **known)
    return replace(evidence, recipe=evaluate_recipe(StoredScores(few), CONFIG.evaluation))


def test_figures_are_those_of_the_deployed_recipe_with_intervals(approved: Approved) -> None:
    made, recipe = build_dossier(approved.evidence, DAY), approved.evidence.recipe
    rows = {row["metric"]: row for row in list_rows(made, "metrics")}
    recall = recipe.model["recall_at_5pct"]
    assert recall.is_shown
    shown = rows["Recall at 5 % of traffic"]
    assert (shown["value"], shown["low"], shown["high"]) == (recall.value, recall.low, recall.high)
    page = render_dossier(made)
    assert describe_estimate(recall) in page
    baselines = {row["name"]: row for row in list_rows(made, "reasons_for_use", "baselines")}
    assert set(baselines) == {"model", "random", "rules"}
    for name, side in {"model": recipe.model, "rules": recipe.baselines["rules"]}.items():
        assert baselines[name]["recall_at_capacity"] == describe_estimate(side["recall_at_capacity"])
    area = recipe.model["roc_auc"]
    begin = f"{format_number(area.value)} ({format_number(area.low)} to "
    assert rows["Area under the ROC curve"]["estimate"].startswith(begin)
    assert "calibration_error" not in page
    (counts,) = list_rows(made, "reasons_for_use", "counts")
    assert "the fixed rules rank " in counts["text"], "what an operation would have without a model"
    (calibration,) = list_rows(made, "calibration")
    assert calibration["value"] == recipe.model["calibration_ratio"].value


def test_too_few_results_are_no_figure_and_no_complete_field(approved: Approved) -> None:
    made = build_dossier(give_few_results(approved.evidence), DAY)
    rows = list_rows(made, "metrics")
    assert {row["value"] for row in rows} == {None}
    assert all(row["estimate"].startswith("too few results: 4 known, about ") for row in rows)
    field = find(made, "metrics")
    statuses = {find(made, key)["status"] for key in ("metrics", "calibration", "output")}
    assert statuses == {"partly"}
    assert field["to_be_filled"] is None, "nobody can fill in what is not known yet"
    assert "Too few results" in field["known"]["metrics"]["note"]


def test_the_stored_scores_of_the_run_are_what_is_evaluated(approved: Approved) -> None:
    found = gather_dossier_evidence(approved.registry, approved.version, APPROVERS)
    content = approved.registry.read_run_artifact(approved.version.run_id, STORED_SCORES)
    expected = evaluate_recipe(StoredScores.from_bytes(content), CONFIG.evaluation)
    assert found.recipe.flatten_metrics() == expected.flatten_metrics()
    page = render_dossier(build_dossier(found, DAY))
    source = "files of the training run that agree with its evidence.json. "
    record = "They are those of promotion record 1, signed by a reviewer. At the approval: the training run has no valid signature"
    assert source + record in page


def test_figures_that_no_record_and_no_key_vouches_for_are_said_to_have_no_signature(
    approved: Approved,
) -> None:
    found = gather_dossier_evidence(approved.registry, approved.version, Approvers(()))
    assert found.run.endswith("They have no valid signature: the evidence is not signed.")


@pytest.mark.parametrize("name", [STORED_SCORES, "tables/data.json"])
def test_no_figure_is_taken_from_altered_files(approved: Approved, tmp_path: Path, name: str) -> None:
    client, run_id = approved.registry.client, approved.version.run_id
    original = approved.registry.read_run_artifact(run_id, name)
    folder, _, file = name.rpartition("/")
    swapped = {STORED_SCORES: build_stored_scores(seed=5).content, "tables/data.json": original + b" "}[name]
    try:
        (tmp_path / file).write_bytes(swapped)
        client.log_artifact(run_id, str(tmp_path / file), folder)
        found = gather_dossier_evidence(approved.registry, approved.version, APPROVERS)
    finally:
        (tmp_path / file).write_bytes(original)
        client.log_artifact(run_id, str(tmp_path / file), folder)
    made = build_dossier(found, DAY)
    assert find(made, "metrics")["known"] == find(made, "quantities")["known"] == {}
    told = f"do not agree with its evidence: {name} was altered: evidence.json names another file"
    assert told in render_dossier(made)


def test_the_tables_are_those_of_the_run(approved: Approved) -> None:
    made = build_dossier(approved.evidence, DAY)
    tables = approved.evidence.tables
    assert len(tables["data"]) >= 3
    counts = {row["period"]: row for row in list_rows(made, "quantities")}
    for row in tables["data"]:
        assert counts[row["period"]]["positive"] == row.get("positive")
        assert counts[row["period"]]["arrived"] == row.get("arrived")
    burden = [row["chosen"] for row in tables["fairness"]]
    assert [row["chosen"] for row in list_rows(made, "burden", "fairness")] == burden
    best = max(tables["features"], key=lambda row: row["share"])
    assert list_rows(made, "features")[0]["feature"] == best["feature"]
    assert len(list_rows(made, "features")) == len(approved.evidence.served.spec)
    limits = {row["change"]: (row["limit"], row["verdict"]) for row in list_rows(made, "drift_limits")}
    assert len(limits) == len(LIMITS)
    assert limits["total variation of the mix of a column"] == (LIMITS["mix"].describe(), "retrain")
    settings = {row["setting"]: row["value"] for row in list_rows(made, "parameters")}
    assert settings["model.trees"] == CONFIG.model.trees
    assert (settings["history.keys"], settings["split.test_from"]) == ("none", "not set")
    assert not [row for row in list_rows(made, "features") if "……" in row["meaning"]]
    least = f"{MIN_RANDOM_POSITIVES}".replace("10", "Ten")
    assert f"{least} or more finds among random inspections" in find(made, "selection")["text"]


def test_missing_values_are_those_of_the_test_period(approved: Approved) -> None:
    reference = approved.evidence.served.reference
    rows = list_rows(build_dossier(approved.evidence, DAY), "completeness")
    shares = {(row["column"], row["channel"]): row["missing"] for row in rows}
    expected = reference.missing["postal"]["sender_phone"] / reference.channels["postal"]
    assert shares["sender_phone", "postal"] == expected > 0
    assert "consignment_id" not in {row["column"] for row in rows}


def test_the_approval_is_that_of_the_record_with_who_signed(approved: Approved) -> None:
    made = build_dossier(approved.evidence, DAY)
    pairs = list_pairs(made, "approval")
    record = approved.evidence.records[-1].record
    assert pairs["signatures that hold"] == "a reviewer"
    assert pairs["SHA-256 of the record"] == record.compute_sha256()
    assert pairs["forced against the gate"] == ("yes" if record.forced else "no")
    rules = {row["rule"]: row for row in list_rows(made, "approval", "approval_rules")}
    assert rules.keys() == record.rules.keys()
    assert rules["training reproduced"]["result"] == "not checked"
    assert all(row["expected"] for row in rules.values())
    unknown = build_dossier(replace(approved.evidence, approvers=Approvers(())), DAY)
    assert list_pairs(unknown, "approval")["signatures that hold"] == "none that can be verified here"


def test_the_comparisons_of_a_version_are_named_with_what_they_led_to(approved: Approved) -> None:
    tags = {"kind": "comparison", "a": "models:/nps-risk/7", "b": approved.version.uri, "verdict": "worse"}
    tags |= {"recommendation": "refuse", "compared_at": "2026-01-01 10:00 UTC"}
    run_id = log_run(RunRecord("compare 7 and 1", "", tags), tracking_uri=approved.registry.tracking_uri)
    found = gather_dossier_evidence(approved.registry, approved.version, APPROVERS)
    made = build_dossier(found, DAY)
    (row,) = list_rows(made, "technical_measures", "comparisons")
    about = {"compared_at": "2026-01-01 10:00 UTC", "with": "nps-risk/7", "run": run_id}
    assert row == about | {"difference": "worse", "recommendation": "refuse"}
    assert "2026-01-01 10:00 UTC" in render_dossier(made)


def test_too_few_results_mean_the_same_in_all_documents(approved: Approved) -> None:
    page = " ".join(render_dossier(build_dossier(approved.evidence, DAY)).split())
    assert f"nothing is selected, or too few results ({TOO_FEW})." in page
    study = Path("docs/estimates.md").read_text("utf-8")
    assert f"*Too few results* are {TOO_FEW}:" in study


def test_a_run_with_a_simulated_truth_says_so(approved: Approved) -> None:
    recipe = approved.evidence.recipe
    real = replace(approved.evidence, recipe=replace(recipe, truth=None))
    texts = [str(find(build_dossier(each, DAY), "source")["known"]) for each in (approved.evidence, real)]
    assert "simulated world" in texts[0]
    assert "simulated world" not in texts[1]


def test_nothing_is_invented_of_a_version_that_is_not_known(unknown: DossierEvidence) -> None:
    made = build_dossier(unknown, DAY)
    for key in ("metrics", "burden", "accuracy_by_group", "names", "period", "quantities"):
        field = find(made, key)
        assert field["known"] == {}, key
        assert field["status"] != "complete"
        assert "npsrisk does not know of this version" in field["to_be_filled"]["what"]
    approval = find(made, "approval")
    assert (approval["status"], "approval of this version" in approval["to_be_filled"]["what"]) == (
        "partly",
        True,
    )
    page = render_dossier(made)
    assert "Not known: to be filled by the reviewer of the model." in page
    assert page.count("Not known: to be filled by") == sum(map(len, made["to_be_filled"].values()))
    assert "legal_basis" in made["to_be_filled"]["legal counsel"]


def test_a_field_without_content_is_never_complete(approved: Approved, unknown: DossierEvidence) -> None:
    for evidence in (approved.evidence, give_few_results(approved.evidence), unknown):
        made = build_dossier(evidence, DAY)
        for field in (field for section in made["sections"] for field in section["fields"]):
            known = any(each["rows"] or each["note"] for each in field["known"].values())
            shown = field["text"] or field["answer"] or known
            assert shown or field["status"] == "open", field["key"]
            waits = any(each["note"] == NOT_SHOWN for each in field["known"].values())
            assert bool(field["to_be_filled"] or waits) == (field["status"] != "complete"), field["key"]


def test_an_answer_completes_its_field_and_is_escaped(approved: Approved) -> None:
    made = build_dossier(approved.evidence, DAY, {"legal_basis": "The <b>customs</b> act."})
    assert find(made, "legal_basis")["status"] == "complete"
    page = render_dossier(made)
    assert "The &lt;b&gt;customs&lt;/b&gt; act." in page
    assert "<b>customs</b>" not in page


def test_neither_the_document_nor_the_bundle_holds_data_of_consignments(approved: Approved) -> None:
    made = build_dossier(approved.evidence, DAY)
    text = render_dossier(made) + encode_dossier(made)
    frame = approved.world.consignments
    columns = ["consignment_id", *(f"{side}_{what}" for side in ("sender", "consignee") for what in PERSONAL)]
    values = {value for column in columns for value in frame[column].dropna() if len(value) >= 8}
    assert len(values) > 1000
    assert values & {*re.findall(r"[^<>\"\n]+", text)} == set()
    assert [value for value in sorted(values)[:3000] if value in text] == []
    served = approved.registry.download_fits(approved.version).served
    content = b"".join(path.read_bytes() for path in served.rglob("*") if path.is_file())
    personal = pd.concat([frame[column] for column in columns if not column.endswith("name")]).dropna()
    assert [value for value in personal[:2000] if len(value) >= 8 and value.encode() in content] == []


def test_the_json_is_valid_and_names_every_section_of_the_forms(approved: Approved) -> None:
    made = build_dossier(approved.evidence, DAY)
    plain = json.loads(encode_dossier(made), parse_constant=lambda name: pytest.fail(name))
    assert plain["version"] == "1"
    assert plain["bundle_sha256"] == approved.evidence.served.sha256
    keys = {field["key"] for section in plain["sections"] for field in section["fields"]}
    for form in plain["forms"].values():
        assert all(each["fields"] and set(each["fields"]) <= keys for each in form["sections"].values())
    by_key = {field["key"]: field for section in plain["sections"] for field in section["fields"]}
    assert by_key["legal_basis"]["to_be_filled"]["by"] == "legal counsel"
    assert by_key["features"]["to_be_filled"] is None
    assert by_key["security"]["known"]["service_settings"]["rows"] == [SETTING._asdict()]


def test_an_altered_bundle_gets_no_dossier(approved: Approved) -> None:
    tags = {**approved.version.tags, "bundle_sha256": "0" * 64}
    with pytest.raises(BundleRefused, match="the bundle is not the registered one"):
        gather_dossier_evidence(approved.registry, replace(approved.version, tags=tags), APPROVERS)


def test_a_page_that_cannot_be_written_is_named(unknown: DossierEvidence, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileFault, match="file"):
        write_dossier(build_dossier(unknown, DAY), tmp_path / "file" / "dossier.html")


@pytest.mark.skipif(find_chromium() is None, reason="no Chromium is installed")
def test_no_table_is_wider_than_a_telephone(approved: Approved, tmp_path: Path) -> None:
    page, _ = write_dossier(build_dossier(approved.evidence, DAY), tmp_path / "dossier.html")
    with browsing() as browser:
        browser.set_width(390)
        browser.open(page.as_uri())
        wide = "e => e.scrollWidth > e.clientWidth && e.querySelector('.cards')"
        tables = "[...document.querySelectorAll('.scroll')]"
        assert browser.run(f"{tables}.filter({wide}).map(e => e.innerText.slice(0, 80))") == []
        unnamed = "e => getComputedStyle(e, '::before').content === 'none' && e.dataset.label"
        cells = "[...document.querySelectorAll('.cards td:first-child')]"
        without = browser.run(f"{cells}.filter({unnamed}).length")
        assert without == 0, "the first cell of a row lost its heading"
        assert browser.run("document.documentElement.scrollWidth") == 390
        browser.set_width(1280)
        cells = f"<tr><td>Recall</td><td>{'too few results: ' * 9}</td><td>24.7 %</td></tr>"
        browser.run(f"document.body.innerHTML = `<table class='cards estimates'>{cells}</table>`")
        _, reason, value = browser.run("[...document.querySelectorAll('td')].map(e => e.offsetWidth)")
        assert abs(reason - value) <= 1, "a reason narrowed the columns of all figures"
