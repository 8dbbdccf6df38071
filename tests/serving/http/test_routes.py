"""Outcomes, alerts and cancellations come in once, however often they are sent; what is known goes out."""

from functools import partial
from typing import Any

from support.examples import day, make_consignment, make_outcome
from support.serving_examples import Client, bear, describe_key
from support.site import Site

from consignments.records import Alert
from serving.http.app import list_routes
from serving.http.openapi import build_policy

NPS = "history.sender.nps_ever"
INSPECTED = "history.sender.inspections_ever"
ARRIVED = "history.sender.arrivals_7d"


def test_what_was_found_is_seen_by_the_next_consignment_until_it_is_corrected(client: Client) -> None:
    assert client.compute_features("RB1")[NPS] == 0
    found = [make_outcome(name, result="nps", recorded_at=day(11)) for name in ("RB1", "RB2")]
    first, again = (client.send("/v1/outcomes", found[0]) for _ in range(2))
    assert (first["repeated"], again["repeated"]) == (False, True)
    assert again["recorded_at"] == first["recorded_at"] == "2024-03-24T09:00:00Z", "ours to set"
    assert client.service.log.last_sequence == 2
    client.send("/v1/outcomes", found[1])  # before its consignment
    assert client.compute_features("RB2")[NPS] == 1
    assert client.compute_features("RB3")[NPS] == 2
    client.send("/v1/outcomes", make_outcome("RB2", result="clear", known_at=day(12)))
    seen = client.compute_features("RB4")
    assert (seen[NPS], seen[INSPECTED]) == (1, 2)


def test_of_a_list_the_good_ones_are_taken_and_the_bad_ones_named(client: Client) -> None:
    bad = {"consignment_id": "RB2"}, make_outcome("RB3", known_at=None)
    outcomes = [make_outcome("RB1"), *bad, make_outcome("RB4")]
    two = {"consignment_id": "RB2", "channel": "postal", "pieces": "two"}
    scores = [two, make_consignment("RB1"), {"channel": "postal"}, 7, make_consignment("RB3")]
    for path, call, rows, good, bad in (
        ("outcomes", "outcomes", outcomes, ["RB1", "RB4"], ["1/selected_by", "2/known_at"]),
        ("scores", "consignments", scores, ["RB1", "RB3"], ["0/pieces", "2/consignment_id", "3"]),
    ):
        told = client.send(f"/v1/{path}", {call: rows})
        assert [each.get("id") or each["consignment_id"] for each in told[path]] == good
        assert [each["pointer"] for each in told["errors"]] == [f"#/{call}/{each}" for each in bad]
        assert [each["index"] for each in told["errors"]] == [int(each.partition("/")[0]) for each in bad]


def test_an_alert_is_matched_from_then_on_until_another_takes_its_place(client: Client) -> None:
    goods = {"description": "nitazene aaaaaaaaaaaaaaaaaaaaaaaaaaaa!"}
    assert client.compute_features("RB1", **goods)["alerts.matching"] == 0
    alert = Alert("A1", day(-1), sender_name="ORCHID TRADING")
    assert [client.send("/v1/alerts", alert)["repeated"] for _ in range(2)] == [False, True]
    assert client.compute_features("RB2", **goods)["alerts.matching"] == 1
    others: list[tuple[dict[str, Any], int]] = [
        ({"expires_at": day(-0.5), "sender_name": "Orchid Trading"}, 0),
        ({"description_pattern": "(a+)+$"}, 0),  # a pattern is words, and no regular expression
        ({"description_pattern": "ni*"}, 1),
    ]
    for place, (fields, matching) in enumerate(others):
        client.send("/v1/alerts", Alert("A1", day(-1), **fields))
        assert client.compute_features(f"RC{place}", **goods)["alerts.matching"] == matching, fields


def test_a_cancelled_consignment_no_longer_counts_until_it_is_announced_again(client: Client) -> None:
    cancel = {"consignment_id": "RB1", "cancelled_at": day(1)}
    assert client.post("/v1/cancellations", cancel).status_code == 404
    (error,) = client.send("/v1/cancellations", {"cancellations": [cancel]})["errors"]
    assert error["pointer"] == "#/cancellations/0/consignment_id"
    client.score("RB1")
    later = cancel | {"cancelled_at": day(2)}
    first, same, other = (client.send("/v1/cancellations", each) for each in (cancel, cancel, later))
    assert [each["repeated"] for each in (first, same, other)] == [False, True, True]
    (warning,) = other["warnings"]
    assert (warning["kind"], "2024-03-05" in warning["detail"]) == ("other_time", True)
    assert "warnings" not in same
    assert client.service.log.last_sequence == 2
    assert client.compute_features("RB2")[ARRIVED] == 0
    client.score("RB1", description="socks")
    assert client.compute_features("RB3")[ARRIVED] == 2
    assert client.send("/v1/cancellations", cancel)["repeated"] is False
    early, late = (client.score("RB1", description="socks", issued_at=day(each)) for each in (0.5, 1.5))
    assert [(each["repeated"], each["cancelled"]) for each in (early, late)] == [(True, True), (False, False)]


