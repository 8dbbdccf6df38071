"""How much of public interfaces a draft reads without an edit: samples by hand with the names of their documentation, each with its source.

`python -m pytest -s` with this file prints the figures. The third set was read once before any rule was made from it.
"""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from support.cases import DATA
from support.messages import read_messages

from consignments.messages.post.drafting import Draft, draft_mapping
from consignments.messages.post.mapping import parse_mapping
from consignments.records import Consignment

LINES = (DATA / "interfaces.jsonl").read_text(encoding="utf-8").splitlines()
INTERFACES: list[dict[str, Any]] = [json.loads(line) for line in LINES]
TOLERANCE = 0.002
ASKED = {"weight": ("weight", "basis"), "value": ("value", "amounts")}
"""Questions about units in a draft that mark weights, and amounts, as not sure."""


def is_alike(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, int | float):
        return isinstance(found, int | float) and found == pytest.approx(wanted, TOLERANCE, TOLERANCE)
    one, other = (" ".join(str(each).replace(",", " ").lower().split()) for each in (found, wanted))
    return one == other or (one[:10] == other[:10] and one[:4].isdecimal() and one[4:5] == "-")


def is_marked(draft: Draft, column: str, *, in_items: bool) -> bool:
    guesses = draft.items if in_items else draft.record
    asked = next((words for name, words in ASKED.items() if name in column), ())
    units = [line for line in draft.text.partition("[units]")[2].splitlines() if "unsure" in line]
    return any(each.doubt for each in guesses if each.column == column) or any(
        word in line for word in asked for line in units
    )


def list_values(truth: dict[str, Any], found: Consignment | None) -> Iterator[tuple[bool, str, Any, Any]]:
    """Yield whether it is of goods, the column, what was read, and all that would be right."""
    record = {} if found is None else msgspec.json.decode(msgspec.json.encode(found))
    wanted = truth.get("items", [])
    whole = record | {"quantity": record.get("pieces"), "value": record.get("declared_value")}
    whole |= {"net_weight_kg": record.get("gross_weight_kg")}
    goods = record.get("items") or [whole] * (len(wanted) == 1)
    for in_items, one, other in (
        (False, truth, record),
        *((True, *pair) for pair in zip(wanted, goods, strict=False)),
    ):
        for column, value in one.items():
            if column not in ("items", "also"):
                yield in_items, column, other.get(column), [value, *one.get("also", {}).get(column, ())]
    for missing in wanted[len(goods) :]:
        yield from ((True, column, None, [value]) for column, value in missing.items() if column != "also")


def judge(case: dict[str, Any]) -> Counter[str]:
    content = case["message"].encode()
    draft = draft_mapping([(case["interface"], content)])
    found = read_messages([content], mappings=[parse_mapping(draft.text, "draft")]).consignments
    read = found if len(found) == len(case["records"]) else [None] * len(case["records"])
    counts = Counter[str]()
    for truth, record in zip(case["records"], read, strict=True):
        for in_items, column, value, wanted in list_values(truth, record):
            if any(is_alike(value, each) for each in wanted):
                counts["right"] += 1
            elif value is None:
                counts["missing"] += 1
            else:
                counts["marked" if is_marked(draft, column, in_items=in_items) else "wrong"] += 1
    return counts


def test_drafts_read_most_of_what_interfaces_say_and_mark_what_they_may_misread() -> None:
    sets: dict[str, Counter[str]] = {}
    for case in INTERFACES:
        sets.setdefault(case["set"], Counter()).update(found := judge(case))
        print(f"{case['interface']:<22}", dict(found))
    for name, counts in sets.items():
        shares = {kind: counts[kind] / counts.total() for kind in ("right", "wrong", "marked", "missing")}
        print(
            f"{name} set, {counts.total()} values:", {kind: f"{share:.1%}" for kind, share in shares.items()}
        )
        assert shares["right"] >= 0.8
        assert shares["wrong"] <= 0.03
