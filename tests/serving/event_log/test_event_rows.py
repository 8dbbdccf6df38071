"""Entries as rows: the columns and the hashes of logs that were written before stay as they are."""

from typing import get_args

import pytest

from consignments.errors import ServiceFault
from serving.event_log.event_rows import HISTORY_FIELDS, EventRow, decode_history_row, decode_row, encode_row
from serving.event_log.events import ArrivalEvent, DecisionEvent, Event, OutcomeEvent
from serving.event_log.hash_chain import hash_row
from serving.event_log.tables import EVENTS

ROWS = [
    EventRow(
        1, "decision", "RB1", 10, 11, b"c", b"\x80", b"s", "k", b"keys", b"ffff", 0.25, "high", b"\x90", "nps-risk/1",
        "a", "b", "local",
    ),
    EventRow(2, "arrival", "RB2", 12, None, b"c", b"\x80", None, "k", b"keys", asked_by="import"),
    EventRow(3, "outcome", "RB1", 13, 14, b"c", b"\x80", None, asked_by="lab"),
    EventRow(4, "alert", None, 15, 16, b"c", b"\x80", b"s", asked_by="partner"),
    EventRow(5, "cancellation", "RB2", 17, None, b"c", b"\x80", None, asked_by="import"),
    EventRow(6, "selection", "RB1", 18, 18, b"c", b"\x80", None, asked_by="office"),
    EventRow(7, "removal", None, 19, 20, b"", b"\x91\x01", None),
    EventRow(8, "erasure", None, 21, 21, b"", b"\x91\x02", None),
    EventRow(9, "clock", None, 1500, 1500, b"", b"\x81", None),
    EventRow(10, "action", "RB1", 22, 22, b"c", b"\x80", b"s", asked_by="officer"),
    EventRow(11, "message", None, 23, 24, b"c", b"\x80", b"s", asked_by="partner"),
    EventRow(12, "state", "RB1", 25, 26, b"c", b"\x80", b"s", asked_by="carrier"),
    EventRow(13, "link", None, 27, 27, b"c", b"\x80", b"s", asked_by="carrier"),
]  # fmt: skip
HASHES = [
    "1321433db65c80d78adef2dd69045d0fe784d2da28bf12f2bd8c5a1158277ed5",
    "41b35acb7b94ac2f6471ac3502690003554618aa382fdd2f5a3f841b7d73c486",
    "4b950d00016979338d3be0eb20ed60e62b54b25f83cbadf3df752ff322766a07",
    "57612c076561ac9b159546eda204ca52edda13a3cb6c88a3e822d731c41ea85b",
    "9250fe9a845b1a5d60ad4995a8d34680192a4b912f3a5724a8975732d730579a",
    "10e66891ce193a12725b2a85b51af3c7f75ccfcf47234b4e4e558e6dd744f549",
    "8779ae9d34d15fde203a75b75da48083a264f6d5e5e0684671ef547f4e2bb605",
    "6755259dfbf00e5b927a0f1796ec9b827dbbf6c6f571e96efc704446ff0b5440",
    "a9050cf60890cd19470ab4138ba8be2d9cf91a956b350a868a11c23579c52d15",
    "c942cd96081f19bb52221fc92a56b49b4dfd4da2cd99817e2472f8a91b973b16",
    "baacf430f7b05746d6f06ade8a47eef838c06722eefd22e8cda2aae0e73babf1",
    "b289f420a01c531340af422ae1a9660e22ba87e88e8e1774ae6a20679a205735",
    "71621a6e27a91725d36b7ea150da7baec92b05a8520ac90dccb572fe04a811fc",
]
"""Of these entries, one after the other, as the first logs have them."""


def test_each_kind_has_a_row_here_and_the_table_has_the_columns_of_a_row() -> None:
    assert [row.kind for row in ROWS] == [
        "decision", "arrival", "outcome", "alert", "cancellation", "selection", "removal", "erasure", "clock",
        "action", "message", "state", "link",
    ]  # fmt: skip
    assert {event_type.kind for event_type in get_args(Event)} == {row.kind for row in ROWS}
    assert EVENTS.c.keys() == [*EventRow._fields, "previous_hash", "hash"]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.kind)
def test_an_entry_gives_back_the_row_it_was_made_of(row: EventRow) -> None:
    event = decode_row(row)
    assert event.kind == row.kind
    assert encode_row(event) == row
    for name in type(event).__struct_fields__:
        assert getattr(event, name) == getattr(row, name)


def test_an_entry_whose_content_was_removed_gives_back_its_row() -> None:
    row = ROWS[0]._replace(plain=b"", sealed=None, features=None, reasons=None)
    event = decode_row(row)
    assert isinstance(event, DecisionEvent)
    assert event.redacted
    assert encode_row(event) == row


def test_hashes_are_those_of_logs_that_were_written_before() -> None:
    found, previous = [], bytes(32)
    for row in ROWS:
        previous = hash_row(previous, encode_row(decode_row(row)))
        found.append(previous.hex())
    assert found == HASHES


def test_history_takes_a_decision_as_an_arrival() -> None:
    decision, arrival, outcome = (decode_history_row(row[: len(HISTORY_FIELDS)]) for row in ROWS[:3])
    assert type(decision) is type(arrival) is ArrivalEvent
    assert (decision.sequence, decision.consignment_id, decision.keys) == (1, "RB1", b"keys")
    assert outcome == OutcomeEvent(3, 13, 14, b"c", b"\x80", None, "", "RB1")


@pytest.mark.parametrize("decode", [decode_row, decode_history_row])
def test_a_kind_that_is_not_known_is_a_fault_that_names_the_entry(decode: object) -> None:
    assert callable(decode)
    with pytest.raises(ServiceFault, match=r"log entry 3: a log entry has an unknown kind; got later"):
        decode((3, "later", *ROWS[2][2:]))
