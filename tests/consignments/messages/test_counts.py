"""As many consignments come out as records went in, whatever the parts of a list are called, or the message is rejected."""

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any
from xml.sax.saxutils import escape

import pytest
from support.cases import read_cases
from support.messages import ParsedMessages, read_messages, replace_houses

from consignments.messages.entries import Version
from consignments.messages.post import mapped
from consignments.messages.reading import read_entries

NAMES = ["Parcel", "Item", "MailItem", "MailObject", "CDSDeclaration", "DeclarationView", "Declaration", "CDSView", "DeclarationData", "Decl",
         "items", "contents", "data", "customs", "delivery-spec", "Row", "ArrayOfThing", "Sender", "Documents", "Party", "ItemId2"]  # fmt: skip
SHARED = {"Header": {"MessageId": "M-1", "CreatedDt": "2026-03-10"}, "Count": "3"}


def build_record(number: int, form: str) -> dict[str, Any]:
    """Build a declaration whose fields all name its number."""
    identifier, goods = f"RB{number:08d}5GB", f"goods {number}"
    if form == "cds":
        return {
            "ItemId": identifier, "SenderName": f"Sender {number}", "RecipientName": f"Kim {number}", "RecipientCountryCd": "KR",
            "ContentPieces": [{"Description": goods, "Amount": "5", "Number": "1"}, {"Description": f"{goods} b", "Amount": "1"}],
        }  # fmt: skip
    if form == "view":
        inner = build_record(number, "cds")
        del inner["ItemId"]
        return {"MailObject": {"Id": identifier}, "Data": inner}
    if form == "flat":
        sender = f"Sender {number}"
        return {"ItemId": identifier, "SenderName": sender, "Description": goods, "GrossWeight": "0.4"}
    if form == "itmatt":
        return {
            "ItemId": identifier, "MailClass": "C", "TotalWeight": "1", "SenderAddress": {"Name": f"Sender {number}"},
            "ReceiverAddress": {"Name": f"Kim {number}"}, "ContentPieces": [{"Description": goods, "Value": "3"}],
        }  # fmt: skip
    return {
        "barcode": identifier, "senderName": f"Sender {number}", "recipient": f"Kim {number}",
        "contents": [{"contentPieceDescription": goods, "contentPieceHsCode": "090210", "contentPieceNetweight": "100"}],
    }  # fmt: skip


FORMS = ("cds", "view", "flat", "itmatt", "pieces")


def to_xml(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return f"<{name}>{''.join(to_xml(key, part) for key, part in value.items())}</{name}>"
    if isinstance(value, list):
        lists = {"ContentPieces": "ContentPiece"}
        if name in lists:
            return f"<{name}>{''.join(to_xml(lists[name], part) for part in value)}</{name}>"
        return "".join(to_xml(name, part) for part in value)
    return f"<{name}>{escape(str(value))}</{name}>"


def build_list(records: list[dict[str, Any]], chance: random.Random) -> bytes:
    """Put records into a message in one of many ways."""
    name, outer = chance.sample(NAMES, 2)
    match chance.randrange(5):
        case 0:
            tree: Any = {outer: {name: records}}
        case 1:
            tree = {**SHARED, outer: {name: records}}
        case 2:
            tree = {"Batch": {"Body": {outer: [{name: record} for record in records]}}}
        case 3:
            half = len(records) // 2
            tree = {outer: [{name: records[:half]}, {name: records[half:]}]}
        case _:
            tree = {name: records[:1], outer: records[1:]}
    if chance.random() < 0.5:
        return json.dumps(tree if chance.random() < 0.8 else records).encode()
    return ("<?xml version='1.0'?>" + to_xml("Message", tree)).encode()


def check_counts(found: ParsedMessages, numbers: range) -> bool:
    """Claim that each record came out with its own goods, or that the message was rejected; return True if it was read."""
    if found.rejects:
        assert not found.consignments, [str(each) for each in found.rejects]
        return False
    expected = [f"RB{number:08d}5GB" for number in numbers]
    assert sorted(c.consignment_id for c in found.consignments) == expected
    for c in found.consignments:
        number = int(c.consignment_id[2:10])
        assert c.description == f"goods {number}"
        assert c.sender_name == f"Sender {number}"
        assert {(item.description or "").split()[1] for item in c.items or ()} <= {str(number)}
    return True


def try_lists(count: int, largest: int, seed: int) -> int:
    chance = random.Random(seed)
    read = 0
    for _ in range(count):
        number = chance.choice((1, 2, 3, 7, largest))
        form = chance.choice(FORMS)
        mixed = ("cds", "view", "flat", "itmatt") if form == "cds" else (form,)
        records = [build_record(each, chance.choice(mixed)) for each in range(1, number + 1)]
        message = build_list(records, chance)
        read += check_counts(read_messages([message]), range(1, number + 1))
    return read


def test_a_list_gives_each_record_its_own_goods_whatever_its_parts_are_called() -> None:
    assert try_lists(150, 60, 1) > 130


@pytest.mark.slow
def test_lists_of_thousands_give_each_record_its_own_goods() -> None:
    assert try_lists(1_500, 300, 2) > 1_400
    for seed in range(4):
        assert try_lists(1, 10_000, seed) == 1


def test_a_list_too_large_for_one_tree_is_read_as_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapped, "MAX_PRECISE_BYTES", 100_000)
    monkeypatch.setattr(mapped, "SEARCHED_BYTES", 25_000)
    monkeypatch.setattr("consignments.messages.content.trees.parse_xml_tree", None)
    records = [build_record(number, "cds") for number in range(1, 501)]
    message = to_xml("Parcels", {"Parcel": records, "Others": {"Decl": build_record(501, "cds")}}).encode()
    assert len(message) > 100_000
    assert check_counts(read_messages([message]), range(1, 502))


