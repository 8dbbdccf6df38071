"""Customs notes of air cargo (OCI): kept raw, and decoded into the record.

A note is country, subject, code and content. The codes of the enhanced US air-cargo advance screening say how long a
shipper's account exists and how it pays, which no other part of a waybill does (19 CFR 122.48b; IATA list of OCI codes).
The meanings in the record are ours.
"""

from collections.abc import Sequence
from datetime import date
from typing import Any, NamedTuple

from consignments.messages.configuration import load_table
from consignments.messages.content.values import Doubts, build_date, parse_short_date

_CODES = load_table("air/customs_codes")
PAYMENTS: dict[str, str] = _CODES["payments"]
SERVICES: dict[str, str] = _CODES["services"]
SUBJECTS = {"sender": "SHP", "consignee": "CNE"}
CUSTOMER, CONSIGNEE_HOLDS = "CUS", "C"
"""The subject of the account's own notes, and the code of its holder if that is the consignee."""
FULL_DATE_DIGITS = 8


class CustomsNote(NamedTuple):
    """One note; an empty part is the empty string."""

    country: str
    subject: str
    code: str
    content: str


def decode_notes(notes: Sequence[CustomsNote], doubts: Doubts) -> tuple[dict[str, Any], dict[str, Any]]:
    """Decode the notes of one waybill, by column of the record and by extra column; what they do not say is left out."""
    if not notes:
        return {}, {}
    codes: dict[str, str] = {}
    by_subject: dict[str, dict[str, str]] = {}
    for _, subject, code, content in notes:
        if content:
            codes.setdefault(code, content)
            by_subject.setdefault(subject, {}).setdefault(code, content)
    fields = {
        "account_id": codes.get("AR"),
        "account_opened_on": _read_account_date(codes["AE"], doubts) if "AE" in codes else None,
        "service": SERVICES.get(codes.get("FT", "")),
        "nature": _CODES["natures"].get(codes.get("RT", "").upper()),
        "payment": PAYMENTS.get(codes.get("BT", "").upper()),
    }
    extras: dict[str, Any] = {
        column: codes[code] for code, column in _CODES["extras"].items() if code in codes
    }
    extras["customs_notes"] = "\n".join(map("/".join, notes))
    extras["known_consignor"] = _CODES["known"].get(codes.get("KP", "").upper())
    holder = "consignee" if codes.get("AH", "").upper() == CONSIGNEE_HOLDS else "sender"
    for prefix, subject in SUBJECTS.items():
        own = by_subject.get(subject, {})
        if prefix == holder and CUSTOMER in by_subject:
            own = by_subject[CUSTOMER] | own
        user, domain = own.get("VU") or own.get("MU"), own.get("VD") or own.get("MD")
        fields[f"{prefix}_phone"] = own.get("VP") or own.get("CT")
        fields[f"{prefix}_email"] = f"{user}@{domain}" if user and domain else None
        extras[f"{prefix}_phone_verified"] = "yes" if "VP" in own else None
        extras[f"{prefix}_email_verified"] = "yes" if own.get("VU") and own.get("VD") else None
    return (
        {name: value for name, value in fields.items() if value is not None},
        {name: value for name, value in extras.items() if value},
    )


def _read_account_date(text: str, doubts: Doubts) -> date | None:
    """Read the day an account was opened, in either of its two forms: 01202023 and 20JAN23."""
    digits = text.strip()
    if len(digits) == FULL_DATE_DIGITS and digits.isascii() and digits.isdigit():
        found = build_date(int(digits[4:]), int(digits[:2]), int(digits[2:4]))
    else:
        found = parse_short_date(digits)
    if found is None:
        doubts.note("number_malformed", "account_opened_on")
    return found
