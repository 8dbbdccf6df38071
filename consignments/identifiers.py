"""S10 item identifiers and air waybill numbers: their parts and check digits.

A wrong check digit is a feature, never a reason to refuse a record: published examples of both kinds fail the check.
"""

import re
import unicodedata
from functools import lru_cache
from operator import mul
from typing import NamedTuple

S10_FORM = re.compile(r"([A-Z]{2})(\d{8})(\d)([A-Z]{2})", re.ASCII)
AWB_FORM = re.compile(r"(\d{3})[- ]?(\d{7})(\d)(?:/(.+))?", re.ASCII | re.DOTALL)
AWB_NUMBER_FORM = re.compile(r"\d{11}", re.ASCII)
S10_WEIGHTS = (8, 6, 4, 2, 3, 5, 9, 7)
"""Weights of the eight digits in UPU standard S10."""
S10_EXCEPTIONS = {10: 0, 11: 5}
AWB_MODULUS = 7


class S10(NamedTuple):
    """The parts of an S10 identifier, `RB 12345678 5 GB`, and whether its check digit matches the serial number."""

    service: str
    country: str
    check_holds: bool


class Awb(NamedTuple):
    """An air waybill number in its written form, `057-51987552`, and the house under it, which `057-51987552/H1` has.

    The check digit holds if it is the serial number modulo 7.
    """

    number: str
    house: str
    check_holds: bool


def compute_check_digit(serial: str) -> int:
    """Compute the check digit of eight digits."""
    # The code of a digit is 48 more than the digit, and 48 times the sum of the weights is a multiple of 11.
    total: int = sum(map(mul, S10_WEIGHTS, serial.encode()))
    check = 11 - total % 11
    return S10_EXCEPTIONS.get(check, check)


def parse_s10(identifier: str) -> S10 | None:
    """Parse an S10 identifier, ignoring spaces and case; return None if it is not one."""
    found = S10_FORM.fullmatch(identifier.replace(" ", "").upper())
    if not found:
        return None
    service, serial, check, country = found.groups()
    return S10(service, country, int(check) == compute_check_digit(serial))


def parse_awb(text: str) -> Awb | None:
    """Parse an air waybill number in any written form, with or without a house after a slash; return None if it is not one."""
    found = AWB_FORM.fullmatch(text.strip())
    if not found:
        return None
    prefix, serial, check, house = found.groups("")
    return Awb(f"{prefix}-{serial}{check}", house, int(serial) % AWB_MODULUS == int(check))


def format_awb_number(text: str) -> str:
    """Return the air waybill number of a text in its written form, without a house; any other text as it is."""
    awb = parse_awb(text)
    return text if awb is None else awb.number


@lru_cache(maxsize=1024)  # one request asks several times for the same
def normalize_identifier(identifier: str) -> str:
    """Return the form in which identifiers of consignments are compared.

    It is NFC without spaces at the ends. S10 identifiers and air waybill numbers have capitals and neither spaces nor
    hyphens; a house's number stays as it is.
    """
    if identifier.isascii() and identifier.isalnum() and identifier.isupper():
        return identifier
    text = unicodedata.normalize("NFC", identifier).strip()
    if not text:
        return identifier
    number, slash, house = text.partition("/")
    compact = number.replace(" ", "").replace("-", "")
    if AWB_NUMBER_FORM.fullmatch(compact):
        return compact + slash + house
    compact = compact.upper()
    return compact if not slash and S10_FORM.fullmatch(compact) else text


def has_valid_check_digit(consignment_id: str) -> bool | None:
    """Check the check digit of a consignment's identifier; return None if the identifier has no known form."""
    identifier = normalize_identifier(consignment_id)
    parts = parse_s10(identifier) or parse_awb(identifier)
    return None if parts is None else parts.check_holds


NAMED_NUMBER = re.compile(rb"\b(?:[A-Z]{2}\d{9}[A-Z]{2}|\d{3}-\d{8})\b")


def find_identifier(content: bytes) -> str:
    """Find the first S10 identifier or air waybill number in a message that cannot be read; empty if there is none."""
    found = NAMED_NUMBER.search(content)
    return "" if found is None else found[0].decode()
