"""Every record that stands in a damaged or mixed body is scored, or rejected with a word."""

import json
import time
from datetime import UTC, datetime

import pytest
from support.messages import changed, load, read_messages

from consignments.messages.content.trees import split_array
from consignments.messages.post import csv_rows
from consignments.messages.post.mapping import parse_mapping
from consignments.messages.reading import read_entries


def test_behind_a_message_that_is_cut_the_next_is_read() -> None:
    text = load("xfzb_house.xml").decode().partition("?>")[2].strip()
    first, second = (text.replace("WHX26030917", name) for name in ("A", "B"))
    manifest = load("xfhl_manifest.xml").decode()
    for cut in (first[:700], first.rpartition("</")[0], first[:-2]):
        found = read_messages([f"{cut}{second}{cut}{manifest}".encode()])
        assert [c.consignment_id[13:] for c in found.consignments] == ["B", "H1", "H2"]
        assert len(found.rejects) == 2


def test_a_document_with_a_damaged_root_ends_at_its_end() -> None:
    found = read_messages([b"<a<b><a/></a>" + load("xfzb_house.xml")])
    assert (len(found.consignments), len(found.rejects)) == (1, 1)


def test_an_element_named_as_its_root_is_no_message_of_its_own() -> None:
    records = "".join(
        f"<Item><ItemId>R{n}</ItemId><SenderName>A</SenderName><RecipientName>B</RecipientName><ContentPieces><ContentPiece><Description>tea {n}</Description></ContentPiece></ContentPieces></Item>"
        for n in (1, 2)
    )
    found = read_messages([f"<Item>{records}<!-- <Item> --></Item>".encode() * 2])
    assert ([c.description for c in found.consignments], found.rejects) == (["tea 1", "tea 2"], ())


def test_a_table_of_open_quotation_marks_ends_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows, "MAX_FAULTS", 100)
    begun, content = time.process_time(), b"number,from\n" + b'a","\n' * 200_000
    found = read_messages([content], mappings=[parse_mapping('[record]\nconsignment_id = "number"\n', "m")])
    assert time.process_time() - begun < 10
    assert len(found.rejects) == 100
    assert "nothing from there on was read" in str(found.rejects[-1])


def test_each_member_of_an_array_is_read_by_what_it_is_itself() -> None:
    text = 'channel = "postal"\ndetect = ["kolli"]\n[record]\nconsignment_id = "nr"\ndescription = "kolli"\n'
    own = {"nr": "RR1", "kolli": "tea"}
    first, second = (
        {
            "barcode": f"UA{n}",
            "senderName": "A",
            "recipient": "B",
            "contents": [{"contentPieceDescription": f"goods {n}"}],
        }
        for n in (1, 2)
    )
    found = read_messages(
        [json.dumps([own, first, {"x": 1}, 3, {"items": [second]}]).encode()],
        mappings=[parse_mapping(text, "m.toml")],
    )
    assert sorted(c.description or "" for c in found.consignments) == ["goods 1", "goods 2", "tea"]
    assert ["member 3" in found.rejects[0].place, "member 4" in found.rejects[1].place] == [True, True]
    found = read_messages([json.dumps([first, {"x\ud800": 1}, None]).encode()])
    assert [c.description for c in found.consignments] == ["goods 1"]
    assert len(found.rejects) == 2


def test_members_of_an_array_stay_as_they_were_written() -> None:
    text = b'[{"a": 0.10, "b": "\\u00e9"}, 1e999 , [ ]]'
    assert split_array(text) == [b'{"a": 0.10, "b": "\\u00e9"}', b"1e999", b"[ ]"]


HOUSE_ITEM = (
    b"<IncludedHouseConsignmentItem><TypeCode>090210</TypeCode><NatureIdentificationTransportCargo>"
    b"<Identification>green tea</Identification></NatureIdentificationTransportCargo></IncludedHouseConsignmentItem>"
)


def test_goods_of_a_manifest_are_read_in_a_house_and_rejected_outside_of_the_houses() -> None:
    manifest = load("xfhl_manifest.xml")
    inside = manifest.replace(b"<SummaryDescription>", HOUSE_ITEM + b"<SummaryDescription>", 1)
    assert [c.hs_code for c in read_messages([inside]).consignments] == ["090210", None]
    for name in (b"House", b"Master"):
        item = HOUSE_ITEM.replace(b"House", name)
        outside = manifest.replace(b"</MasterConsignment>", item + b"</MasterConsignment>")
        assert "goods stand outside of the declarations" in str(read_messages([outside]).rejects[0])


def piece(identifier: str) -> dict[str, object]:
    return {"barcode": identifier, "senderName": "S", "recipient": "R", "contents": [{"contentPieceDescription": "goods", "contentPieceHsCode": "090210"}]}  # fmt: skip


A, B = "RA000020016CA", "RA000020020CA"


def test_goods_under_a_name_that_no_mapping_knows_are_those_of_their_declaration() -> None:
    goods = [{"Description": f"goods {n}", "Amount": "5", "CurrencyCd": "EUR"} for n in (1, 2)]
    fee = {"Amount": "9", "CurrencyCd": "EUR"}
    one, two = (
        {"ItemId": name, "SenderName": "S", "RecipientName": "R", "Fee": fee, **lines}
        for name, lines in ((A, {"Lines": goods}), (B, {"Waren": {"Ware": goods[:1]}}))
    )
    found = read_messages([json.dumps({"Parcels": [one, two]}).encode()])
    described = [[item.description for item in c.items or ()] for c in found.consignments]
    assert described == [["goods 1", "goods 2"], ["goods 1"]]
    assert [c.declared_value for c in found.consignments] == [10.0, 5.0]


def test_equal_declarations_without_identifiers_are_two_and_the_same_when_sent_again() -> None:
    message = json.dumps({"items": [piece(""), piece("")]}).encode()
    at = datetime(2026, 3, 12, tzinfo=UTC)
    first, again = (read_messages([message] * times, received_at=at) for times in (1, 2))
    assert len({c.consignment_id for c in first.consignments}) == 2
    assert (first.consignments, again.repeats) == (again.consignments, 2)


def test_a_time_of_issue_in_the_future_is_noted_and_wins_over_nothing() -> None:
    now, goods = datetime(2026, 3, 12, tzinfo=UTC), "PIGMENT SAMPLE, NOT FOR HUMAN CONSUMPTION"
    early = changed(load("xfzb_house.xml"), ("2026-03-", "2090-03-"))
    later = changed(load("xfzb_house.xml"), (goods, "CERAMIC CUPS"))
    found = read_messages([early, later, early], received_at=now, now=now)
    assert [(c.description, c.issued_at is None) for c in found.consignments] == [
        (goods, True),
        ("CERAMIC CUPS", False),
    ]
    assert found.notes == ("issued in the future: the time of issue was left out",)


def test_an_identifier_that_a_body_repeats_is_noted() -> None:
    text = load("xfzb_house.xml")
    notes = read_entries(text + changed(text, ("2.", "3.")), datetime(2026, 3, 12, tzinfo=UTC)).notes
    assert notes == ("2 times in one body: 160-48103823/WHX26030917",)
