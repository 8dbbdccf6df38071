"""A dossier of a model that was really trained and approved says what its run says, and of an unknown model nothing."""

import json
import math
import re
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from support.approval import APPROVAL
from support.registered_model import register_small_model
from support.signing import APPROVERS
from support.stores import create_store

from consignments.errors import BundleRefused, FileFault
from features.batch import Tables
from models.registry import ModelVersion, Registry
from models.signatures.key_holders import Approvers
from training.config import parse_config
from training.dossier.dossier import Dossier, DossierField, build_dossier
from training.dossier.evidence import DossierEvidence, ServiceSetting, gather_dossier_evidence
from training.dossier.page import encode_dossier, render_dossier, write_dossier
from training.monitoring import drift_verdict
from training.promotion.promote import promote
from training.runs.registered_run import RunDestination, run_training
from training.runs.task import TrainingTask
from training.simulation.operation import SimulatedTables, simulate

DAY = date(2026, 1, 2)
CONFIG = parse_config(
    {
        "split": {"validation_days": 14, "test_days": 14, "label_delay_days": 10},
        "model": {"trees": 8},
        "evaluation": {"resamples": 20, "name_rows": 60, "smallest_slice": 10, "origins": 0},
    }
)
SETTING = ServiceSetting("NPSRISK_WITHOUT_MODEL", "rules", "What scores while no model is loaded.")
PERSONAL = ("name", "address", "phone", "email")


@dataclass(frozen=True)
class Approved:
    """A world, the store with its model, and what is known of this model."""

    world: SimulatedTables
    registry: Registry
    version: ModelVersion
    evidence: DossierEvidence


@pytest.fixture(scope="module")
def approved(tmp_path_factory: pytest.TempPathFactory) -> Approved:
    world = simulate(days=90, per_day=100, prevalence="operation", seed=8)
    registry = Registry(create_store(tmp_path_factory.mktemp("approved")))
    task = TrainingTask(
        Tables(world.consignments, world.outcomes, world.alerts), target="any_offence", config=CONFIG
    )
    made = run_training(task, RunDestination(tracking_uri=registry.tracking_uri, register=True))
    promote(registry, registry.resolve(made.model_uri or ""), APPROVAL, force=True)
    version = registry.resolve(made.model_uri or "")
    return Approved(
        world, registry, version, gather_dossier_evidence(registry, version, APPROVERS, [SETTING])
    )


@pytest.fixture(scope="module")
def unknown(tmp_path_factory: pytest.TempPathFactory) -> DossierEvidence:
    """A version whose run kept no tables and no settings, and that nobody approved."""
    registry = register_small_model(tmp_path_factory.mktemp("unknown"))
    return gather_dossier_evidence(registry, registry.resolve("1"), Approvers(()))


def find(made: Dossier, key: str) -> DossierField:
    return next(field for field in made.fields if field.layout.key == key)


def list_rows(made: Dossier, key: str, place: int = 0) -> list[dict[str, Any]]:
    """Return the rows of a table of a field."""
    block = [each for each in find(made, key).blocks if each.columns][place]
    names = [column.key for column in block.columns]
    return [dict(zip(names, row, strict=True)) for row in block.rows]


def test_the_tables_are_those_of_the_run(approved: Approved) -> None:
    made = build_dossier(approved.evidence, DAY)
    tables = approved.evidence.tables
    assert len(tables["data"]) >= 3
    counts = {row["period"]: row for row in list_rows(made, "quantities")}
    for row in tables["data"]:
        assert counts[row["period"]]["positive"] == row.get("positive")
        assert counts[row["period"]]["arrived"] == row.get("arrived")
    burden = [row["chosen"] for row in tables["fairness"] if row["judged_by"] == "outcomes"]
    assert [row["chosen"] for row in list_rows(made, "burden")] == burden
    best = max(tables["features"], key=lambda row: row["share"])
    assert list_rows(made, "features")[0]["feature"] == best["feature"]
    assert len(list_rows(made, "features")) == len(approved.evidence.served.spec)
    assert {row["setting"]: row["value"] for row in list_rows(made, "parameters")}["model.trees"] == "8"


