"""Parts of a consignment that several formats write: its parties, and customs notes (OCI) for what no other part of a waybill says."""

from collections.abc import Iterator

from consignments.messages.air.waybills import PAYMENTS, SERVICES
from consignments.records import Consignment

NATURE_CODES = {"sale": "B2C", "returned": "C2B", "other": "C2C"}
SERVICE_CODES = {service: code for code, service in SERVICES.items()}
PAYMENT_CODES = {payment: code for code, payment in PAYMENTS.items()}
PARTY_PARTS = ("name", "address", "city", "postcode", "country", "phone", "email")


def get_party(c: Consignment, role: str) -> dict[str, str | None]:
    """Return the parts of the sender or the consignee."""
    return {part: getattr(c, f"{role}_{part}") for part in PARTY_PARTS}


def list_notes(c: Consignment) -> Iterator[tuple[str, str]]:
    """List code and content: service, nature, payment, and the day on which the account was opened."""
    if c.service in SERVICE_CODES:
        yield "FT", SERVICE_CODES[c.service]
    if c.nature in NATURE_CODES:
        yield "RT", NATURE_CODES[c.nature]
    if c.payment in PAYMENT_CODES:
        yield "BT", PAYMENT_CODES[c.payment]
    if c.account_opened_on is not None:
        yield "AE", f"{c.account_opened_on:%m%d%Y}"
