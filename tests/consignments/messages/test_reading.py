"""Messages of a batch: their entries and rejects stand in their order, and none hurts another."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from support.messages import HOUSE

from consignments.messages import reading
from consignments.messages.entries import Version, build_declaration
from consignments.messages.onerecord.waybills import OneRecordLinker
from consignments.messages.parsed import Declaration, Ignored, Parsed
from consignments.messages.reading import ReadOptions, link_documents, parse_messages
from consignments.messages.sources import RawMessage
from consignments.messages.spool import BatchResult, Spool
from consignments.records import Consignment

COUNT = 97


def build_house(number: int) -> bytes:
    return HOUSE.read_bytes().replace(b"WHX26030917", b"H%d" % number)


def read_batch(contents: list[bytes]) -> BatchResult:
    options = ReadOptions(received_at=datetime(2026, 3, 12, tzinfo=UTC))
    return parse_messages([RawMessage(f"m{place}", each) for place, each in enumerate(contents)], options)


def list_records(result: BatchResult) -> list[Consignment]:
    """List the records of the houses in the order of their entries."""
    spool = Spool(None)
    spool.add_result(result)
    found = [each.record for each in spool.read_entries() if isinstance(each, Version)]
    spool.remove()
    return found


def list_houses(result: BatchResult) -> list[int]:
    return [int(record.consignment_id.rpartition("/H")[2]) for record in list_records(result)]


def test_entries_and_rejects_stand_in_the_order_of_their_messages() -> None:
    contents = [build_house(number) for number in range(COUNT)]
    for number in range(5, COUNT, 10):
        contents[number] = contents[number][:900]
    result = read_batch(contents)
    assert list_houses(result) == [number for number in range(COUNT) if number % 10 != 5]
    assert [reject.place for reject in result.rejects] == [f"m{number}" for number in range(5, COUNT, 10)]
    assert result.counts["kind", "XFZB"] == COUNT


def test_a_house_that_comes_again_in_its_message_is_flagged_after_any_number_of_others() -> None:
    lines = [f"HBS/H{number}/PVGICN/1/K1//TOYS" for number in (*range(COUNT), 0)]
    result = read_batch(["\n".join(["FHL/4", f"MBI/160-48103823PVGICN/T{COUNT + 1}K1", *lines]).encode()])
    assert list_houses(result) == [*range(COUNT), 0]
    flagged = ["identifier_repeated" in (each.quality or ()) for each in list_records(result)]
    assert flagged == [False] * COUNT + [True]


def test_a_consignment_that_no_entry_can_be_made_of_is_a_reject_and_the_others_stand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail_on_one(declaration: Declaration, received_at: datetime) -> Version:
        if declaration.fields["consignment_id"].endswith("/H7"):
            raise ValueError(declaration.fields["consignee_name"])
        return build_declaration(declaration, received_at)

    monkeypatch.setattr(reading, "build_declaration", fail_on_one)
    result = read_batch([build_house(number) for number in range(10)])
    assert list_houses(result) == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    (reject,) = result.rejects
    assert (reject.place, reject.reason) == (
        "m7",
        "the reader failed on it (ValueError); report it with the message",
    )


def test_a_reader_that_fails_on_linked_documents_rejects_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [
        RawMessage(f"{n}.json", b'{"@type": "Waybill", "waybillNumber": "180-1234567%d"}' % n)
        for n in (1, 2, 3)
    ]

    def fail_after_the_first(linker: OneRecordLinker) -> Iterator[tuple[str, Parsed]]:
        yield "1.json", Ignored("ONE Record waybill", "nothing in it")
        raise ZeroDivisionError

    monkeypatch.setattr(OneRecordLinker, "read_all", fail_after_the_first)
    (result,) = link_documents(documents, ReadOptions())
    assert [(each.place, "ZeroDivisionError" in each.reason) for each in result.rejects] == [
        ("2.json", True),
        ("3.json", True),
    ]