def test_the_shares_add_up(approved: Approved) -> None:
    made = build_dossier(approved.evidence, DAY)
    groups = list_rows(made, "feature_groups")
    assert math.isclose(sum(row["share"] for row in groups), 1.0)
    assert sum(row["features"] for row in groups) == len(approved.evidence.served.spec)
    mix = list_rows(made, "completeness", 1)
    for column in ("channel", "service", "departure_country"):
        assert math.isclose(sum(row["share"] for row in mix if row["column"] == column), 1.0)


def test_missing_values_are_those_of_the_test_period(approved: Approved) -> None:
    reference = approved.evidence.served.reference
    assert reference is not None
    shares = {row["column"]: row for row in list_rows(build_dossier(approved.evidence, DAY), "completeness")}
    expected = reference.missing["postal"]["sender_phone"] / reference.channels["postal"]
    assert shares["sender_phone"]["postal"] == expected > 0
    assert "consignment_id" not in shares


def test_the_approval_is_that_of_the_record_with_who_signed(approved: Approved) -> None:
    made = build_dossier(approved.evidence, DAY)
    pairs = {row["name"]: row["value"] for row in list_rows(made, "approval")}
    record = approved.evidence.records[-1].record
    assert pairs["signatures that hold"] == "a reviewer"
    assert pairs["SHA-256 of the record"] == record.compute_sha256()
    assert pairs["forced against the gate"] == ("yes" if record.forced else "no")
    rules = {row["rule"]: row["result"] for row in list_rows(made, "approval", 1)}
    assert rules.keys() == record.rules.keys()
    assert rules["training reproduced"] == "not checked"


def test_a_signature_that_cannot_be_verified_is_not_shown_as_one(approved: Approved) -> None:
    made = build_dossier(replace(approved.evidence, approvers=Approvers(())), DAY)
    pairs = {row["name"]: row["value"] for row in list_rows(made, "approval")}
    assert pairs["signatures that hold"] == "none that can be verified here"


def test_few_positives_are_said_to_be_too_few(approved: Approved) -> None:
    data = [
        {**row, "positive": 4} if row["period"] == "test" else row for row in approved.evidence.tables["data"]
    ]
    few = replace(approved.evidence, tables={**approved.evidence.tables, "data": data})
    sentences = [text for block in find(build_dossier(few, DAY), "limits").blocks for text in block.sentences]
    assert "4 positives are known in the test period." in sentences
    assert "With fewer than 10 positives no confident decision is possible." in sentences


def test_a_run_with_a_simulated_truth_says_so(approved: Approved) -> None:
    tables = approved.evidence.tables
    judged = replace(approved.evidence, tables={**tables, "truth": tables["metrics"]})
    texts = [
        "".join(t for b in find(build_dossier(e, DAY), "source").blocks for t in b.sentences)
        for e in (judged, approved.evidence)
    ]
    assert "simulated world" in texts[0]
    assert "simulated world" not in texts[1]


def test_the_limits_of_drift_are_those_of_the_verdict(
    approved: Approved, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drift_verdict, "MIN_MIX_CHANGE", 0.37)
    limits = {
        row["change"]: row["limit"]
        for row in list_rows(build_dossier(approved.evidence, DAY), "drift_limits")
    }
    assert limits["mix of a column (total variation)"] == "37.0 %"


def test_the_commit_of_the_source_is_that_of_the_run(approved: Approved) -> None:
    for tags, shown in (({"mlflow.source.git.commit": "0a1b2c"}, "0a1b2c"), ({}, None)):
        made = build_dossier(replace(approved.evidence, run_tags=tags), DAY)
        pairs = {row["name"]: row["value"] for row in list_rows(made, "software")}
        assert pairs.get("commit of the source code") == shown


