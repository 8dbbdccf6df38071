"""Outcomes, alerts and cancellations come in once, however often they are sent; what is known goes out."""

from typing import Any

import msgspec
import pytest
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import Client, serving, settings_in

from consignments.records import Alert
from serving.http.app import list_routes
from serving.http.openapi import build_policy


def score(client: Client, name: str, **changes: Any) -> dict[str, Any]:
    response = client.post("/v1/scores?features=true", make_consignment(name, **changes))
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()["features"]
    return found


def tell(client: Client, path: str, body: Any) -> dict[str, Any]:
    response = client.post(path, body)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_what_was_found_is_seen_by_the_next_consignment(client: Client) -> None:
    assert score(client, "RB1")["history.sender.nps_ever"] == 0
    tell(client, "/v1/outcomes", make_outcome("RB1", result="nps"))
    assert score(client, "RB2")["history.sender.nps_ever"] == 1


def test_a_repeated_outcome_changes_nothing(client: Client) -> None:
    score(client, "RB1")
    first = tell(client, "/v1/outcomes", make_outcome("RB1", result="nps"))
    again = tell(client, "/v1/outcomes", make_outcome("RB1", result="nps"))
    assert (first["repeated"], again["repeated"]) == (False, True)
    assert again["recorded_at"] == first["recorded_at"]
    assert client.service.log.last_sequence == 2
    assert score(client, "RB2")["history.sender.nps_ever"] == 1


def test_a_corrected_outcome_takes_the_place_of_the_earlier_one(client: Client) -> None:
    score(client, "RB1")
    tell(client, "/v1/outcomes", make_outcome("RB1", result="nps"))
    tell(client, "/v1/outcomes", make_outcome("RB1", result="clear", known_at=day(12)))
    seen = score(client, "RB2")
    assert (seen["history.sender.nps_ever"], seen["history.sender.inspections_ever"]) == (0, 1)


def test_an_outcome_may_come_before_its_consignment(client: Client) -> None:
    tell(client, "/v1/outcomes", make_outcome("RB1", result="nps"))
    score(client, "RB1")
    assert score(client, "RB2")["history.sender.nps_ever"] == 1


