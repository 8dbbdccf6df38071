"""Codes of customs notes (OCI) for what no other part of a waybill says."""

from collections.abc import Iterator

from consignments.messages.air.waybills import PAYMENTS, SERVICES
from consignments.records import Consignment

NATURE_CODES = {"sale": "B2C", "returned": "C2B", "other": "C2C"}
SERVICE_CODES = {service: code for code, service in SERVICES.items()}
PAYMENT_CODES = {payment: code for code, payment in PAYMENTS.items()}


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