LINE = {"contentPieceDescription": "goods {}", "contentPieceHsCode": "090210", "contentPieceNetweight": "9"}


def nameless(number: int, name: str, goods: str, *, wrapped: bool = False) -> dict[str, Any]:
    lines = [{key: text.format(number) for key, text in LINE.items()}]
    return {name: f"RB{number:08d}5GB", goods: {"zeile": lines} if wrapped else lines}


@pytest.mark.parametrize("name", ["barcode", "code", "Nr"])
@pytest.mark.parametrize("goods", ["contents", "ware", "ContentPieces"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_goods_and_identifiers_of_unknown_name_are_read_by_form(name: str, goods: str, wrapped: bool) -> None:
    party = {"senderName": "S", "recipient": "R"}
    for count, more in ((1, {}), (2, {}), (9, {}), (2, party)):
        records = [nameless(number, name, goods, wrapped=wrapped) | more for number in range(1, count + 1)]
        split = {"eins": records[: count // 2], "contents": {"zwei": records[count // 2 :]}}
        for tree in ({"liste": records}, {"liste": [{"teil": each} for each in records]}, split):
            for message in (json.dumps(tree).encode(), to_xml("Message", tree).encode()):
                found = read_messages([message])
                assert (found.rejects, found.ignored) == ((), ())
                read = {c.consignment_id: (c.items or ())[0].description for c in found.consignments}
                assert read == {f"RB{n:08d}5GB": f"goods {n}" for n in range(1, count + 1)}


PLACES = ("inside", "flat", "wrapped", "texts", "beside", "above")


def build_odd(numbers: range, names: dict[str, str], place: str) -> dict[str, Any]:
    """Build a list of declarations whose goods stand somewhere under a name in one of many languages."""
    name, description, value = names.values()
    records, all_goods = [], [{description: f"goods {n}", value: f"{n}.5"} for n in numbers]
    for n, goods in zip(numbers, all_goods, strict=True):
        record = {"ItemId": f"RB{n:08d}5GB", "SenderName": f"Sender {n}", "RecipientName": "Kim"}
        added: dict[str, Any] = {
            "inside": {name: [goods]},
            "flat": goods,
            "wrapped": {"teil": {name: {"zeile": [goods]}}},
            "texts": {name: [f"goods {n}"]},
        }.get(place, {})
        records.append({"Decl": record, name: [goods]} if place == "beside" else record | added)
    return {"Liste": {"Eintrag": records} | ({name: all_goods} if place == "above" else {})}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("names", read_cases("odd_goods"))
def test_goods_under_odd_names_are_read_named_in_a_warning_or_rejected(
    names: dict[str, str], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line has the name of goods, and of their description and value."""
    for count in (1, 2, 70):
        monkeypatch.setattr(mapped, "MAX_PRECISE_BYTES", 4_000 if count == 70 else 4_000_000)
        tree = build_odd(range(1, count + 1), names, place)
        for content in (json.dumps(tree).encode(), to_xml("Message", tree).encode()):
            found = read_entries(content, datetime(2026, 3, 12, tzinfo=UTC))
            versions = [each for each in found.entries if isinstance(each, Version)]
            assert found.rejects or len(versions) == count
            for version in versions:
                c = version.record
                unread = [each.text for each in version.warnings if each.code == "element_unread"]
                if c.description is None:
                    (text,) = unread
                    assert names["goods" if place == "texts" else "description"].lower() in text
                else:
                    assert c.description == f"goods {int(c.consignment_id[2:10])}"


def test_a_sender_around_several_declarations_is_named_in_the_warning_of_each() -> None:
    records = [
        {"ItemId": f"RB{n:08d}5GB", "RecipientName": "Kim", "Description": f"goods {n}"} for n in (1, 2)
    ]
    content = json.dumps({"batch": {"SenderName": "Ann", "rows": records}}).encode()
    found = read_entries(content, datetime(2026, 3, 12, tzinfo=UTC)).entries
    assert ["batch/sendername" in str(getattr(each, "warnings", "")) for each in found] == [True, True]


def build_fhl(numbers: range) -> bytes:
    houses = "".join(f"HBS/H{n}/PVGICN/1/K1//GOODS {n}\nTXT/goods {n}\n" for n in numbers)
    return f"FHL/4\nMBI/180-12345675PVGICN/T1K1\n{houses}".encode()


def build_graph(numbers: range) -> bytes:
    nodes: list[dict[str, Any]] = []
    for n in numbers:
        shipment = {"@id": f"urn:s{n}", "@type": "cargo:Shipment", "cargo:goodsDescription": f"goods {n}"}
        link = {"@id": f"urn:s{n}"} if n % 2 else shipment
        waybill = {"@id": f"urn:w{n}", "@type": "cargo:Waybill", "cargo:waybillNumber": f"H{n}"}
        nodes += [waybill | {"cargo:shipment": link}, *([shipment] if n % 2 else [])]
    random.Random(len(numbers)).shuffle(nodes)
    graph = {"@context": {"cargo": "https://onerecord.iata.org/ns/cargo#"}, "@graph": [nodes[:1], nodes[1:]]}
    return json.dumps(graph).encode()


XFZB = "<ram:ID>H{0}</ram:ID><ram:SummaryDescription>goods {0}</ram:SummaryDescription>"
XFHL = "<ID>H{0}</ID><SummaryDescription>goods {0}</SummaryDescription>"
ICS2 = (
    "<cis:transportDocumentHouseLevel><cis:documentNumber>H{0}</cis:documentNumber></cis:transportDocumentHouseLevel>"
    "<cis:goodsItem><cis:commodity><cis:descriptionOfGoods>goods {0}</cis:descriptionOfGoods></cis:commodity></cis:goodsItem>"
)
BUILD: dict[str, Callable[[range], bytes]] = {
    "XFZB": partial(replace_houses, "xfzb_house.xml", "ram:IncludedHouseConsignment", XFZB),
    "XFHL": partial(replace_houses, "xfhl_manifest.xml", "IncludedHouseConsignment", XFHL),
    "ICS2": partial(replace_houses, "ics2_f43.xml", "cis:consignmentHouseLevel", ICS2),
    "FHL": build_fhl,
    "ONE Record": build_graph,
}


@pytest.mark.parametrize("count", [1, 2, 3, 300])
@pytest.mark.parametrize("kind", BUILD)
def test_each_reader_gives_one_consignment_for_each_house(kind: str, count: int) -> None:
    found = read_messages([BUILD[kind](range(1, count + 1))])
    assert not found.rejects
    goods = {(c.consignment_id.rpartition("/")[2], (c.description or "").lower()) for c in found.consignments}
    assert len(found.consignments) == count
    if count > 1 or kind != "XFZB":  # the number of a lone house stands in the head
        assert goods == {(f"H{n}", f"goods {n}") for n in range(1, count + 1)}
