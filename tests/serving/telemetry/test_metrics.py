"""What Prometheus is told; and the dashboard and the rules of alerts ask for nothing else, and leave nothing out."""

import json
import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from support.examples import make_consignment, make_outcome
from support.serving_examples import Client, publish, serving, settings_in
from support.site import Site

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
NAME = re.compile(r"\b(?:npsrisk|process)_[a-z_]+\b")
LABEL = re.compile(r"(?:by|ignoring|on) \(([^)]*)\)|\{([^}]*)\}")
OF_PROMETHEUS = {"le", "instance", "job"}
NOT_SHOWN: set[str] = {
    "process_virtual_memory_bytes", "process_start_time_seconds", "process_open_fds", "process_max_fds",
}  # fmt: skip


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> dict[str, set[str]]:
    """Each series that is told after some calls, with its labels."""
    with Site(tmp_path_factory.mktemp("metrics"), bundle).serve() as client:
        client.score("RB1")
        client.send("/v1/scores", {"consignments": [make_consignment(), {}]})
        client.post("/v1/scores", {})
        client.send("/v1/outcomes", make_outcome())
        client.send("/v1/outcomes", make_outcome(result="clear", substance="mephedrone"))
        client.service.metrics.count("excess_connections", "address")
        client.get("/metrics")
        text = client.get("/metrics").text
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        found[family.name] = set()
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
            found[family.name] |= set(sample.labels)
    return found


def dashboard() -> dict[str, Any]:
    return json.loads((DEPLOY / "grafana.json").read_text(encoding="utf-8"))


def asked_by_the_dashboard() -> list[str]:
    return [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]


def rules() -> list[dict[str, Any]]:
    text = (DEPLOY / "alerts.yml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["groups"][0]["rules"]


def labels_in(expression: str) -> set[str]:
    found = set()
    for listed, matched in LABEL.findall(expression):
        names = listed.split(",") if listed else re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matched)
        found |= {name.strip() for name in names}
    return found - OF_PROMETHEUS - {""}


@pytest.mark.parametrize("of", ["dashboard", "rules"])
def test_every_series_and_label_that_is_asked_for_is_told(told: dict[str, set[str]], of: str) -> None:
    asked = asked_by_the_dashboard() if of == "dashboard" else [rule["expr"] for rule in rules()]
    asked += [each["expr"] for each in dashboard()["annotations"]["list"]]
    assert len(asked) > 15
    for expression in asked:
        names = set(NAME.findall(expression))
        assert names or "up{" in expression
        assert names <= told.keys(), expression
        assert labels_in(expression) <= set().union(*(told[name] for name in names)), expression
        assert all(expression.count(pair[0]) == expression.count(pair[1]) for pair in ("()", "{}", "[]"))


def test_every_series_that_is_told_is_on_the_dashboard_or_in_an_alert(told: dict[str, set[str]]) -> None:
    def list_families(names: Iterable[str]) -> set[str]:
        return {re.sub(r"_(total|bucket|count|sum|created)$", "", name) for name in names}

    shown = set(NAME.findall(" ".join(asked_by_the_dashboard())))
    asked = set(NAME.findall(" ".join(rule["expr"] for rule in rules())))
    assert list_families(told) - list_families(shown | asked) - NOT_SHOWN == set()
    standby = [rule["expr"] for rule in rules() if "tandby" in rule["annotations"]["summary"]]
    assert {"npsrisk_active", "npsrisk_standby_usable"} == set(NAME.findall(" ".join(standby))) <= shown


