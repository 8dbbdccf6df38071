"""Messages over HTTP: scored as their consignments, named if they hold none, refused only if nothing can be read."""

import shutil
from typing import Any

import pytest
from support.examples import day
from support.messages import HOUSE, MASTER, MESSAGES
from support.serving_examples import Client
from support.site import Site

from consignments.timestamps import to_us
from serving.scoring import intake

XML, TEXT, LINKED = "application/xml", "text/plain", "application/ld+json"
HOUSE_ID = "160-48103823/WHX26030917"


def post(client: Client, body: bytes, kind: str) -> dict[str, Any]:
    return client.send("/v1/scores", body, headers={"content-type": kind})


ONE_RECORD = (
    b'{"@context": {"cargo": "https://onerecord.iata.org/ns/cargo#"}, "@type": "cargo:Waybill",'
    b'"cargo:waybillType": "HOUSE", "cargo:waybillNumber": "H1",'
    b'"cargo:shipment": {"@type": "cargo:Shipment", "cargo:goodsDescription": "PIGMENT"}}'
)
LISTED = [HOUSE_ID, "160-48103823/WHX26030918", "160-48103823/WHX26030919"]


@pytest.mark.parametrize(
    ("body", "kind", "names"),
    [
        (HOUSE.read_bytes().replace(b"2026-03-", b"2024-01-"), XML, [HOUSE_ID]),
        (HOUSE.read_bytes().replace(b"2026-03-", b"2024-01-"), "text/xml; charset=utf-8", [HOUSE_ID]),
        ((MESSAGES / "fhl_houses.txt").read_bytes(), TEXT, LISTED),
        (ONE_RECORD, LINKED, ["H1"]),
    ],
)
def test_each_consignment_of_a_message_is_scored_and_sent_again_gets_the_same_answer(
    client: Client, body: bytes, kind: str, names: list[str]
) -> None:
    first, second = (post(client, body, kind) for _ in range(2))
    assert [each["consignment_id"] for each in first["scores"]] == names
    assert all(0 < each["score"] < 1 for each in first["scores"])
    assert first["errors"] == first["messages"]["rejected"] == []
    assert second["scores"] == [score | {"repeated": True} for score in first["scores"]]


def test_a_house_that_cannot_be_amended_is_noted(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    house, master = (path.read_bytes().replace(b"2026-03-", b"2024-01-") for path in (HOUSE, MASTER))
    post(client, house, XML)
    monkeypatch.setattr(intake, "MIN_TIME_US", to_us(day(15)))
    told = post(client, master, XML)
    assert (told["scores"], told["errors"]) == ([], [])
    (note,) = told["messages"]["notes"]
    assert note.startswith(f"{HOUSE_ID}: these messages concern it, and its record is refused: issued_at")


def test_a_message_without_goods_is_named(client: Client) -> None:
    manifest = post(client, b'<FlightManifest xmlns="iata:flightmanifest:1"/>', XML)
    assert manifest["scores"] == []
    assert manifest["messages"]["ignored"] == ["XFFM: it holds no goods of its own"]
    answer = post(client, b"PSN\n160-48103823-H1\nCSN/7H/20MAR1902/PACT HOLD\n", TEXT)
    assert answer["scores"] == []
    (event,) = answer["messages"]["events"]
    assert (event["consignment_id"], event["state"]) == ("160-48103823/H1", "request_for_information")
    assert event["issued_at"] == "2024-03-20T19:02:00Z"


def test_bad_messages_reject_no_good_one_and_are_named_or_numbered(client: Client) -> None:
    named = b"<Unknown><ID>RB123456785GB</ID></Unknown>\n"
    told = post(client, named + b"<Unknown/>\n" * 24 + HOUSE.read_bytes(), XML)
    assert [score["consignment_id"] for score in told["scores"]] == [HOUSE_ID]
    rejected = told["messages"]["rejected"]
    assert len(rejected) == 21
    assert rejected[0].startswith("message 1 (RB123456785GB): unknown kind of message")
    assert rejected[1].startswith("message 2: unknown kind of message")
    assert rejected[-1] == "5 more of which nothing could be read, messages 21, 22, 23, 24, 25"


def test_a_mapping_of_the_folder_reads_a_declaration(site: Site) -> None:
    folder, body = site.folder / "mappings", (MESSAGES / "itmatt.edi").read_bytes()
    folder.mkdir()
    with site.serve(NPSRISK_MAPPINGS_DIR=str(folder)) as client:
        assert client.post("/v1/scores", body, headers={"content-type": TEXT}).status_code == 422
        shutil.copy(MESSAGES / "itmatt.toml", folder)
        client.look()
        (score,) = post(client, body, TEXT)["scores"]
        assert score["consignment_id"] == "CP000000013US"
        (folder / "bad.toml").write_text("name = 1")
        client.look()
        assert any(warning.startswith("mappings: ") for warning in client.service.list_warnings())
        assert post(client, body, TEXT)["scores"] == [score | {"repeated": True}]
