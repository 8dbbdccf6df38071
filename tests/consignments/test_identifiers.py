"""Check digits are told, never enforced."""

import pytest

from consignments.identifiers import (
    compute_check_digit,
    format_awb_number,
    has_valid_check_digit,
    parse_awb,
    parse_s10,
)


@pytest.mark.parametrize(
    "identifier", ["RB123456785GB", "EE000000005VN", "RA473124829CA", "ra 473 124 829 ca"]
)
def test_published_s10_identifiers_hold(identifier: str) -> None:
    assert has_valid_check_digit(identifier) is True


@pytest.mark.parametrize("identifier", ["CP001020301BR", "RB123456784GB"])
def test_a_wrong_s10_digit_is_told(identifier: str) -> None:
    assert has_valid_check_digit(identifier) is False


@pytest.mark.parametrize(
    "identifier", ["", "RB12345678GB", "R1123456785GB", "RB123456785G١", "RB١23456785GB", "X" * 90]
)
def test_what_has_no_known_form_has_no_check_digit(identifier: str) -> None:
    assert has_valid_check_digit(identifier) is None


def test_a_check_digit_of_ten_becomes_zero_and_eleven_becomes_five() -> None:
    assert compute_check_digit("00000000") == 5
    assert {compute_check_digit(f"{n:08d}") for n in range(200)} == set(range(10))


def test_the_parts_of_an_s10_identifier() -> None:
    parts = parse_s10("RB123456785GB")
    assert parts is not None
    assert (parts.service, parts.serial, parts.check, parts.country) == ("RB", "12345678", 5, "GB")


@pytest.mark.parametrize("written", ["057-51987552", "05751987552", "057 51987552", " 057-51987552 "])
def test_a_waybill_number_reads_alike_in_all_its_forms(written: str) -> None:
    parts = parse_awb(written)
    assert parts is not None
    assert parts.number == "057-51987552"
    assert parts.check_holds
    assert parts.house == ""


def test_a_house_is_read_behind_its_waybill() -> None:
    parts = parse_awb("057-51987553/H/1")
    assert parts is not None
    assert parts.house == "H/1"
    assert not parts.check_holds


@pytest.mark.parametrize("written", ["05751987552", "057 51987552", "057-51987552/SZX1"])
def test_the_number_of_a_master_has_one_written_form(written: str) -> None:
    assert format_awb_number(written) == "057-51987552"


@pytest.mark.parametrize("other", ["MEDU9876543", "USJFKAGBLALAAUN40001002000120", ""])
def test_a_number_that_is_no_waybill_stays_as_it_is(other: str) -> None:
    assert format_awb_number(other) == other
