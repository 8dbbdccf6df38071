"""Check digits are reported, never enforced, and numbers are read in all their forms."""

import pytest

from consignments.identifiers import (
    compute_check_digit,
    format_awb_number,
    has_valid_check_digit,
    parse_awb,
    parse_s10,
)

VALID = ("RB123456785GB", "EE000000005VN", "RA473124829CA", "ra 473 124 829 ca")
WRONG = ("CP001020301BR", "RB123456784GB")
OF_NO_FORM = ("", "RB12345678GB", "R1123456785GB", "RB123456785G١", "RB١23456785GB", "X" * 90)
CASES = dict.fromkeys(VALID, True) | dict.fromkeys(WRONG, False) | dict.fromkeys(OF_NO_FORM)


@pytest.mark.parametrize(("identifier", "holds"), CASES.items())
def test_a_check_digit_holds_is_wrong_or_unknown(identifier: str, holds: bool | None) -> None:
    assert has_valid_check_digit(identifier) is holds


def test_a_check_digit_of_ten_becomes_zero_and_eleven_becomes_five() -> None:
    assert parse_s10("RB123456785GB") == ("RB", "12345678", 5, "GB")
    assert compute_check_digit("00000000") == 5
    assert {compute_check_digit(f"{n:08d}") for n in range(200)} == set(range(10))


@pytest.mark.parametrize(
    ("written", "number", "house", "holds"),
    [
        ("057-51987552", "057-51987552", "", True),
        ("05751987552", "057-51987552", "", True),
        ("057 51987552", "057-51987552", "", True),
        (" 057-51987552 ", "057-51987552", "", True),
        ("057-51987552/SZX1", "057-51987552", "SZX1", True),
        ("057-51987553/H/1", "057-51987553", "H/1", False),
    ],
)
def test_waybill_numbers_read_alike_in_all_forms(written: str, number: str, house: str, holds: bool) -> None:
    parts = parse_awb(written)
    assert parts is not None
    assert (parts.number, parts.house, parts.check_holds) == (number, house, holds)
    assert format_awb_number(written) == number


@pytest.mark.parametrize("other", ["MEDU9876543", "USJFKAGBLALAAUN40001002000120", ""])
def test_a_number_that_is_no_waybill_stays_as_it_is(other: str) -> None:
    assert format_awb_number(other) == other