def test_every_alert_says_what_to_do_once_and_panels_do_not_overlap() -> None:
    names, panels = [rule["alert"] for rule in rules()], dashboard()["panels"]
    assert len(set(names)) == len(names)
    assert {rule["labels"]["severity"] for rule in rules()} == {"critical", "warning"}
    for rule in rules():
        used = re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])
        assert rule["annotations"]["summary"]
        assert all(any(label in labels_in(each["expr"]) for each in rules()) for label in used)
    places = [panel["gridPos"] for panel in panels]
    cells = [(at["x"] + x, at["y"] + y) for at in places for x in range(at["w"]) for y in range(at["h"])]
    assert (len(set(cells)), max(x for x, _ in cells) < 24) == (len(cells), True)
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_answers_stages_scores_and_the_age_of_the_model_are_told(client: Client) -> None:
    for _ in range(2):
        client.score("RB1")
    client.post("/v1/scores", {})
    text = client.get("/metrics").text
    for line in (
        *(f'stage_seconds_count{{stage="{stage}"}} 1.0' for stage in ("features", "score", "log")),
        'answers_total{call="scores",status="200"} 2.0',
        'answers_total{call="scores",status="422"} 1.0',
        'rejected_records_total{call="scores",kind="missing_field"} 1.0',
        "repeats_total 1.0",
        "score_count 1.0",
        "model_as_of_timestamp_seconds 1.7119296e+09",
        "log_lag_seconds 0.0",
        "log_sequence 1.0",
        "log_usable 1.0",
    ):
        assert f"npsrisk_{line}" in text, line


def test_what_an_operator_is_called_for_is_told(site: Site) -> None:
    verbs = {"backup": [str(site.folder / "copy")], "verify-log": [], "parity": []}
    with site.serve() as client:

        def measure(name: str) -> float:
            lines = dict(line.rsplit(" ", 1) for line in client.get("/metrics").text.splitlines())
            return float(lines[f"npsrisk_{name}"])

        begun = time.time() - 1
        assert measure("approvers_changed_timestamp_seconds") > begun - 3600
        (site.folder / "approvers.toml").touch()
        assert measure("approvers_changed_timestamp_seconds") > begun
        (site.folder / "approvers.toml").rename(site.folder / "aside")
        assert measure("approvers_changed_timestamp_seconds") > begun
        (site.folder / "aside").rename(site.folder / "approvers.toml")
        for verb, words in verbs.items():
            name = f"{verb.replace('-', '_')}_timestamp_seconds"
            assert measure(name) == 0
            site.told(verb, *words)
            ended = measure(name)
            (site.folder / "done" / verb).chmod(0o600)
            assert measure(name) == ended > begun
        warned, end = measure("warnings"), datetime(2024, 3, 1, tzinfo=UTC)
        assert measure("certificate_end_timestamp_seconds") == 0
        client.service.get_certificate_end = lambda: end
        assert measure("certificate_end_timestamp_seconds") == end.timestamp()
        assert measure("warnings") == warned + 1
        assert "the TLS certificate ends at 2024-03-01" in client.get("/health/ready").text
        nothing = client.post("/v1/scores", b"<nothing/>", headers={"content-type": "application/xml"})
        assert (nothing.status_code, measure("unscored_messages_total")) == (422, 1)


def test_prometheus_is_told_also_of_a_model_with_other_columns(tmp_path: Path, column_bundle: Path) -> None:
    def assert_told(client: Client, **counts: float) -> None:
        text = client.get("/metrics").text
        for name, count in counts.items():
            series, _, field = name.partition("__")
            label = "column" if series == "unknown_codes" else "field"
            assert f'npsrisk_{series}_total{{{label}="{field}"}} {count}' in text, name

    with serving(settings_in(tmp_path)) as client:
        for number, currency in enumerate(("USD", "eur", "EURO")):
            client.score(f"RB{number}", hs_code=None, currency=currency)
        assert_told(
            client, missing_values__hs_code=3.0, missing_values__description=0.0, implausible_codes__currency=1.0,
            implausible_codes__sender_country=0.0,
        )  # fmt: skip
        publish(tmp_path, column_bundle, "1")
        client.look()
        client.score("RB4", hs_code=None)
        assert_told(client, missing_values__hs_code=4.0, missing_values__tax_rate=1.0)
        assert_told(client, unknown_codes__carrier=1.0)
