"""Messages of a batch or a body: their entries and rejects stand in their order, none hurts another, and none is lost without a word."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from textwrap import wrap
from typing import Any

import pytest
from support.messages import HOUSE, changed, load, read_messages

from consignments.messages import reading
from consignments.messages.content.trees import split_array
from consignments.messages.entries import Version, build_declaration
from consignments.messages.onerecord.waybills import OneRecordLinker
from consignments.messages.parsed import Declaration, Ignored, Parsed
from consignments.messages.post import csv_rows
from consignments.messages.post.mapping import parse_mapping
from consignments.messages.reading import ReadOptions, link_documents, parse_messages, read_entries
from consignments.messages.sources import RawMessage
from consignments.messages.spool import Finding, Spool, Topic

COUNT, CAME = 97, datetime(2026, 3, 12, tzinfo=UTC)
GOODS = {"contentPieceDescription": "goods", "contentPieceHsCode": "090210"}
PIECE = {"barcode": "RB1", "senderName": "S", "recipient": "R", "contents": [GOODS]}


def build_house(number: int) -> bytes:
    return HOUSE.read_bytes().replace(b"WHX26030917", b"H%d" % number)


def read_batch(contents: list[bytes]) -> list[Finding]:
    options = ReadOptions(received_at=CAME)
    return parse_messages([RawMessage(f"m{place}", each) for place, each in enumerate(contents)], options)


def list_found(findings: list[Finding], topic: Topic) -> list[Any]:
    spool = Spool(None)
    spool.add(findings)
    found = list(spool.read(topic))
    spool.remove()
    return found


def list_houses(findings: list[Finding]) -> list[int]:
    records = [each.record for each in list_found(findings, Topic.VERSION)]
    return [int(record.consignment_id.rpartition("/H")[2]) for record in records]


def test_entries_and_rejects_stand_in_the_order_of_their_messages() -> None:
    contents = [build_house(number) for number in range(COUNT)]
    for number in range(5, COUNT, 10):
        contents[number] = contents[number][:900]
    result = read_batch(contents)
    assert list_houses(result) == [number for number in range(COUNT) if number % 10 != 5]
    places = [reject.place for reject in list_found(result, Topic.REJECT)]
    assert places == [f"m{number}" for number in range(5, COUNT, 10)]
    assert list_found(result, Topic.KIND) == ["XFZB"] * COUNT


def test_a_house_that_comes_again_in_its_message_is_flagged_after_any_number_of_others() -> None:
    lines = [f"HBS/H{number}/PVGICN/1/K1//TOYS" for number in (*range(COUNT), 0)]
    result = read_batch(["\n".join(["FHL/4", f"MBI/160-48103823PVGICN/T{COUNT + 1}K1", *lines]).encode()])
    assert list_houses(result) == [*range(COUNT), 0]
    codes = [each.record.quality or () for each in list_found(result, Topic.VERSION)]
    assert ["identifier_repeated" in each for each in codes] == [False] * COUNT + [True]


def test_a_consignment_that_no_entry_can_be_made_of_is_a_reject_and_the_others_stand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail_on_one(declaration: Declaration, *times: datetime | None) -> Version:
        if declaration.fields["consignment_id"].endswith("/H7"):
            raise ValueError(declaration.fields["consignee_name"])
        return build_declaration(declaration, *times)

    monkeypatch.setattr(reading, "build_declaration", fail_on_one)
    result = read_batch([build_house(number) for number in range(10)])
    assert list_houses(result) == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    (reject,) = list_found(result, Topic.REJECT)
    told = "the reader failed on it (ValueError); report it with the message"
    assert (reject.place, reject.reason) == ("m7", told)


def test_a_reader_that_fails_on_linked_documents_rejects_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    waybill = b'{"@type": "Waybill", "waybillNumber": "180-1234567%d"}'
    documents = [RawMessage(f"{n}.json", waybill % n) for n in (1, 2, 3)]

    def fail_after_the_first(linker: OneRecordLinker) -> Iterator[tuple[str, Parsed]]:
        yield "1.json", Ignored("ONE Record waybill", "nothing in it")
        raise ZeroDivisionError

    monkeypatch.setattr(OneRecordLinker, "read_all", fail_after_the_first)
    (result,) = link_documents(documents, ReadOptions())
    told = [(each.place, "ZeroDivisionError" in each.reason) for each in list_found(result, Topic.REJECT)]
    assert told == [("2.json", True), ("3.json", True)]


def test_a_table_of_open_quotation_marks_ends_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows, "MAX_FAULTS", 100)
    begun, content = time.process_time(), b"number,from\n" + b'a","\n' * 200_000
    found = read_messages([content], mappings=[parse_mapping('[record]\nconsignment_id = "number"\n', "m")])
    assert time.process_time() - begun < 10
    assert len(found.rejects) == 100
    assert "nothing from there on was read" in str(found.rejects[-1])


def test_the_lines_of_a_row_at_fault_are_read_again_in_linear_time() -> None:
    begun = time.process_time()
    assert len([*csv_rows.read_rows(b'a,b\n1,"x\n' + b"\n" * 49_000, {"a"})]) == 1
    assert time.process_time() - begun < 4  # 0.2 s; 19 s if each line reads all behind it again


@pytest.mark.parametrize(("arrays", "count"), [(0, 10_001), (1, 10_000), (1, 10_001), (2, 10_001)])
def test_a_body_has_a_limit_of_messages_with_the_members_of_its_arrays(arrays: int, count: int) -> None:
    known = json.dumps(PIECE).encode()
    messages = [known, *[b"{}"] * (count // 2 - 1)] * 2 + [known] * (count % 2)
    half = len(messages) // 2
    parts = {0: [], 1: [messages], 2: [messages[:half], messages[half:]]}[arrays]
    content = b"".join(b"[%b]" % b",".join(part) for part in parts) or b"".join(messages)
    rejects = [str(each) for each in read_entries(content, CAME).rejects]
    if count == 10_000:
        assert len(rejects) == 9_998
    else:
        (told,) = rejects
        assert "too many messages in one body; expected at most 10,000; send several bodies" in told


def test_members_of_an_array_stay_as_they_were_written() -> None:
    text = b'[{"a": 0.10, "b": "\\u00e9"}, 1e999 , [ ]]'
    assert split_array(text) == [b'{"a": 0.10, "b": "\\u00e9"}', b"1e999", b"[ ]"]


LABEL = "JVBERi0xLjQK" * 20_000


@pytest.mark.parametrize("mapping", ["", '[record]\nconsignment_id = "number"\ndescription = "goods"\n'])
@pytest.mark.parametrize("form", ["json", "lines", "xml"])
def test_a_label_before_the_declaration_hides_no_name(form: str, mapping: str) -> None:
    fields = {"number": "RB1", "goods": "tea"} if mapping else PIECE
    label = "\r\n".join(wrap(LABEL, 76)) if form == "lines" else LABEL
    content = json.dumps({"label": label, **fields}) if form != "xml" else ""
    if form == "xml":
        goods = "".join(f"<{name}>tea</{name}>" for name in GOODS)
        rest = "".join(f"<{name}>RB1</{name}>" for name in fields if name != "contents")
        content = f"<a><label>{label}</label>{rest}<contents>{goods}</contents></a>"
    mappings = [parse_mapping(mapping, "m")] if mapping else []
    found = read_entries(content.encode(), CAME, mappings)
    assert [each.record.consignment_id for each in found.entries if isinstance(each, Version)] == ["RB1"]


def test_an_identifier_that_a_body_repeats_is_noted() -> None:
    text = load("xfzb_house.xml")
    notes = read_entries(text + changed(text, ("2.", "3.")), CAME).notes
    assert notes == ("2 times in one body: 160-48103823/WHX26030917",)