def test_recorded_at_is_ours_to_set(client: Client) -> None:
    told = tell(client, "/v1/outcomes", make_outcome("RB1", recorded_at=day(11)))
    assert told["recorded_at"] == "2024-03-24T09:00:00Z"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"known_at": "2999-01-01T00:00:00Z"}, "known_at"),
        (
            {"status": "missed", "result": None, "known_at": None, "inspected_at": "2999-01-01T00:00:00Z"},
            "inspected_at",
        ),
        ({"known_at": None}, "known_at"),
        ({"status": "missed"}, "result"),
        ({"known_at": "2024-03-05T08:00:00Z"}, "known_at"),
        ({"substance_familly": "cathinone"}, "substance_familly"),
        ({"selection_probability": 0}, "selection_probability"),
    ],
)
def test_an_outcome_that_cannot_be_is_refused(client: Client, changes: dict[str, Any], field: str) -> None:
    body = msgspec.to_builtins(make_outcome("RB1")) | changes
    response = client.post("/v1/outcomes", body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["pointer"] == f"#/{field}"
    assert client.service.log.last_sequence == 0


def test_of_a_list_the_good_ones_are_taken_and_the_bad_ones_named(client: Client) -> None:
    rows = [
        make_outcome("RB1"),
        {"consignment_id": "RB2"},
        make_outcome("RB3", known_at=None),
        make_outcome("RB4"),
    ]
    told = tell(client, "/v1/outcomes", {"outcomes": rows})
    assert [receipt["id"] for receipt in told["outcomes"]] == ["RB1", "RB4"]
    assert [(error["index"], error["pointer"]) for error in told["errors"]] == [
        (1, "#/outcomes/1/selected_by"),
        (2, "#/outcomes/2/known_at"),
    ]


def test_an_alert_is_matched_from_then_on(client: Client) -> None:
    assert score(client, "RB1")["alerts.matching"] == 0
    alert = Alert("A1", day(-1), sender_name="ORCHID TRADING")
    told = [tell(client, "/v1/alerts", alert)["repeated"] for _ in range(2)]
    assert told == [False, True]
    assert score(client, "RB2")["alerts.matching"] == 1


@pytest.mark.parametrize(
    "criterion", [{}, {"description_pattern": "*"}, {"text": "newsletter", "substance_family": "nitazene"}]
)
def test_an_alert_that_can_match_nothing_is_refused(client: Client, criterion: dict[str, str]) -> None:
    response = client.post("/v1/alerts", {"alert_id": "A1", "issued_at": day(-1)} | criterion)
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert (error["pointer"], error["kind"]) == ("#/description_pattern", "no_criterion")
    assert client.service.log.last_sequence == 0


def test_an_alert_with_a_criterion_that_cannot_be_compared_is_refused(client: Client) -> None:
    criteria = {"sender_name": "***", "hs_code": "30", "departure_country": "CN"}
    response = client.post("/v1/alerts", {"alert_id": "A1", "issued_at": day(-1)} | criteria)
    assert response.status_code == 422
    (error,) = response.json()["errors"]
    assert (error["pointer"], error["kind"]) == ("#/sender_name", "no_criterion")
    assert client.service.log.last_sequence == 0


@pytest.mark.parametrize("pattern", ["(a+)+$", "ni*"])
def test_a_pattern_is_words_and_no_regular_expression(client: Client, pattern: str) -> None:
    tell(client, "/v1/alerts", Alert("A1", day(-1), description_pattern=pattern))
    seen = score(client, "RB1", description="nitazene aaaaaaaaaaaaaaaaaaaaaaaaaaaa!")["alerts.matching"]
    assert seen == (pattern == "ni*")


def test_a_changed_alert_takes_the_place_of_the_earlier_one(client: Client) -> None:
    tell(client, "/v1/alerts", Alert("A1", day(-1), sender_name="Orchid Trading"))
    tell(client, "/v1/alerts", Alert("A1", day(-1), expires_at=day(-0.5), sender_name="Orchid Trading"))
    assert score(client, "RB1")["alerts.matching"] == 0


def test_a_cancelled_consignment_no_longer_counts(client: Client) -> None:
    score(client, "RB1")
    told = [tell(client, "/v1/cancellations", {"consignment_id": "RB1"})["repeated"] for _ in range(2)]
    assert told == [False, True]
    assert score(client, "RB2")["history.sender.arrivals_7d"] == 0


def test_another_time_of_a_cancellation_is_not_recorded_and_the_receipt_says_so(client: Client) -> None:
    score(client, "RB1")
    tell(client, "/v1/cancellations", {"consignment_id": "RB1", "cancelled_at": day(1)})
    same = tell(client, "/v1/cancellations", {"consignment_id": "RB1", "cancelled_at": day(1)})
    other = tell(client, "/v1/cancellations", {"consignment_id": "RB1", "cancelled_at": day(2)})
    assert (same["repeated"], "warnings" in same) == (True, False)
    (warning,) = other["warnings"]
    assert (other["repeated"], warning["kind"]) == (True, "other_time")
    assert "2024-03-05" in warning["detail"]
    assert client.service.log.last_sequence == 2


def test_an_outcome_that_contradicts_itself_or_its_consignment_is_recorded_with_a_warning(
    client: Client,
) -> None:
    score(client, "RB1", received_at=day(5))
    early = make_outcome("RB1", result="nps", inspected_at=day(1), selected_at=day(1))
    doubtful = make_outcome("RB1", result="clear", substance="mephedrone", known_at=day(9))
    kinds = [
        [each["kind"] for each in tell(client, "/v1/outcomes", sent)["warnings"]]
        for sent in (early, doubtful)
    ]
    assert kinds[0] == ["before_receipt"]
    assert "contradictory" in kinds[1]
    assert (
        'npsrisk_doubtful_records_total{call="outcomes",kind="before_receipt"}' in client.get("/metrics").text
    )


def test_an_outcome_older_than_the_valid_one_is_recorded_with_a_warning(client: Client) -> None:
    score(client, "RB1")
    assert "warnings" not in tell(client, "/v1/outcomes", make_outcome("RB1", result="nps", known_at=day(9)))
    older = make_outcome("RB1", result="clear", known_at=day(8))
    for _ in range(2):
        told = tell(client, "/v1/outcomes", older)
        assert [each["kind"] for each in told["warnings"]] == ["not_latest"]
    tie = make_outcome("RB1", result="clear", known_at=day(9))
    assert "warnings" not in tell(client, "/v1/outcomes", tie)
    assert [each["recorded_by"] for each in client.get("/v1/consignments/RB1").json()["outcomes"]] == [
        "local"
    ] * 3


def test_a_cancelled_consignment_that_is_announced_anew_counts_again(client: Client) -> None:
    score(client, "RB1")
    tell(client, "/v1/cancellations", {"consignment_id": "RB1"})
    score(client, "RB1", description="socks")
    assert score(client, "RB2")["history.sender.arrivals_7d"] == 1
    assert tell(client, "/v1/cancellations", {"consignment_id": "RB1"})["repeated"] is False


def test_an_unknown_consignment_cannot_be_cancelled(client: Client) -> None:
    assert client.post("/v1/cancellations", {"consignment_id": "RB1"}).status_code == 404
    told = tell(client, "/v1/cancellations", {"cancellations": [{"consignment_id": "RB1"}]})
    assert told["errors"][0]["pointer"] == "#/cancellations/0/consignment_id"


def test_everything_recorded_for_a_consignment_is_told_and_nothing_personal(client: Client) -> None:
    name = "172-12345675/HAWB 7"
    for text in ("socks", "shoes"):
        score(client, name, description=text)
    tell(client, "/v1/outcomes", make_outcome(name, result="nps", substance="mephedrone"))
    tell(client, "/v1/cancellations", {"consignment_id": name, "cancelled_at": day(20)})
    response = client.get(f"/v1/consignments/{name}")
    told = response.json()
    assert [decision["asked_by"] for decision in told["decisions"]] == ["local", "local"]
    assert told["outcomes"][0]["substance"] == "mephedrone"
    assert told["cancellations"] == ["2024-03-24T09:00:00Z"]
    assert "Kim" not in response.text
    assert client.get("/v1/consignments/RB9").status_code == 404


def test_the_model_is_told(client: Client) -> None:
    told = client.get("/v1/model").json()
    assert (told["name"], told["version"], told["target"]) == ("nps-risk", "1", "nps")
    assert told["approved_by"] == "a reviewer"
    assert told["metrics"]["recall_at_1pct"] == {"value": 0.453, "low": 0.38, "high": 0.53}
    missing = told["metrics"]["precision_at_1pct"]
    assert missing == {"value": None, "reason": "too few results: 4 known, about 60 more needed"}
    assert (told["known_finds"], told["found"]) == (41, {"1pct": 20, "capacity": 12})
    assert told["challenger"] is None


def test_all_themes_of_reasons_are_listed_with_their_texts(client: Client) -> None:
    told = client.get("/v1/reasons").json()
    assert told["model"] == {"name": "nps-risk", "version": "1"}
    codes = {each["code"]: each for each in told["codes"]}
    risky = make_consignment("RB1", description="research chemical powder")
    given = client.post("/v1/scores?reasons=10", risky).json()["reasons"]
    assert {reason["code"] for reason in given} <= {*codes, "many_small"}
    (spoken,) = [each for each in codes["route"]["features"] if each["name"] == "history.route.arrivals_7d"]
    assert (spoken["fact"], spoken["unit"]) == ("route_activity", "count")
    assert spoken["texts"]["one"] == "1 consignment on {route} in the last 7 days"


def test_metrics_count_what_was_answered(client: Client) -> None:
    score(client, "RB1")
    score(client, "RB1")
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
def test_what_there_is_not_is_a_problem_too(client: Client, method: str, path: str, status: int) -> None:
    response = client.get(path) if method == "GET" else client.post(path, {})
    assert (response.status_code, response.json()["status"]) == (status, status)
    assert response.headers["content-type"] == "application/problem+json"


def test_every_answer_carries_the_security_headers(client: Client) -> None:
    for path in ("/", "/health/live", "/nowhere", "/v1/model"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"].startswith("default-src 'none'")


def test_the_page_lists_every_call_and_loads_nothing_from_elsewhere(client: Client) -> None:
    response = client.get("/interface")
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["content-security-policy"] == build_policy()[1].decode()
    for path in {path for _, path, _, _ in list_routes(client.service, client.app.door)} - {"/interface"}:
        assert path.replace(":path", "").replace("{", "{") in response.text
    assert "<script" not in response.text
    assert "src=" not in response.text


KEYS = """
[[keys]]
name = "scoring"
sha256 = "{scoring}"
scopes = ["score"]
[[keys]]
name = "lab"
sha256 = "{lab}"
scopes = ["outcome", "read"]
[[keys]]
name = "prometheus"
sha256 = "{prometheus}"
scopes = ["metrics"]
[[keys]]
name = "partner"
sha256 = "{partner}"
scopes = ["alert"]
"""


def test_a_key_opens_its_calls_and_stands_in_the_log(tmp_path: Any, bundle: Any) -> None:
    from hashlib import sha256

    from support.serving_examples import publish

    digests = {
        name: sha256(name.encode()).hexdigest() for name in ("scoring", "lab", "prometheus", "partner")
    }
    (tmp_path / "keys.toml").write_text(KEYS.format(**digests))
    publish(tmp_path, bundle, "1")
    with serving(settings_in(tmp_path, NPSRISK_API_KEYS_FILE=str(tmp_path / "keys.toml"))) as client:

        def status(path: str, body: Any, key: str | None) -> int:
            headers = {"content-type": "application/json", "host": "risk.example"}
            headers |= {"authorization": f"Bearer {key}"} if key else {}
            if body is None:
                return client.get(path, headers=headers).status_code
            return client.post(path, body, headers=headers).status_code

        consignment, outcome = make_consignment("RB1"), make_outcome("RB1")
        assert [status("/v1/scores", consignment, key) for key in (None, "x", "lab", "scoring")] == [
            401,
            401,
            403,
            200,
        ]
        assert [status("/v1/outcomes", outcome, key) for key in (None, "scoring", "lab")] == [401, 403, 200]
        assert [status("/metrics", None, key) for key in (None, "scoring", "lab", "prometheus")] == [
            401,
            403,
            403,
            200,
        ]
        assert status("/v1/decisions", None, "prometheus") == 403
        alert = Alert("A1", day(0), sender_name="Sender 1")
        assert [status("/v1/alerts", alert, key) for key in ("lab", "partner")] == [403, 200]
        refused = client.post(
            "/v1/alerts", alert, headers={"authorization": "Bearer lab", "host": "risk.example"}
        )
        assert "lacks the scope 'alert'" in refused.json()["detail"]
        assert [status("/health/live", None, None), status("/interface", None, None)] == [200, 200]
        assert [event.asked_by for event in client.service.log.read_events()] == ["scoring", "lab", "partner"]
