"""Outcomes, alerts and cancellations come in once, however often they are sent; what is known goes out."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import Client, bear, describe_key, publish, serving, settings_in

from consignments.records import Alert
from serving.http.app import list_routes
from serving.http.openapi import build_policy

NPS = "history.sender.nps_ever"
INSPECTED = "history.sender.inspections_ever"
ARRIVED = "history.sender.arrivals_7d"


def test_what_was_found_is_seen_by_the_next_consignment_and_a_repeat_changes_nothing(client: Client) -> None:
    assert client.compute_features("RB1")[NPS] == 0
    found = make_outcome("RB1", result="nps", recorded_at=day(11))
    first, again = (client.send("/v1/outcomes", found) for _ in range(2))
    assert (first["repeated"], again["repeated"]) == (False, True)
    assert again["recorded_at"] == first["recorded_at"] == "2024-03-24T09:00:00Z", "ours to set"
    assert client.service.log.last_sequence == 2
    assert client.compute_features("RB2")[NPS] == 1


def test_a_corrected_outcome_takes_the_place_of_one_that_came_before_its_consignment(client: Client) -> None:
    client.send("/v1/outcomes", make_outcome("RB1", result="nps"))
    client.score("RB1")
    assert client.compute_features("RB2")[NPS] == 1
    client.send("/v1/outcomes", make_outcome("RB1", result="clear", known_at=day(12)))
    seen = client.compute_features("RB3")
    assert (seen[NPS], seen[INSPECTED]) == (0, 1)


MISSED = {"status": "missed", "result": None, "known_at": None, "inspected_at": "2999-01-01T00:00:00Z"}
ALERT = {"alert_id": "A1", "issued_at": day(-1)}


@pytest.mark.parametrize(
    ("path", "changes", "field", "kind"),
    [
        ("outcomes", {"known_at": "2999-01-01T00:00:00Z"}, "known_at", "in_future"),
        ("outcomes", MISSED, "inspected_at", "in_future"),
        ("outcomes", {"known_at": None}, "known_at", "inconsistent"),
        ("outcomes", {"status": "missed"}, "result", "inconsistent"),
        ("outcomes", {"known_at": "2024-03-05T08:00:00Z"}, "known_at", "inconsistent"),
        ("outcomes", {"substance_familly": "cathinone"}, "substance_familly", "unknown_field"),
        ("outcomes", {"selection_probability": 0}, "selection_probability", "bad_value"),
        ("alerts", {}, "description_pattern", "no_criterion"),
        ("alerts", {"description_pattern": "*"}, "description_pattern", "no_criterion"),
        ("alerts", {"text": "newsletter", "substance_family": "nitazene"}, "description_pattern", "no_criterion"),
        ("alerts", {"sender_name": "***", "hs_code": "30", "departure_country": "CN"}, "sender_name", "no_criterion"),
    ],
)  # fmt: skip
def test_a_record_that_cannot_be_is_refused(
    shared_client: Client, path: str, changes: dict[str, Any], field: str, kind: str
) -> None:
    before = shared_client.service.log.last_sequence
    whole = msgspec.to_builtins(make_outcome("RB1")) if path == "outcomes" else ALERT
    response = shared_client.post(f"/v1/{path}", whole | changes)
    assert response.status_code == 422
    error = response.json()["errors"][0]
    assert (error["pointer"], error["kind"]) == (f"#/{field}", kind)
    assert shared_client.service.log.last_sequence == before


def test_of_a_list_the_good_ones_are_taken_and_the_bad_ones_named(client: Client) -> None:
    rows = [
        make_outcome("RB1"), {"consignment_id": "RB2"}, make_outcome("RB3", known_at=None), make_outcome("RB4"),
    ]  # fmt: skip
    told = client.send("/v1/outcomes", {"outcomes": rows})
    assert [receipt["id"] for receipt in told["outcomes"]] == ["RB1", "RB4"]
    assert [(error["index"], error["pointer"]) for error in told["errors"]] == [
        (1, "#/outcomes/1/selected_by"),
        (2, "#/outcomes/2/known_at"),
    ]


def test_an_alert_is_matched_from_then_on_until_another_takes_its_place(client: Client) -> None:
    assert client.compute_features("RB1")["alerts.matching"] == 0
    alert = Alert("A1", day(-1), sender_name="ORCHID TRADING")
    assert [client.send("/v1/alerts", alert)["repeated"] for _ in range(2)] == [False, True]
    assert client.compute_features("RB2")["alerts.matching"] == 1
    client.send("/v1/alerts", Alert("A1", day(-1), expires_at=day(-0.5), sender_name="Orchid Trading"))
    assert client.compute_features("RB3")["alerts.matching"] == 0


def test_a_pattern_is_words_and_no_regular_expression(client: Client) -> None:
    for name, pattern, matching in (("RB1", "(a+)+$", 0), ("RB2", "ni*", 1)):
        client.send("/v1/alerts", Alert("A1", day(-1), description_pattern=pattern))
        seen = client.compute_features(name, description="nitazene aaaaaaaaaaaaaaaaaaaaaaaaaaaa!")
        assert seen["alerts.matching"] == matching


def test_a_cancelled_consignment_no_longer_counts_until_it_is_announced_again(client: Client) -> None:
    client.score("RB1")
    cancel = {"consignment_id": "RB1"}
    assert [client.send("/v1/cancellations", cancel)["repeated"] for _ in range(2)] == [False, True]
    assert client.compute_features("RB2")[ARRIVED] == 0
    client.score("RB1", description="socks")
    assert client.compute_features("RB3")[ARRIVED] == 2
    assert client.send("/v1/cancellations", cancel)["repeated"] is False


def test_another_time_of_a_cancellation_is_not_recorded_and_the_receipt_says_so(client: Client) -> None:
    client.score("RB1")
    _, same, other = (
        client.send("/v1/cancellations", {"consignment_id": "RB1", "cancelled_at": day(when)})
        for when in (1, 1, 2)
    )
    assert (same["repeated"], "warnings" in same) == (True, False)
    (warning,) = other["warnings"]
    assert (other["repeated"], warning["kind"]) == (True, "other_time")
    assert "2024-03-05" in warning["detail"]
    assert client.service.log.last_sequence == 2


def test_a_doubtful_outcome_is_recorded_with_a_warning(client: Client) -> None:
    client.score("RB1", received_at=day(5))
    early = make_outcome("RB1", result="nps", inspected_at=day(1), selected_at=day(1))
    doubtful = make_outcome("RB1", result="clear", substance="mephedrone", known_at=day(9))
    kinds = [
        [each["kind"] for each in client.send("/v1/outcomes", sent)["warnings"]] for sent in (early, doubtful)
    ]
    assert kinds[0] == ["before_receipt"]
    assert "contradictory" in kinds[1]
    counted = 'npsrisk_doubtful_records_total{call="outcomes",kind="before_receipt"}'
    assert counted in client.get("/metrics").text


def test_an_outcome_older_than_the_valid_one_is_recorded_with_a_warning(client: Client) -> None:
    client.score("RB1")
    newest = make_outcome("RB1", result="nps", known_at=day(9))
    older = make_outcome("RB1", result="clear", known_at=day(8))
    tie = make_outcome("RB1", result="clear", known_at=day(9))
    told = [client.send("/v1/outcomes", each).get("warnings", ()) for each in (newest, older, older, tie)]
    assert [[each["kind"] for each in one] for one in told] == [[], ["not_latest"], ["not_latest"], []]
    recorded = client.read("/v1/consignments/RB1")["outcomes"]
    assert [each["recorded_by"] for each in recorded] == ["local"] * 3


def test_an_unknown_consignment_cannot_be_cancelled(shared_client: Client) -> None:
    assert shared_client.post("/v1/cancellations", {"consignment_id": "RB0"}).status_code == 404
    told = shared_client.send("/v1/cancellations", {"cancellations": [{"consignment_id": "RB0"}]})
    assert told["errors"][0]["pointer"] == "#/cancellations/0/consignment_id"


def test_everything_recorded_for_a_consignment_is_told_and_nothing_personal(client: Client) -> None:
    name = "172-12345675/HAWB 7"
    for text in ("socks", "shoes"):
        client.score(name, description=text)
    client.send("/v1/outcomes", make_outcome(name, result="nps", substance="mephedrone"))
    client.send("/v1/cancellations", {"consignment_id": name, "cancelled_at": day(20)})
    told = client.read(f"/v1/consignments/{name}")
    assert [decision["asked_by"] for decision in told["decisions"]] == ["local", "local"]
    assert told["outcomes"][0]["substance"] == "mephedrone"
    assert told["cancellations"] == ["2024-03-24T09:00:00Z"]
    assert "Kim" not in str(told)
    assert client.get("/v1/consignments/RB9").status_code == 404


def test_the_model_is_told(shared_client: Client) -> None:
    told = shared_client.read("/v1/model")
    assert (told["name"], told["version"], told["target"]) == ("nps-risk", "1", "nps")
    assert told["approved_by"] == "a reviewer"
    assert told["metrics"]["recall_at_1pct"] == {"value": 0.453, "low": 0.38, "high": 0.53}
    missing = told["metrics"]["precision_at_1pct"]
    assert missing == {"value": None, "reason": "too few results: 4 known, about 60 more needed"}
    assert (told["known_finds"], told["found"]) == (41, {"1pct": 20, "capacity": 12})
    assert told["challenger"] is None


def test_all_themes_of_reasons_are_listed_with_their_texts(shared_client: Client) -> None:
    told = shared_client.read("/v1/reasons")
    assert told["model"] == {"name": "nps-risk", "version": "1"}
    codes = {each["code"]: each for each in told["codes"]}
    given = shared_client.score("RB-reasons", "?reasons=10", description="research chemical powder")[
        "reasons"
    ]
    assert {reason["code"] for reason in given} <= {*codes, "many_small"}
    (spoken,) = [each for each in codes["route"]["features"] if each["name"] == "history.route.arrivals_7d"]
    assert (spoken["fact"], spoken["unit"]) == ("route_activity", "count")
    assert spoken["texts"]["one"] == "1 consignment on {route} in the last 7 days"


def test_metrics_count_what_was_answered(client: Client) -> None:
    client.score("RB1")
    client.score("RB1")
    client.post("/v1/scores", {})
    text = client.get("/metrics").text
    for line in (
        'npsrisk_answers_total{call="scores",status="200"} 2.0',
        'npsrisk_answers_total{call="scores",status="422"} 1.0',
        "npsrisk_repeats_total 1.0",
        "npsrisk_log_sequence 1.0",
        "npsrisk_log_usable 1.0",
    ):
        assert line in text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere", 404), ("GET", "/v1/scores", 405), ("POST", "/v1/model", 405)],
)
def test_what_there_is_not_is_a_problem_too(
    shared_client: Client, method: str, path: str, status: int
) -> None:
    response = shared_client.get(path) if method == "GET" else shared_client.post(path, {})
    assert (response.status_code, response.json()["status"]) == (status, status)
    assert response.headers["content-type"] == "application/problem+json"


def test_every_answer_carries_the_security_headers(shared_client: Client) -> None:
    for path in ("/", "/health/live", "/nowhere", "/v1/model"):
        headers = shared_client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"].startswith("default-src 'none'")


def test_the_page_lists_every_call_and_loads_nothing_from_elsewhere(shared_client: Client) -> None:
    response = shared_client.get("/interface")
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["content-security-policy"] == build_policy()[1].decode()
    routes = list_routes(shared_client.service, shared_client.app.door)
    for path in {path for _, path, _, _ in routes} - {"/interface"}:
        assert path.replace(":path", "") in response.text
    assert "<script" not in response.text
    assert "src=" not in response.text


def test_a_key_opens_its_calls_and_stands_in_the_log(tmp_path: Path, bundle: Path) -> None:
    scopes = {
        "scoring": ["score"],
        "lab": ["outcome", "read"],
        "prometheus": ["metrics"],
        "partner": ["alert"],
    }
    (tmp_path / "keys.toml").write_text("".join(describe_key(name, *each) for name, each in scopes.items()))
    publish(tmp_path, bundle, "1")
    alert = Alert("A1", day(0), sender_name="Sender 1")
    asked: list[tuple[str, Any, dict[str, int]]] = [
        ("/v1/scores", make_consignment("RB1"), {"": 401, "x": 401, "lab": 403, "scoring": 200}),
        ("/v1/outcomes", make_outcome("RB1"), {"": 401, "scoring": 403, "lab": 200}),
        ("/metrics", None, {"": 401, "scoring": 403, "lab": 403, "prometheus": 200}),
        ("/v1/decisions", None, {"prometheus": 403}),
        ("/v1/alerts", alert, {"lab": 403, "partner": 200}),
        ("/health/live", None, {"": 200}),
        ("/interface", None, {"": 200}),
    ]
    with serving(settings_in(tmp_path, NPSRISK_API_KEYS_FILE=str(tmp_path / "keys.toml"))) as client:
        for path, body, expected in asked:
            for key, status in expected.items():
                headers = bear(key, host="risk.example")
                if not key:
                    del headers["authorization"]
                call = (
                    client.get(path, headers=headers)
                    if body is None
                    else client.post(path, body, headers=headers)
                )
                assert call.status_code == status, (path, key)
        refused = client.post("/v1/alerts", alert, headers=bear("lab", host="risk.example"))
        assert "lacks the scope 'alert'" in refused.json()["detail"]
        assert [event.asked_by for event in client.service.log.read_events()] == ["scoring", "lab", "partner"]
