"""Messages over HTTP: scored as their consignments, named if they hold none, refused only if nothing can be read."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from support.examples import day
from support.messages import BROKEN, HOUSE, MASTER, MESSAGES, POUNDS
from support.serving_examples import Client, publish, serving, settings_in

from consignments.errors import BadSetting
from consignments.timestamps import to_us
from serving.messages.reading import watch_mappings
from serving.scoring import intake

XML, TEXT, LINKED = "application/xml", "text/plain", "application/ld+json"
HOUSE_ID = "160-48103823/WHX26030917"


def post(client: Client, body: bytes, kind: str) -> dict[str, Any]:
    return client.send("/v1/scores", body, headers={"content-type": kind})


@pytest.mark.parametrize("kind", [XML, "text/xml; charset=utf-8"])
def test_a_house_waybill_is_scored_and_sent_again_gets_the_same_answer(client: Client, kind: str) -> None:
    first, second = (
        post(client, HOUSE.read_bytes().replace(b"2026-03-", b"2024-01-"), kind) for _ in range(2)
    )
    (score,) = first["scores"]
    assert (score["consignment_id"], 0 < score["score"] < 1) == (HOUSE_ID, True)
    assert first["errors"] == []
    assert first["messages"] == {"events": [], "ignored": [], "notes": [], "rejected": []}
    assert second["scores"] == [score | {"repeated": True}]


def test_each_house_of_a_list_is_scored(client: Client) -> None:
    told = post(client, (MESSAGES / "fhl_houses.txt").read_bytes(), TEXT)
    assert [score["consignment_id"] for score in told["scores"]] == [
        HOUSE_ID,
        "160-48103823/WHX26030918",
        "160-48103823/WHX26030919",
    ]


def test_a_master_amends_the_houses_that_are_sent_with_it(client: Client) -> None:
    (first,) = post(client, HOUSE.read_bytes(), XML)["scores"]
    for repeated in (False, True):
        scores = post(client, MASTER.read_bytes() + HOUSE.read_bytes(), XML)["scores"]
        assert [(score["consignment_id"], score["repeated"]) for score in scores] == [(HOUSE_ID, repeated)]
    known = client.read(f"/v1/consignments/{HOUSE_ID}")
    assert len(known["decisions"]) == 2
    assert known["decisions"][0]["decision_id"] == first["decision_id"]


def test_a_house_that_cannot_be_amended_is_in_the_notes(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, master = (path.read_bytes().replace(b"2026-03-", b"2024-01-") for path in (HOUSE, MASTER))
    post(client, house, XML)
    monkeypatch.setattr(intake, "MIN_TIME_US", to_us(day(15)))
    told = post(client, master, XML)
    assert (told["scores"], told["errors"]) == ([], [])
    (note,) = told["messages"]["notes"]
    assert note.startswith(f"{HOUSE_ID}: these messages concern it, and its record is refused: issued_at")


def test_a_deletion_withdraws_the_consignment(client: Client) -> None:
    body = POUNDS.read_bytes()
    post(client, body.replace(b"Deletion", b"Creation"), XML)
    (score,) = post(client, body, XML)["scores"]
    known = client.get(f"/v1/consignments/{score['consignment_id']}").json()
    assert len(known["cancellations"]) == 1


def test_a_one_record_document_is_scored(client: Client) -> None:
    document = (
        b'{"@context": {"cargo": "https://onerecord.iata.org/ns/cargo#"}, "@type": "cargo:Waybill",'
        b'"cargo:waybillType": "HOUSE", "cargo:waybillNumber": "H1",'
        b'"cargo:shipment": {"@type": "cargo:Shipment", "cargo:goodsDescription": "PIGMENT"}}'
    )
    assert len(post(client, document, LINKED)["scores"]) == 1


def test_a_message_without_goods_is_named(client: Client) -> None:
    manifest = post(client, b'<FlightManifest xmlns="iata:flightmanifest:1"/>', XML)
    assert manifest["scores"] == []
    assert manifest["messages"]["ignored"] == ["XFFM: it holds no goods of its own"]
    answer = post(client, b"PSN\n160-48103823-H1\nCSN/7H/20MAR1902/PACT HOLD\n", TEXT)
    assert answer["scores"] == []
    (event,) = answer["messages"]["events"]
    assert (event["consignment_id"], event["state"]) == ("160-48103823/H1", "request_for_information")
    assert event["issued_at"] == "2024-03-20T19:02:00Z"


def test_goods_that_no_reader_knows_are_refused_with_what_to_do(shared_client: Client) -> None:
    for body, kind, words in (
        (b"UNH+1+ITMATT:1'GID+1'", TEXT, "mapping"),
        (b"<Unlike/>", XML, "in the service NPSRISK_MAPPINGS_DIR). The service reads 0 mappings"),
        (b'{"consignment_id": "RB1"}', LINKED, "which is sent as application/json"),
    ):
        answer = shared_client.post("/v1/scores", body, headers={"content-type": kind})
        assert (answer.status_code, words in answer.json()["detail"]) == (422, True), answer.text


def test_a_bad_message_does_not_sink_the_good_one_that_follows(client: Client) -> None:
    told = post(client, b"<Unknown/>\n" + HOUSE.read_bytes(), XML)
    assert [score["consignment_id"] for score in told["scores"]] == [HOUSE_ID]
    assert len(told["messages"]["rejected"]) == 1


def test_an_answer_names_the_bad_messages_and_numbers_those_that_it_does_not_list(client: Client) -> None:
    named = b"<Unknown><ID>RB123456785GB</ID></Unknown>\n"
    told = post(client, named + b"<Unknown/>\n" * 24 + HOUSE.read_bytes(), XML)
    rejected = told["messages"]["rejected"]
    assert len(rejected) == 21
    assert rejected[0].startswith("message 1 (RB123456785GB): unknown kind of message")
    assert rejected[1].startswith("message 2: unknown kind of message")
    assert rejected[-1] == "5 more of which nothing could be read, messages 21, 22, 23, 24, 25"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b" ", "The body is empty"),
        (b"<HouseWaybill><b></HouseWaybill>", "not well-formed XML"),
        (b"<HouseWaybill>", "cut in half"),
        (b"Dear all", "unknown kind of message"),
        ((BROKEN / "xfzb_bomb.xml").read_bytes(), "entities are declared"),
    ],
)
def test_a_body_with_nothing_to_read_is_refused(shared_client: Client, body: bytes, reason: str) -> None:
    before = shared_client.service.log.last_sequence
    response = shared_client.post("/v1/scores", body, headers={"content-type": XML})
    assert response.status_code == 422
    assert reason in response.text
    assert shared_client.service.log.last_sequence == before


def test_another_media_type_is_refused_with_those_that_are_taken(shared_client: Client) -> None:
    response = shared_client.post("/v1/scores", b"a,b", headers={"content-type": "text/csv"})
    assert response.status_code == 415
    detail = response.json()["detail"]
    for words in (
        "application/json (records",
        "text/plain (Cargo-IMP, EDIFACT or CSV)",
        "another message in JSON",
    ):
        assert words in detail


# A folder of mappings


def test_a_mapping_of_the_folder_reads_a_declaration(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    folder, body = tmp_path / "mappings", (MESSAGES / "itmatt.edi").read_bytes()
    with pytest.raises(BadSetting, match="no folder of mappings"):
        watch_mappings(folder)
    folder.mkdir()
    with serving(settings_in(tmp_path, NPSRISK_MAPPINGS_DIR=str(folder))) as client:
        assert client.post("/v1/scores", body, headers={"content-type": TEXT}).json().get("scores", []) == []
        shutil.copy(MESSAGES / "itmatt.toml", folder)
        client.look()
        (score,) = post(client, body, TEXT)["scores"]
        assert score["consignment_id"] == "CP000000013US"
        (folder / "bad.toml").write_text("name = 1")
        client.look()
        assert any(warning.startswith("mappings: ") for warning in client.service.list_warnings())
        assert post(client, body, TEXT)["scores"] == [score | {"repeated": True}]
