"""Scores over HTTP: each consignment once, what is wrong named, nothing told before it is on disk."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs
from support.databases import execute, stored_bytes
from support.examples import day, make_consignment
from support.messages import HOUSE, MASTER
from support.serving_examples import Client, publish, scored
from support.site import Site

from consignments.records import Consignment, Item, get_fields
from serving.scoring.scorer import Scorer, ScoreRequest, ScoreResult

DRUG = "research chemical powder"
SEEN = "history.sender.arrivals_7d"


def test_an_answer_is_in_the_log_with_our_time_when_it_leaves(client: Client, tmp_path: Path) -> None:
    told = client.send("/v1/scores", {"consignment_id": "RB1", "channel": "postal"})
    named = {"consignment_id", "score", "band", "reasons", "model", "scored_at", "decision_id"}
    assert told.keys() == named | {"repeated", "cancelled", "warnings"}
    assert 0 < told["score"] < 1
    assert told["model"] == {"name": "nps-risk", "version": "1"}
    found = execute(tmp_path, "SELECT sequence, kind, score, band FROM events")
    assert found == [(int(told["decision_id"].rpartition("-")[2]), "decision", told["score"], told["band"])]
    (decision,) = client.read("/v1/consignments/RB1")["decisions"]
    assert decision["received_at"] == decision["scored_at"] == "2024-03-24T09:00:00Z"


def test_the_log_holds_no_personal_value_that_can_be_read(client: Client, tmp_path: Path) -> None:
    personal = {field.name: f"Quixotic {field.name}" for field in get_fields(Consignment) if field.personal}
    client.score("RB123456785GB", **personal, items=(Item(description="socks"),))
    client.send("/v1/scores", {"consignments": [make_consignment("RB2", **personal)]})
    written = stored_bytes(tmp_path)
    assert (b"RB123456785GB" in written, b"uixotic" in written) == (True, False)


def test_the_same_consignment_gets_the_same_answer_and_is_counted_once(client: Client) -> None:
    first = client.score("RB1", description=DRUG)
    for again in ({}, {"received_at": day(5)}):
        assert client.score("RB1", **{"description": DRUG} | again) == first | {"repeated": True}
    listed = {"consignments": [make_consignment("RB1", description=DRUG)] * 2}
    assert client.send("/v1/scores", listed)["scores"] == [first | {"repeated": True}] * 2
    versions = [client.score("RB1", description=text)["decision_id"] for text in ("socks", "shoes", "socks")]
    assert len({first["decision_id"], *versions}) == 4, "also one that returns to an older content"
    assert client.compute_features("RB2")[SEEN] == 1
    client.score("RB1", description="withdrawn", cancelled_at=day(1))
    assert client.compute_features("RB3")[SEEN] == 1


def test_reasons_come_with_high_and_elevated_and_where_they_are_asked_for_also_again(client: Client) -> None:
    for place in range(30):
        client.score(f"S{place}", description="socks")
    due = {"high": 3, "elevated": 3, "routine": 0}
    for told in (client.score("RB1", description=DRUG), client.score("RB2")):
        assert (0 < len(told["reasons"]) <= 3) == bool(due[told["band"]])
    first = client.score("RB3", "?reasons=5&features=true", description=DRUG)
    more = first["reasons"]
    assert 1 <= len(more) <= 5
    assert list(more[0]) == ["code", "text", "value", "usual", "contribution", "direction", "facts"]
    assert list(more[0]["facts"][0]) == ["code", "text", "value", "usual"]
    assert more[0]["text"] == more[0]["facts"][0]["text"]
    assert {reason["direction"] for reason in more} == {"raises"}
    client.score("RB4", "?reasons=0", description=DRUG)
    assert client.score("RB3", "?reasons=5&features=true", description=DRUG) == first | {"repeated": True}
    late = client.score("RB4", "?reasons=1&features=true", description=DRUG)
    assert (late["repeated"], len(late["reasons"]), late["features"][SEEN]) == (True, 1, 33)


def rows_of_a_stream(count: int) -> list[Consignment]:
    """New consignments of few senders with, among them, repeats, amendments, some late, cancelled or of other days."""
    rng = np.random.default_rng(3)
    rows: list[Consignment] = []
    for place in range(count):
        draw = rng.random()
        if rows and draw < 0.15:
            rows.append(rows[rng.integers(len(rows))])
            continue
        name = rows[rng.integers(len(rows))].consignment_id if rows and draw < 0.35 else f"RB{place}"
        moment = day(float(rng.integers(0, 20)) if draw > 0.8 else 10.0)
        changes = {"cancelled_at": moment} if 0.35 < draw < 0.4 else {}
        changes["issued_at"] = day(float(rng.integers(-9, 0)))
        changes["description"] = (DRUG, "socks", f"{DRUG} {place}")[rng.integers(3)]
        changes["sender_name"] = f"Orchid {'abc'[rng.integers(3)]} Ltd"
        rows.append(make_consignment(name, received_at=moment, **changes))
    return rows


def test_lists_and_calls_at_once_are_answered_as_one_after_the_other(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, seen, together = rows_of_a_stream(70), [], list[int]()
    score_batch, path = Scorer.score_batch, "/v1/scores?features=true"

    def note(scorer: Scorer, asked: Sequence[ScoreRequest]) -> list[ScoreResult | Exception]:
        together.append(len(asked))
        return score_batch(scorer, asked)

    monkeypatch.setattr(Scorer, "score_batch", note)
    ways: dict[str, Callable[[Client], list[dict[str, Any]]]] = {
        "one": lambda client: [client.send(path, row) for row in rows],
        "list": lambda client: client.send(path, {"consignments": rows})["scores"],
        "at once": lambda client: [each.json() for each in client.post_at_once(path, rows)],
    }
    for way, ask in ways.items():
        with Site(tmp_path / way, bundle).serve() as client:
            together.clear()
            told = ask(client)
            for each in told:
                each["decision_id"] = each["decision_id"].partition("-")[2]
            state = client.service.active.state
            events = [structs.replace(event, sealed=None) for event in client.service.log.read_events()]
            counted = [part.tobytes() for part in state.history.get_arrays()]
            seen.append((told, events, counted, state.dossiers.days.to_array().tolist()))
            assert (max(together) > 5) == (way != "one")
    assert all(each == seen[0] for each in seen)
    assert {event.kind for event in seen[0][1]} == {"decision", "cancellation"}
    assert len(seen[0][1]) < len(rows)


def test_what_cannot_be_described_fails_alone(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    alerts = client.service.active.get_scorer().model.pipeline.alerts

    def fail(c: Consignment) -> bool:
        if c.consignment_id == "RB1":
            raise ArithmeticError
        return False

    monkeypatch.setattr(alerts, "may_match", fail)
    told = client.post_at_once("/v1/scores", [make_consignment(f"RB{place}") for place in range(3)])
    assert [response.status_code for response in told] == [200, 500, 200]
    assert [event.consignment_id for event in client.service.log.read_events()] == ["RB0", "RB2"]


def test_an_arrival_without_a_score_still_counts(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("models.trees.walk_trees", lambda *arrays: arrays[-1].fill(np.nan))
        assert scored(client, "RB1") == 503
        more = [make_consignment(name) for name in ("RB3", "RB4")]
        assert client.post("/v1/scores", {"consignments": more}).status_code == 503
        assert "npsrisk_unscored_total 3.0" in client.get("/metrics").text
    assert client.compute_features("RB2")[SEEN] == 3
    assert [event.kind for event in client.service.log.read_events()] == [*["arrival"] * 3, "decision"]
    assert client.score("RB1")["decision_id"].endswith("-5")


def test_a_column_that_the_model_declares_is_taken_and_told(
    tmp_path: Path, bundle: Path, column_bundle: Path
) -> None:
    body = {"consignment_id": "RB1", "channel": "postal"}
    with Site(tmp_path, column_bundle).serve() as client:
        told = client.send("/v1/scores?features=true", body | {"tax_rate": 8})
        assert told["features"]["column.tax_rate"] == 8
        assert client.post("/v1/scores", body | {"tax_type": "A"}).status_code == 422
        schemas = client.read("/openapi.json")["components"]["schemas"]
        publish(tmp_path, bundle, "2")
        client.look()
        told = client.send("/v1/scores?features=true", body)
        publish(tmp_path, column_bundle, "3")
        client.look()
        again = client.send("/v1/scores?features=true", body)
    assert told["features"]
    assert (again["repeated"], again["features"]) == (True, None)  # those of another model
    assert "tax_rate" in schemas["DeclaredConsignment"]["properties"]


def list_codes(score: dict[str, Any]) -> list[tuple[str, str | None]]:
    return [(each["code"], each["field"]) for each in score["warnings"]]


DOUBTS: dict[str, tuple[dict[str, Any], list[tuple[str, str | None]]]] = {
    "RB1": ({"departure_country": "China"}, [("country_read_as", "departure_country")]),
    "RB2": ({"sender_country": "GBR"}, [("country_read_as", "sender_country")]),
    "RB3": ({"sender_country": "Narnia"}, [("unknown_country", "sender_country")]),
    "RB4": ({"gross_weight_kg": 1e308}, [("implausible_value", "gross_weight_kg")]),
    "RB5": ({"currency": "TALER"}, [("unknown_currency", "currency")]),
    "RB6": ({"channel": "air_cargo"}, [("no_waybill", "consignment_id")]),
    "RB7": ({"quality": ["number_malformed", "hs_missing"]}, [("number_malformed", None)]),
    "RB8": ({"account_opened_on": "2090-01-01"}, [("implausible_value", "account_opened_on")]),
    "RB9": ({}, []),
}


def test_a_doubt_is_in_answer_repeat_and_history(client: Client) -> None:
    for name, (fields, expected) in DOUBTS.items():
        first, again = (client.score(name, **fields) for _ in range(2))
        assert list_codes(first) == expected
        assert again == first | {"repeated": True}
        (decision,) = client.read(f"/v1/consignments/{name}")["decisions"]
        assert decision["warnings"] == first["warnings"]
        assert "Narnia" not in str(first["warnings"])
    for code in ("unknown_country", "no_waybill"):
        line = f'npsrisk_doubtful_records_total{{call="scores",kind="{code}"}} 1.0'
        assert line in client.get("/metrics").text
    alert = {"alert_id": "A1", "issued_at": "2024-03-03T00:00:00Z", "departure_country": "China"}
    receipts = [client.send("/v1/alerts", alert) for _ in range(2)]
    for receipt in receipts:
        assert [each["kind"] for each in receipt["warnings"]] == ["country_read_as"]
    code, words = (client.compute_features(f"RB-{each}", departure_country=each) for each in ("CN", "China"))
    assert code["alerts.matching"] == words["alerts.matching"] == 1
    read = [name for name in code if name.startswith(("route.", "category."))]
    assert [name for name in read if code[name] != words[name]] == []


def test_messages_have_quality_codes_and_warnings(client: Client) -> None:
    body = HOUSE.read_text(encoding="utf-8")
    broken = body.replace(">1.85<", ">Kim Geheim<").replace(">CN</ram:CountryID>", ">China</ram:CountryID>")

    def post(content: bytes) -> dict[str, Any]:
        (score,) = client.send("/v1/scores", content, headers={"content-type": "application/xml"})["scores"]
        return score  # type: ignore[no-any-return]

    first, again, amended = post(broken.encode()), post(broken.encode()), post(MASTER.read_bytes())
    assert "number_malformed" in first["quality"]
    assert ("number_malformed", "gross_weight_kg") in list_codes(first)
    assert ("country_read_as", "sender_country") in list_codes(first)
    assert list_codes(amended) == list_codes(first), "amended, and still doubted"
    assert again == first | {"repeated": True}
    assert "Geheim" not in str([first, amended])
