"""What Prometheus is told; and the dashboard and the rules of alerts ask for nothing else, and leave nothing out."""

import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from prometheus_client.parser import text_string_to_metric_families
from support.databases import state_environment
from support.examples import make_consignment, make_outcome
from support.serving_examples import Client

from npsrisk import main

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
NAME = re.compile(r"\b(?:npsrisk|process)_[a-z_]+\b")
LABEL = re.compile(r"(?:by|ignoring|on) \(([^)]*)\)|\{([^}]*)\}")
OF_PROMETHEUS = {"le", "instance", "job"}
NOT_SHOWN: set[str] = {
    "process_virtual_memory_bytes", "process_start_time_seconds", "process_open_fds", "process_max_fds",
}  # fmt: skip


@pytest.fixture
def told(client: Client) -> dict[str, set[str]]:
    """Each series that is told after some calls, with its labels."""
    client.post("/v1/scores", make_consignment())
    client.post("/v1/scores", {"consignments": [make_consignment(), {}]})
    client.post("/v1/scores", {})
    client.post("/v1/outcomes", make_outcome())
    client.post("/v1/outcomes", make_outcome(result="clear", substance="mephedrone"))
    client.get("/metrics")
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        found[family.name] = set()
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
            found[family.name] |= set(sample.labels)
    return found


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEPLOY / "grafana.json").read_text(encoding="utf-8"))
    return found


def asked_by_the_dashboard() -> list[str]:
    return [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]


def rules() -> list[dict[str, Any]]:
    text = (DEPLOY / "alerts.yml").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = yaml.safe_load(text)["groups"][0]["rules"]
    return found


def labels_in(expression: str) -> set[str]:
    found = set()
    for listed, matched in LABEL.findall(expression):
        names = listed.split(",") if listed else re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matched)
        found |= {name.strip() for name in names}
    return found - OF_PROMETHEUS - {""}


@pytest.mark.parametrize("of", ["dashboard", "rules"])
def test_every_series_and_label_that_is_asked_for_is_told(told: dict[str, set[str]], of: str) -> None:
    asked = asked_by_the_dashboard() if of == "dashboard" else [rule["expr"] for rule in rules()]
    assert len(asked) > 15
    for expression in asked:
        names = set(NAME.findall(expression))
        assert names or "up{" in expression
        assert names <= told.keys(), expression
        known = set().union(*(told[name] for name in names))
        assert labels_in(expression) <= known, expression
        assert all(
            expression.count(opening) == expression.count(closing) for opening, closing in ("()", "{}", "[]")
        )


def test_every_series_that_is_told_is_on_the_dashboard_or_in_an_alert(told: dict[str, set[str]]) -> None:
    asked = " ".join([*asked_by_the_dashboard(), *(rule["expr"] for rule in rules())])
    named = set(NAME.findall(asked))
    families = {re.sub(r"_(total|bucket|count|sum|created)$", "", name) for name in told}
    shown = {re.sub(r"_(total|bucket|count|sum|created)$", "", name) for name in named}
    assert families - shown - NOT_SHOWN == set()


def test_the_dashboard_shows_what_the_alerts_of_a_standby_ask_for() -> None:
    shown = set(NAME.findall(" ".join(asked_by_the_dashboard())))
    asked = set(
        NAME.findall(" ".join(rule["expr"] for rule in rules() if "tandby" in rule["annotations"]["summary"]))
    )
    assert asked == {"npsrisk_active", "npsrisk_standby_usable"}
    assert asked <= shown


def test_annotations_ask_for_series_that_are_told(told: dict[str, set[str]]) -> None:
    for each in dashboard()["annotations"]["list"]:
        assert set(NAME.findall(each["expr"])) <= told.keys()


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not taken & cells
        taken |= cells
    numbers = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_every_alert_says_what_to_do_once() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    assert all(rule["annotations"]["summary"] for rule in rules())
    assert {rule["labels"]["severity"] for rule in rules()} == {"critical", "warning"}
    for label in {
        name for rule in rules() for name in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])
    }:
        assert any(label in labels_in(rule["expr"]) for rule in rules())


def test_stages_scores_and_the_age_of_the_model_are_told(client: Client) -> None:
    client.post("/v1/scores", make_consignment())
    client.post("/v1/scores", {})
    text = client.get("/metrics").text
    for stage in ("read", "features", "score", "log"):
        assert f'npsrisk_stage_seconds_count{{stage="{stage}"}} 1.0' in text
    assert 'npsrisk_rejected_records_total{call="scores",kind="missing_field"} 1.0' in text
    assert "npsrisk_score_count 1.0" in text
    assert "npsrisk_model_as_of_timestamp_seconds 1.7119296e+09" in text
    assert "npsrisk_log_lag_seconds 0.0" in text


def test_what_an_operator_is_called_for_is_told(client: Client, tmp_path: Path) -> None:
    def measure(name: str) -> float:
        lines = client.get("/metrics").text.splitlines()
        return float(next(line for line in lines if line.startswith(f"npsrisk_{name} ")).split()[1])

    begun = time.time() - 1
    assert measure("approvers_changed_timestamp_seconds") > begun - 3600
    (tmp_path / "approvers.toml").touch()
    assert measure("approvers_changed_timestamp_seconds") > begun
    assert [measure(f"{verb}_timestamp_seconds") for verb in ("backup", "verify_log", "parity")] == [0, 0, 0]
    for words in (["backup", str(tmp_path / "copy")], ["verify-log"], ["parity"]):
        done = CliRunner().invoke(main, words, env=state_environment(tmp_path))
        assert done.exit_code == 0, done.output
    for verb in ("backup", "verify_log", "parity"):
        assert measure(f"{verb}_timestamp_seconds") > begun
    assert measure("certificate_end_timestamp_seconds") == 0
    client.service.get_certificate_end = lambda: datetime(2024, 3, 1, tzinfo=UTC)
    warned = measure("warnings")
    assert measure("certificate_end_timestamp_seconds") == datetime(2024, 3, 1, tzinfo=UTC).timestamp()
    assert "the TLS certificate ends at 2024-03-01" in client.get("/health/ready").text
    client.service.get_certificate_end = lambda: None
    assert measure("warnings") == warned - 1
    assert (
        client.post("/v1/scores", b"<nothing/>", headers={"content-type": "application/xml"}).status_code
        == 422
    )
    assert measure("unscored_messages_total") == 1
