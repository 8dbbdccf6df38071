"""Quality codes: each follows from the fields of a declaration, whatever its format."""

import json
from typing import Any

import pytest
from support.cases import DATA, read_cases
from support.messages import ROOT, check_quality

from consignments.messages.quality import QUALITY_CODES, sort_codes

GOOD = json.loads((DATA / "good_declarations.json").read_text())


@pytest.mark.parametrize("case", read_cases("quality_codes"))
def test_a_fault_has_its_code_and_no_other_and_what_is_none_has_no_code(case: dict[str, Any]) -> None:
    """Each line has the changes of a good declaration, and its code, which is empty if it has none."""
    codes = (case["code"],) if case["code"] else ()
    assert check_quality(GOOD[case.get("of", "post")] | case["changes"]) == codes


def test_an_empty_declaration_is_missing_everything_in_the_order_of_the_codes() -> None:
    missing = ("description", "hs", "address", "sender", "consignee", "identifier")
    assert check_quality({}) == tuple(f"{each}_missing" for each in missing)
    assert sort_codes(["text_cut", "check_digit", "text_cut"]) == ("check_digit", "text_cut")
    with pytest.raises(KeyError):
        sort_codes(["unheard_of"])


def test_the_page_of_formats_has_every_code_with_its_sentence() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs").glob("formats*.md"))
    assert all(f"| `{code}` | {sentence} |" in pages for code, sentence in QUALITY_CODES.items())
    assert all(sentence.endswith(".") for sentence in QUALITY_CODES.values())
