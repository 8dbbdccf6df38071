"""Messages of every kind, one case a line: what becomes of each record, how masters, houses and versions are linked, and what is rejected."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
import pytest
from support.cases import read_cases
from support.messages import MESSAGES, build_message, read_messages

from consignments.messages.post.mapping import MessageMapping, load_mapping, parse_mapping
from consignments.messages.quality import DERIVED_CODES


def load_mappings(text: str) -> list[MessageMapping]:
    if text.endswith(".toml"):
        return [load_mapping(MESSAGES / text)]
    return [parse_mapping(text, "m.toml")] if text else []


def check_rows(rows: Iterable[Any], expected: list[dict[str, Any]]) -> None:
    """Claim some values of each row; `doubts` are the codes of its reader alone."""
    for row, values in zip(rows, expected, strict=True):
        found = msgspec.json.decode(msgspec.json.encode(row))
        found["doubts"] = [code for code in found.get("quality") or () if code not in DERIVED_CODES]
        assert found | values == found


@pytest.mark.parametrize("case", read_cases("message_cases"))
def test_messages_are_read_as_their_line_says(case: dict[str, Any]) -> None:
    """Each line has a claim, messages, which may come in any order, a mapping or none, and what is expected.

    `read` and `states` have some values of each row, null if one is missing; `read` may have identifiers alone.
    `rejects`, `ignored` and `notes` have words of each, and `warnings` those of each row, empty if it has none.
    """
    messages = [build_message(each) for each in case["messages"]]
    for given in (messages, messages[::-1]) if case.get("any_order") else (messages,):
        check_case(given, case)


def check_case(messages: list[bytes], case: dict[str, Any]) -> None:
    came, read = case.get("received_at"), case.get("read", [])
    received_at, mappings = came and datetime.fromisoformat(came), load_mappings(case.get("mapping", ""))
    found = read_messages(messages, received_at=received_at, mappings=mappings)
    assert found.repeats == case.get("repeats", found.repeats)
    if all(isinstance(each, str) for each in read):
        assert sorted(c.consignment_id for c in found.consignments) == sorted(read), found.rejects
    else:
        check_rows(found.consignments, read)
    check_rows(found.states, case.get("states", []))
    for topic in ("rejects", *({"ignored", "notes"} & case.keys())):
        for words, text in zip(case.get(topic, []), getattr(found, topic), strict=True):
            assert words in str(text)
    for words, text in zip(case.get("warnings", found.warnings), found.warnings, strict=True):
        assert words in text if words else not text