def test_nothing_is_invented_of_a_version_that_is_not_known(unknown: DossierEvidence) -> None:
    made = build_dossier(unknown, DAY)
    for key in (
        "metrics",
        "capacity",
        "burden",
        "accuracy_by_group",
        "names",
        "period",
        "quantities",
        "parameters",
    ):
        field = find(made, key)
        assert field.blocks == (), key
        assert field.status in ("open", "partly")
        assert "npsrisk does not know of this version" in field.to_fill
    assert find(made, "approval").status == "open"
    assert (
        find(made, "deployed").to_fill == "npsrisk does not know of this version: metrics at earlier dates."
    )
    page = render_dossier(made)
    assert "Not known: to be filled by the reviewer of the model." in page
    assert page.count("Not known: to be filled by") == sum(bool(field.to_fill) for field in made.fields)


def test_every_field_that_waits_is_listed_with_its_role_once(approved: Approved) -> None:
    made = build_dossier(approved.evidence, DAY)
    listed = [(role, field.layout.key) for role, fields in made.list_to_fill().items() for field in fields]
    roles = made.layout.roles
    waiting = [field for field in made.fields if field.to_fill]
    assert sorted(listed) == sorted((roles[field.layout.by], field.layout.key) for field in waiting)
    assert ("legal counsel", "legal_basis") in listed
    assert sum(made.count_by_status().values()) == len(made.fields)


def test_an_answer_completes_its_field_and_is_escaped(approved: Approved) -> None:
    made = build_dossier(approved.evidence, DAY, {"legal_basis": "The <b>customs</b> act."})
    assert find(made, "legal_basis").status == "complete"
    page = render_dossier(made)
    assert "The &lt;b&gt;customs&lt;/b&gt; act." in page
    assert "<b>customs</b>" not in page


def test_equal_inputs_give_equal_documents_and_only_the_date_differs(approved: Approved) -> None:
    again = gather_dossier_evidence(approved.registry, approved.version, APPROVERS, [SETTING])
    one, other = (build_dossier(each, DAY) for each in (approved.evidence, again))
    assert render_dossier(one) == render_dossier(other)
    assert encode_dossier(one) == encode_dossier(other)
    later = encode_dossier(build_dossier(again, date(2027, 3, 4)))
    assert later.replace("2027-03-04", "2026-01-02") == encode_dossier(one)


def test_the_document_holds_no_data_of_consignments(approved: Approved) -> None:
    made = build_dossier(approved.evidence, DAY)
    text = render_dossier(made) + encode_dossier(made)
    frame = approved.world.consignments
    columns = ["consignment_id", *(f"{side}_{what}" for side in ("sender", "consignee") for what in PERSONAL)]
    values = {value for column in columns for value in frame[column].dropna() if len(value) >= 8}
    assert len(values) > 1000
    words = set(re.findall(r"[^<>\"\n]+", text))
    assert values & words == set()
    assert [value for value in sorted(values)[:3000] if value in text] == []


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
    assert by_key["metrics"]["to_be_filled"] is None
    assert by_key["security"]["known"][0]["rows"] == [list(SETTING)]


def test_an_altered_bundle_gets_no_dossier(approved: Approved) -> None:
    tags = {**approved.version.tags, "bundle_sha256": "0" * 64}
    with pytest.raises(BundleRefused, match="not the one that was registered"):
        gather_dossier_evidence(approved.registry, replace(approved.version, tags=tags), APPROVERS)


def test_the_page_is_written_with_its_json_or_not_at_all(unknown: DossierEvidence, tmp_path: Path) -> None:
    made = build_dossier(unknown, DAY)
    with pytest.raises(FileFault, match="absent"):
        write_dossier(made, tmp_path / "absent" / "dossier.html")
    assert list(tmp_path.iterdir()) == []
    page, data = write_dossier(made, tmp_path / "dossier.html")
    assert page.read_text() == render_dossier(made)
    assert data == tmp_path / "dossier.json"
    assert sorted(tmp_path.iterdir()) == [page, data]
