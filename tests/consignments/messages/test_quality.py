"""Quality codes: each follows from the fields of a declaration, whatever its format."""

from typing import Any

import pytest
from support.messages import ROOT, check_quality

from consignments.messages.quality import QUALITY_CODES, sort_codes

GOOD: dict[str, Any] = {
    "consignment_id": "RB123456785GB",
    "channel": "postal",
    "nature": "sale",
    "sender_name": "A. Smith",
    "sender_address": "1 Mill Lane",
    "sender_postcode": "LS1 4AP",
    "sender_country": "GB",
    "consignee_name": "Kim Min-su",
    "consignee_address": "Sejong-daero 110",
    "consignee_postcode": "04524",
    "consignee_country": "KR",
    "description": "black tea",
    "hs_code": "090230",
    "pieces": 3.0,
    "gross_weight_kg": 0.9,
    "declared_value": 30.0,
    "postage": 12.0,
}
AIR = GOOD | {"channel": "air_cargo", "consignment_id": "180-12345675/SHA0091", "master_id": "180-12345675"}
MASTER = AIR | {"level": "master", "description": None, "items": None}
TEA = {"description": "tea", "hs_code": "090230"}


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("price_equals_weight", {"declared_value": 0.9}),
        ("price_equals_weight", {"postage": 0.9}),
        ("price_equals_weight", {"items": [TEA | {"value": 2.5, "net_weight_kg": 2.5}]}),
        ("description_vague", {"description": "GIFTS"}),
        ("description_vague", {"description": "Spare Parts."}),
        ("description_vague", {"description": "gift, toys"}),
        ("description_vague", {"description": "선물"}),
        ("description_vague", {"items": [TEA, TEA | {"description": "samples"}]}),
        ("description_missing", {"description": None}),
        ("description_missing", {"description": "12345"}),
        ("description_missing", {"description": " . - "}),
        ("description_admin_text", {"description": "FREIGHT PREPAID Ref No. 4711 TOP URGENT CARGO"}),
        ("description_admin_text", {"description": "AS PER INVOICE NO 7788"}),
        ("repeated_letters", {"description": "XXX"}),
        ("repeated_letters", {"sender_name": "AAAA Trading"}),
        ("repeated_letters", {"consignee_address": "zzzzzz 5"}),
        ("hs_missing", {"hs_code": None}),
        ("hs_missing", {"hs_code": None, "nature": None}),
        ("hs_missing", {"items": [TEA, {"description": "cups"}]}),
        ("hs_invalid", {"hs_code": "000111"}),
        ("hs_invalid", {"hs_code": "1133557799"}),
        ("hs_invalid", {"hs_code": "0902"}),
        ("hs_invalid", {"hs_code": "tea"}),
        ("hs_invalid", MASTER | {"hs_code": "000111"}),
        ("postcode_missing", {"consignee_postcode": None}),
        ("address_missing", {"sender_address": None}),
        ("address_missing", {"sender_address": "12"}),
        ("sender_missing", {"sender_name": None}),
        ("sender_missing", {"sender_name": "12345"}),
        ("consignee_missing", {"consignee_name": "--"}),
        ("check_digit", {"consignment_id": "CP001020301BR"}),
        ("check_digit", AIR | {"master_id": "180-12345676", "consignment_id": "180-12345676/H"}),
        ("identifier_missing", {"consignment_id": "unidentified:0011"}),
        ("identifier_malformed", {"consignment_id": "PARCEL-1"}),
        ("identifier_malformed", AIR | {"master_id": "18-1", "consignment_id": "18-1/H"}),
        ("identifier_malformed", AIR | {"master_id": None, "consignment_id": "FRA-22510455"}),
        ("", {}),
        ("", {"description": "AAA batteries"}),
        ("", {"description": "gift wrapping paper"}),
        ("", {"description": "Freight prepaid, cotton shirts"}),
        ("", {"sender_name": "Henry Smith III"}),
        ("", {"hs_code": None, "nature": "gift"}),
        ("", {"hs_code": None, "nature": "documents"}),
        ("", {"hs_code": "2933.99.80"}),
        ("", {"consignee_country": "HK", "consignee_postcode": None}),
        ("", {"sender_country": None, "sender_postcode": None}),
        ("", {"declared_value": 0.0, "gross_weight_kg": 0.0}),
        ("", {"items": [TEA | {"quantity": 2.0}]}),  # pieces of post are no lines
        ("", AIR),
        ("", AIR | {"master_id": None, "consignment_id": "SHA0091"}),
        (
            "",
            AIR | {"items": [TEA | {"quantity": 20.0}, TEA | {"quantity": 5.0}]},
        ),  # a piece holds many units
        ("", MASTER | {"hs_code": "847130"}),
        ("", MASTER | {"hs_code": None}),
    ],
)
def test_a_fault_has_its_code_and_no_other_and_what_is_none_has_no_code(
    code: str, changes: dict[str, Any]
) -> None:
    assert check_quality(GOOD | changes) == ((code,) if code else ())


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
