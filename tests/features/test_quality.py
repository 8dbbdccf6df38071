"""Quality codes are features of a message; a consignment that came as a table has none."""

from math import isnan

import msgspec
from support.described import build_pipeline, describe_by_name
from support.examples import make_consignment

from consignments.messages.quality import QUALITY_CODES

PIPELINE = build_pipeline()


def values(**changes: object) -> dict[str, float]:
    found = describe_by_name(PIPELINE, msgspec.structs.replace(make_consignment(), **changes))
    return {name: value for name, value in found.items() if name.startswith("quality.")}


def test_each_code_is_a_flag_and_all_are_counted() -> None:
    found = values(quality=("hs_missing", "check_digit"))
    assert found["quality.codes"] == 2
    assert {name for name, value in found.items() if value == 1} == {
        "quality.hs_missing",
        "quality.check_digit",
    }
    assert len(found) == len(QUALITY_CODES) + 1


def test_a_message_without_doubts_has_flags_that_are_false() -> None:
    assert set(values(level="house").values()) == {0.0}


def test_what_came_as_a_table_was_not_judged() -> None:
    assert all(isnan(value) for value in values().values())


def test_a_code_that_this_version_does_not_know_is_counted_only() -> None:
    found = values(quality=("code_of_another_version",))
    assert found["quality.codes"] == 1
    assert sum(found.values()) == 1