def test_a_doubtful_outcome_is_recorded_with_a_warning_and_nothing_personal_told(client: Client) -> None:
    name, final = "172-12345675/HAWB 7", {"inspected_at": day(6), "known_at": day(9)}
    early = {"inspected_at": day(1), "selected_at": day(1), "known_at": day(7)}
    for text in ("socks", "shoes"):
        client.score(name, description=text, received_at=day(5))
    sent: list[tuple[dict[str, Any], list[str]]] = [
        (final | early | {"result": "nps"}, ["before_receipt"]),
        (final | {"result": "nps"}, []),
        (final | {"known_at": day(8)}, ["not_latest"]),
        (final | {"known_at": day(8)}, ["not_latest"]),
        (final, []),
        (final | {"substance": "mephedrone"}, ["contradictory"]),
    ]
    for fields, kinds in sent:
        receipt = client.send("/v1/outcomes", make_outcome(name, **fields))
        assert [each["kind"] for each in receipt.get("warnings", ())] == kinds, fields
    counted = 'npsrisk_doubtful_records_total{call="outcomes",kind="before_receipt"}'
    assert counted in client.get("/metrics").text
    client.send("/v1/cancellations", {"consignment_id": name, "cancelled_at": day(20)})
    told = client.read(f"/v1/consignments/{name}")
    assert [each["asked_by"] for each in told["decisions"]] == ["local"] * 2
    assert [each["recorded_by"] for each in told["outcomes"]] == ["local"] * 5
    assert told["outcomes"][-1]["substance"] == "mephedrone"
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
    score = shared_client.score("RB-reasons", "?reasons=10", description="research chemical powder")
    assert {reason["code"] for reason in score["reasons"]} <= {*codes, "many_small"}
    (spoken,) = [each for each in codes["route"]["features"] if each["name"] == "history.route.arrivals_7d"]
    assert (spoken["fact"], spoken["unit"]) == ("route_activity", "count")
    assert spoken["texts"]["one"] == "1 consignment on this route in the last 7 days"


def test_answers_have_security_headers_and_the_page_lists_every_call(shared_client: Client) -> None:
    for path in ("/", "/health/live", "/nowhere", "/v1/model"):
        headers = shared_client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"].startswith("default-src 'none'")
    response = shared_client.get("/interface")
    assert response.headers["content-type"].startswith("text/html")
    assert response.headers["content-security-policy"] == build_policy()[1].decode()
    routes = list_routes(shared_client.service, shared_client.app.door)
    paths = {path.replace(":path", "") for _, path, _, _ in routes} - {"/interface"}
    assert [path for path in sorted(paths) if path not in response.text] == []
    assert [bad for bad in ("<script", "src=") if bad in response.text] == []


def test_a_key_opens_its_calls_and_stands_in_the_log(site: Site) -> None:
    scopes = {"scoring": "score", "lab": "outcome read", "prometheus": "metrics", "partner": "alert"}
    keys = site.folder / "keys.toml"
    keys.write_text("".join(describe_key(name, *each.split()) for name, each in scopes.items()))
    asked: list[tuple[str, Any, dict[str, int]]] = [
        ("/v1/scores", make_consignment("RB1"), {"": 401, "x": 401, "lab": 403, "scoring": 200}),
        ("/v1/outcomes", make_outcome("RB1"), {"": 401, "scoring": 403, "lab": 200}),
        ("/metrics", None, {"": 401, "scoring": 403, "lab": 403, "prometheus": 200}),
        ("/v1/decisions", None, {"prometheus": 403}),
        ("/v1/alerts", Alert("A1", day(0), sender_name="Sender 1"), {"lab": 403, "partner": 200}),
        ("/health/live", None, {"": 200}),
        ("/interface", None, {"": 200}),
    ]
    with site.serve(NPSRISK_API_KEYS_FILE=str(keys)) as client:
        for path, body, expected in asked:
            for key, status in expected.items():
                headers = bear(key, host="risk.example")
                if not key:
                    del headers["authorization"]
                ask = client.get if body is None else partial(client.post, body=body)
                call = ask(path, headers=headers)
                assert call.status_code == status, (path, key)
                if status == 403:
                    assert "lacks the scope" in call.json()["detail"]
        assert [event.asked_by for event in client.service.log.read_events()] == ["scoring", "lab", "partner"]
