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


def test_a_table_of_open_quotation_marks_ends_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_rows, "MAX_FAULTS", 100)
    begun, content = time.process_time(), b"number,from\n" + b'a","\n' * 200_000
    found = read_messages([content], mappings=[parse_mapping('[record]\nconsignment_id = "number"\n', "m")])
    assert time.process_time() - begun < 10
    assert len(found.rejects) == 100
    assert "nothing from there on was read" in str(found.rejects[-1])


@pytest.mark.parametrize("arrays", [0, 1, 2])
def test_a_body_has_a_limit_of_messages_with_the_members_of_its_arrays(arrays: int) -> None:
    known, rejects = json.dumps(piece("RB1")).encode(), {}
    for count in (10_000, 10_001):
        messages = [known, *[b"{}"] * (count // 2 - 1)] * 2 + [known] * (count % 2)
        half = len(messages) // 2
        parts = {0: [], 1: [messages], 2: [messages[:half], messages[half:]]}[arrays]
        content = b"".join(b"[%b]" % b",".join(part) for part in parts) or b"".join(messages)
        found = read_entries(content, datetime(2026, 3, 12, tzinfo=UTC))
        rejects[count] = [str(each) for each in found.rejects]
    assert len(rejects[10_000]) == 9_998
    (told,) = rejects[10_001]
    assert "too many messages in one body; expected at most 10,000; send several bodies" in told


def test_members_of_an_array_stay_as_they_were_written() -> None:
    text = b'[{"a": 0.10, "b": "\\u00e9"}, 1e999 , [ ]]'
    assert split_array(text) == [b'{"a": 0.10, "b": "\\u00e9"}', b"1e999", b"[ ]"]


def piece(identifier: str) -> dict[str, object]:
    return {"barcode": identifier, "senderName": "S", "recipient": "R", "contents": [{"contentPieceDescription": "goods", "contentPieceHsCode": "090210"}]}  # fmt: skip


def test_an_identifier_that_a_body_repeats_is_noted() -> None:
    text = load("xfzb_house.xml")
    notes = read_entries(text + changed(text, ("2.", "3.")), datetime(2026, 3, 12, tzinfo=UTC)).notes
    assert notes == ("2 times in one body: 160-48103823/WHX26030917",)
