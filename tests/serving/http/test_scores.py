"""Scores over HTTP: each consignment once, what is wrong named, nothing told before it is on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec import structs
from support.databases import execute, stored_bytes
from support.examples import day, make_consignment
from support.serving_examples import DATA_KEY, Client, publish, serving, settings_in

from consignments.records import Consignment, Item, get_fields
from features.fitted import FittedParameters
from features.history.live import LiveHistory
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from models.bundle import load_bundle
from serving.scoring.scorer import Scorer, ScoreRequest, ScoreResult

JSON = {"content-type": "application/json"}
DRUG = "research chemical powder"
SEEN = "history.sender.arrivals_7d"


def fields(**changes: Any) -> dict[str, Any]:
    """A consignment as a client sends it."""
    found: dict[str, Any] = msgspec.to_builtins(make_consignment(**changes))
    return {name: value for name, value in found.items() if value is not None}


def answer(client: Client, body: Any, query: str = "") -> dict[str, Any]:
    return client.send(f"/v1/scores{query}", body)


def test_an_answer_is_in_the_log_when_it_leaves(client: Client, tmp_path: Path) -> None:
    told = answer(client, fields())
    named = {"consignment_id", "score", "band", "reasons", "model", "scored_at", "decision_id"}
    assert told.keys() == named | {"repeated", "cancelled", "warnings"}
    assert 0 < told["score"] < 1
    assert told["model"] == {"name": "nps-risk", "version": "1"}
    found = execute(tmp_path, "SELECT sequence, kind, score, band FROM events")
    assert found == [(int(told["decision_id"].rpartition("-")[2]), "decision", told["score"], told["band"])]


def test_the_service_reads_the_features_of_pipeline_and_ledger_and_the_score_is_the_models_own(
    client: Client, bundle: Path
) -> None:
    loaded = load_bundle(bundle)
    pipeline = Pipeline(
        loaded.config, FittedParameters.from_plain(loaded.fitted, loaded.arrays), Pseudonyms(DATA_KEY)
    )
    ledger = LiveHistory(pipeline.create_history())
    keys, counterparts = np.zeros((2, len(pipeline.kinds)), dtype=np.uint64)
    for place in range(5):
        c = make_consignment(f"RB{place % 4}", received_at=day(place), description=f"{DRUG} {place}")
        row = np.zeros(len(pipeline.spec), dtype=np.float32)
        pipeline.fill_rows([c], row[None], keys[None], counterparts[None])
        number = int(c.received_at.timestamp()) // 86400 if c.received_at else 0
        ledger.record_arrival(c.consignment_id, number, keys, counterparts, row)
        told = answer(client, c, "?features=true")
        assert list(told["features"]) == list(loaded.model.spec.names)
        values = [np.nan if value is None else value for value in told["features"].values()]
        np.testing.assert_array_equal(np.array(values, dtype=np.float32), row)
        assert told["score"] == loaded.model.score(row[None], ["postal"])[0]
        assert told["band"] == loaded.model.bands.assign(told["score"])


def test_the_same_consignment_gets_the_same_answer_and_is_counted_once(client: Client) -> None:
    first = answer(client, fields(description=DRUG))
    later = fields(description=DRUG, received_at=day(5))
    del later["received_at"]
    for again in (fields(description=DRUG), later):
        assert answer(client, again) == first | {"repeated": True}
    listed = answer(client, {"consignments": [fields(description=DRUG)] * 2})["scores"]
    assert listed == [first | {"repeated": True}] * 2
    assert client.compute_features("RB2")[SEEN] == 1


def test_other_content_is_a_new_decision_also_when_it_returns_to_an_older_one_and_is_counted_once(
    client: Client,
) -> None:
    told = [answer(client, fields(description=text))["decision_id"] for text in ("socks", "shoes", "socks")]
    assert len(set(told)) == 3
    assert client.compute_features("RB2")[SEEN] == 1


def test_reasons_come_with_high_and_elevated_and_where_they_are_asked_for(client: Client) -> None:
    for place in range(30):
        answer(client, fields(consignment_id=f"S{place}", description="socks"))
    risky, plain = answer(client, fields(description=DRUG)), answer(client, fields(consignment_id="RB2"))
    due = {"high": 3, "elevated": 3, "routine": 0}
    for told in (risky, plain):
        assert (0 < len(told["reasons"]) <= 3) == bool(due[told["band"]])
    more = answer(client, fields(consignment_id="RB3", description=DRUG), "?reasons=5")["reasons"]
    assert 1 <= len(more) <= 5
    assert list(more[0]) == ["code", "text", "value", "usual", "contribution", "direction", "facts"]
    assert list(more[0]["facts"][0]) == ["code", "text", "value", "usual"]
    assert more[0]["text"] == more[0]["facts"][0]["text"]
    assert {reason["direction"] for reason in more} == {"raises"}


def test_a_repeat_can_ask_for_more_reasons_and_for_features(client: Client) -> None:
    first = answer(client, fields(description=DRUG), "?reasons=5&features=true")
    answer(client, fields(consignment_id="RB2", description=DRUG), "?reasons=0")
    repeated = answer(client, fields(description=DRUG), "?reasons=5&features=true")
    assert repeated == first | {"repeated": True}
    late = answer(client, fields(consignment_id="RB2", description=DRUG), "?reasons=1&features=true")
    assert len(late["reasons"]) == 1
    assert late["features"][SEEN] == 1


def rows_of_a_stream(count: int) -> list[dict[str, Any]]:
    """New consignments of few senders with, among them, repeats, amendments, some cancelled and some of other days."""
    rng = np.random.default_rng(3)
    rows: list[dict[str, Any]] = []
    for place in range(count):
        draw = rng.random()
        if rows and draw < 0.15:
            rows.append(rows[rng.integers(len(rows))])
            continue
        name = rows[rng.integers(len(rows))]["consignment_id"] if rows and draw < 0.35 else f"RB{place}"
        moment = day(float(rng.integers(0, 20)) if draw > 0.8 else 10.0)
        changes = {"cancelled_at": moment} if 0.35 < draw < 0.4 else {}
        goods = (DRUG, "socks", f"{DRUG} {place}")[rng.integers(3)]
        sender = f"Orchid {'abc'[rng.integers(3)]} Ltd"
        rows.append(
            fields(consignment_id=name, received_at=moment, description=goods, sender_name=sender, **changes)
        )
    return rows


@pytest.mark.parametrize("recent", [1, 30_000])
def test_lists_and_calls_at_once_are_answered_as_one_after_the_other(
    tmp_path: Path, bundle: Path, recent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, seen, together = rows_of_a_stream(120), [], list[int]()
    score_batch = Scorer.score_batch

    def note(scorer: Scorer, asked: Sequence[ScoreRequest]) -> list[ScoreResult | Exception]:
        together.append(len(asked))
        return score_batch(scorer, asked)

    monkeypatch.setattr(Scorer, "score_batch", note)
    # Of calls at once, those that wait for the log come later.
    ways = ("one", "list", "at once") if recent > 1 else ("one", "list")
    for way in ways:
        publish(tmp_path / way, bundle, "1")
        with serving(settings_in(tmp_path / way)) as client:
            monkeypatch.setattr(client.service.active.state.dossiers, "_most", recent)
            together.clear()
            if way == "list":
                told = answer(client, {"consignments": rows}, "?features=true")["scores"]
            elif way == "at once":
                told = [each.json() for each in client.post_at_once("/v1/scores?features=true", rows)]
            else:
                told = [answer(client, row, "?features=true") for row in rows]
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


def test_a_consignment_that_cannot_be_described_fails_alone(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    alerts = client.service.active.get_scorer().model.pipeline.alerts

    def fail(c: Consignment) -> bool:
        if c.consignment_id == "RB1":
            raise ArithmeticError
        return False

    monkeypatch.setattr(alerts, "may_match", fail)
    rows = [fields(consignment_id=f"RB{place}") for place in range(3)]
    told = client.post_at_once("/v1/scores", rows)
    assert [response.status_code for response in told] == [200, 500, 200]
    assert [event.consignment_id for event in client.service.log.read_events()] == ["RB0", "RB2"]


def test_a_bad_row_does_not_sink_the_good_ones(shared_client: Client) -> None:
    good, bad = fields(), fields(consignment_id="RB2", pieces="two")
    rows = [bad, good, {"channel": "postal"}, 7, fields(consignment_id="RB3")]
    told = answer(shared_client, {"consignments": rows})
    assert [score["consignment_id"] for score in told["scores"]] == [good["consignment_id"], "RB3"]
    assert [(error["index"], error["pointer"]) for error in told["errors"]] == [
        (0, "#/consignments/0/pieces"), (2, "#/consignments/2/consignment_id"), (3, "#/consignments/3"),
    ]  # fmt: skip


def test_received_at_left_out_is_now_by_the_services_clock(shared_client: Client) -> None:
    body = fields(consignment_id="RB-now")
    del body["received_at"]
    answer(shared_client, body)
    told = shared_client.read("/v1/consignments/RB-now")["decisions"][0]
    assert told["received_at"] == told["scored_at"] == "2024-03-24T09:00:00Z"


POSTAL = {"consignment_id": "RB1", "channel": "postal"}


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        (b'{"consignment_id": "RB1"', 400, None),
        (b'{"consignment_id": "\xff"}', 400, None),
        (b'{"x": ' + b"[" * 100_000, 400, None),
        (b"", 400, None),
        (POSTAL | {"pieces": "two"}, 422, "#/pieces"),
        (POSTAL | {"colour": "red"}, 422, "#/colour"),
        ({"consignment_id": "RB1"}, 422, "#/channel"),
        (POSTAL | {"consignment_id": "R\x00B"}, 422, "#/consignment_id"),
        (POSTAL | {"received_at": "2024-03-04T09:00:00"}, 422, "#/received_at"),
        (POSTAL | {"received_at": "2999-01-01T00:00:00Z"}, 422, "#/received_at"),
        (POSTAL | {"received_at": "1999-12-31T23:59:59Z"}, 422, "#/received_at"),
        ({"consignments": [{}] * 1001}, 422, "#/consignments"),
        ({"consignments": {}}, 422, "#/consignments"),
        ({"consignments": [], "more": 1}, 422, "#/more"),
        ([], 422, "#"),
    ],
)
def test_what_is_wrong_is_told_with_the_path_of_the_field(
    shared_client: Client, body: Any, status: int, pointer: str | None
) -> None:
    before = shared_client.service.log.last_sequence
    response = shared_client.post("/v1/scores", body)
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, problem["status"]) == (status, status)
    assert [error["pointer"] for error in problem.get("errors", [])] == ([pointer] if pointer else [])
    assert shared_client.service.log.last_sequence == before


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        *((query, {}, 422) for query in ("?reasons=11", "?reasons=-1", "?reasons=x", "?features=1")),
        *((query, {}, 422) for query in ("?colour=red", "?reasons=1&reasons=2")),
        ("", {"content-type": "text/csv"}, 415),
        ("", {"host": "attacker.example"}, 421),
        ("", {"host": "127.0.0.1:8080"}, 200),
    ],
)
def test_a_query_or_a_header_that_cannot_be_is_refused(
    shared_client: Client, query: str, headers: dict[str, str], status: int
) -> None:
    assert shared_client.post(f"/v1/scores{query}", fields(), headers=JSON | headers).status_code == status


def test_a_body_over_the_limit_is_refused_whether_its_length_is_told_or_not(
    tmp_path: Path, bundle: Path
) -> None:
    publish(tmp_path, bundle, "1")
    body = fields(description="x" * 3900)

    async def parts() -> Any:
        for byte in msgspec.json.encode(body):
            yield bytes([byte])

    with serving(settings_in(tmp_path, NPSRISK_MAX_BODY_BYTES="2000")) as client:
        assert client.post("/v1/scores", body).status_code == 413
        streamed = client.portal.call(lambda: client.http.post("/v1/scores", content=parts(), headers=JSON))
        assert streamed.status_code == 413
        assert client.post("/v1/scores", fields()).status_code == 200


def test_the_log_holds_no_personal_value_that_can_be_read(client: Client, tmp_path: Path) -> None:
    personal = {field.name: f"Quixotic {field.name}" for field in get_fields(Consignment) if field.personal}
    answer(client, fields(**personal, items=(Item(description="socks"),)))
    answer(client, {"consignments": [fields(consignment_id="RB2", **personal)]})
    written = stored_bytes(tmp_path)
    assert b"RB123456785GB" in written
    assert b"uixotic" not in written


def test_a_model_that_gives_no_number_is_an_error_and_the_arrival_still_counts(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr("models.trees.walk_trees", lambda *arrays: arrays[-1].fill(np.nan))
        assert client.post("/v1/scores", fields()).status_code == 503
        more = [fields(consignment_id=name) for name in ("RB3", "RB4")]
        assert client.post("/v1/scores", {"consignments": more}).status_code == 503
        assert "npsrisk_unscored_total 3.0" in client.get("/metrics").text
    assert client.compute_features("RB2")[SEEN] == 3
    assert [event.kind for event in client.service.log.read_events()] == [*["arrival"] * 3, "decision"]
    assert answer(client, fields())["decision_id"].endswith("-5")


def test_a_withdrawn_consignment_no_longer_counts(client: Client) -> None:
    answer(client, fields(cancelled_at=day(1)))
    assert client.compute_features("RB2")[SEEN] == 0


def test_a_column_that_the_model_declares_is_taken_and_told(tmp_path: Path, column_bundle: Path) -> None:
    publish(tmp_path, column_bundle, "1")
    with serving(settings_in(tmp_path)) as client:
        told = answer(client, fields() | {"tax_rate": 8}, "?features=true")
        assert told["features"]["column.tax_rate"] == 8
        assert client.post("/v1/scores", fields() | {"tax_type": "A"}).status_code == 422
        schemas = client.read("/openapi.json")["components"]["schemas"]
    assert "tax_rate" in schemas["DeclaredConsignment"]["properties"]
