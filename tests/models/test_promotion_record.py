"""The promotion record: a chain that shows every change, and a version approved by its very bytes."""

from datetime import UTC, datetime

import msgspec
import pytest

from consignments.errors import PromotionRefused
from models.promotion_record import GENESIS_SHA256, PromotionRecord, verify_chain


def chain(length: int = 3) -> list[PromotionRecord]:
    records: list[PromotionRecord] = []
    for number in range(1, length + 1):
        records.append(
            PromotionRecord(
                number=number,
                name="nps-risk",
                version=str(number),
                replaces=str(number - 1) if number > 1 else None,
                bundle_sha256=f"{number:064d}",
                recipe_sha256="",
                approved_by="a reviewer",
                why="better at capacity",
                approved_at=datetime(2024, 3, number, tzinfo=UTC),
                way="better",
                sentence="Better than version 1.",
                rules={},
                comparison=None,
                forced=False,
                figures=None,
                previous_sha256=records[-1].compute_sha256() if records else GENESIS_SHA256,
            )
        )
    return records


def test_an_unbroken_chain_holds() -> None:
    verify_chain(chain())


@pytest.mark.parametrize(
    "change",
    [{"why": "other words"}, {"approved_by": "someone"}, {"forced": True}, {"bundle_sha256": "f" * 64}],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_record_breaks_the_chain(change: dict[str, object]) -> None:
    records = chain()
    records[1] = msgspec.structs.replace(records[1], **change)
    with pytest.raises(PromotionRefused, match="record 3"):
        verify_chain(records)


def test_a_dropped_record_breaks_the_chain() -> None:
    records = chain()
    with pytest.raises(PromotionRefused, match="record 2"):
        verify_chain([records[0], records[2]])


def test_a_record_dated_before_the_one_that_it_follows_breaks_the_chain() -> None:
    records = chain()
    records[2] = msgspec.structs.replace(records[2], approved_at=records[1].approved_at)
    verify_chain(records)
    records[2] = msgspec.structs.replace(records[2], approved_at=records[0].approved_at)
    with pytest.raises(PromotionRefused, match="dated before the record that it follows"):
        verify_chain(records)
    with pytest.raises(PromotionRefused, match="cannot be read"):
        PromotionRecord.from_json(records[0].to_json().replace("Z", ""))


def test_a_record_is_told_to_people_with_each_rule_on_one_line() -> None:
    rule = {"held": False, "found": "a | b\nc"}
    told = msgspec.structs.replace(chain()[1], rules={"calibrated": rule}, forced=True).to_markdown()
    assert told.startswith("## Promoted by a reviewer, 2024-03-02 00:00 UTC, in place of version 1")
    assert "**Forced, against the gate.**" in told
    assert told.splitlines()[-1] == r"| calibrated | does not hold | a \| b c |"


def test_an_undecided_rule_is_not_told_as_one_that_does_not_hold() -> None:
    rule = {"held": False, "found": "7 known, about 12 more needed", "undecided": True}
    told = msgspec.structs.replace(chain()[1], rules={"calibrated": rule}).to_markdown()
    assert told.splitlines()[-1] == "| calibrated | undecided | 7 known, about 12 more needed |"


def test_a_rule_that_was_not_checked_is_not_told_as_one_that_does_not_hold() -> None:
    rule = {"held": None, "found": "no tables were given"}
    told = msgspec.structs.replace(chain()[1], rules={"training reproduced": rule}).to_markdown()
    assert told.splitlines()[-1] == "| training reproduced | not checked | no tables were given |"


def test_a_record_survives_its_json() -> None:
    record = chain()[2]
    assert PromotionRecord.from_json(record.to_json()) == record
    assert PromotionRecord.from_json(record.to_json()).compute_sha256() == record.compute_sha256()
