"""Messages over HTTP: scored as their consignments, named if they hold none, refused only if nothing can be read."""

from typing import Any

import pytest
from support.examples import day
from support.messages import BROKEN, HOUSE, MASTER, MESSAGES, POUNDS
from support.serving_examples import Client

from consignments.timestamps import to_us
from serving.scoring import intake

XML, TEXT, LINKED = "application/xml", "text/plain", "application/ld+json"
HOUSE_ID = "160-48103823/WHX26030917"


def post(client: Client, body: bytes, kind: str) -> dict[str, Any]:
    return client.send("/v1/scores", body, headers={"content-type": kind})


@pytest.mark.parametrize("kind", [XML, "text/xml; charset=utf-8"])
def test_a_house_waybill_is_scored(client: Client, kind: str) -> None:
    told = post(client, HOUSE.read_bytes().replace(b"2026-03-", b"2024-01-"), kind)
    (score,) = told["scores"]
    assert score["consignment_id"] == HOUSE_ID
    assert 0 < score["score"] < 1
    assert told["errors"] == []
    assert told["messages"] == {"events": [], "ignored": [], "notes": [], "rejected": []}


def test_a_message_sent_again_gets_the_same_answer(client: Client) -> None:
    first, second = (post(client, HOUSE.read_bytes(), XML)["scores"] for _ in range(2))
    assert [score.pop("repeated") for score in (*first, *second)] == [False, True]
    assert first == second


def test_each_house_of_a_list_is_scored(client: Client) -> None:
    told = post(client, (MESSAGES / "fhl_houses.txt").read_bytes(), TEXT)
    assert [score["consignment_id"] for score in told["scores"]] == [
        HOUSE_ID,
        "160-48103823/WHX26030918",
        "160-48103823/WHX26030919",
    ]


def test_a_master_enriches_the_houses_of_its_own_body(client: Client) -> None:
    told = post(client, MASTER.read_bytes() + HOUSE.read_bytes(), XML)
    assert [score["consignment_id"] for score in told["scores"]] == [HOUSE_ID]
    known = client.get(f"/v1/consignments/{HOUSE_ID}").json()
    assert len(known["decisions"]) == 1


def test_a_master_that_comes_later_amends_the_houses_that_are_sent_with_it(client: Client) -> None:
    (first,) = post(client, HOUSE.read_bytes(), XML)["scores"]
    for expected in ([False], [True]):
        scores = post(client, MASTER.read_bytes() + HOUSE.read_bytes(), XML)["scores"]
        assert [score["repeated"] for score in scores] == expected
    known = client.get(f"/v1/consignments/{HOUSE_ID}").json()
    assert len(known["decisions"]) == 2
    assert known["decisions"][0]["decision_id"] == first["decision_id"]


def test_a_known_house_that_cannot_be_amended_is_named_in_the_notes(
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
def test_a_body_of_which_nothing_can_be_read_is_refused(
    shared_client: Client, body: bytes, reason: str
) -> None:
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
