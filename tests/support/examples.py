"""Small literal records that tests start from."""

from datetime import UTC, datetime, timedelta
from typing import Any

from consignments.records import Consignment, Outcome

MONDAY = datetime(2024, 3, 4, 9, 0, tzinfo=UTC)
PARTIES = [f"{side}_{part}" for side in ("sender", "consignee") for part in ("name", "address", "phone")]
NOBODY: dict[str, None] = dict.fromkeys(PARTIES)
"""The fields of a consignment of which no party is known."""
PHONE = "+44 20 7946 0018"
PACKET: dict[str, Any] = {
    **{"channel": "postal", "received_at": MONDAY, "service": "small_packet", "nature": "sale"},
    **{"sender_name": "Orchid Trading Ltd", "sender_address": "12 Harbour Road", "sender_city": "London"},
    **{"sender_postcode": "E1 6AN", "sender_country": "GB", "sender_phone": PHONE},
    **{"consignee_name": "Kim Min-su", "consignee_address": "101-1203, 45 Teheran-ro"},
    **{"consignee_city": "Seoul", "consignee_postcode": "06232", "consignee_country": "KR"},
    **{"consignee_phone": "010-5550-1234", "carrier": "Royal Mail", "office": "Incheon"},
    **{"departure_country": "GB", "destination_country": "KR", "route": "LHR>ICN"},
    **{"description": "cotton t-shirts", "hs_code": "610910", "origin_country": "GB"},
    **{"pieces": 2.0, "gross_weight_kg": 0.6, "declared_value": 34.0, "currency": "GBP", "postage": 8.5},
    "payment": "card",
}


def day(number: float) -> datetime:
    """Give the moment `number` days after Monday 4 March 2024, 09:00 UTC."""
    return MONDAY + timedelta(days=number)


INSPECTED: dict[str, Any] = {"selected_by": "model", "status": "inspected", "result": "clear"}
INSPECTED |= {"inspected_at": day(1), "known_at": day(10)}


def make_consignment(consignment_id: str = "RB123456785GB", **changes: Any) -> Consignment:
    """Build a plausible small packet; `changes` replace its fields."""
    return Consignment(consignment_id=consignment_id, **(PACKET | changes))


def make_late_versions(consignment_id: str, at: float, **changes: Any) -> list[Consignment]:
    """Build a consignment, and a version that arrives an hour later although it was issued a day before; `changes` are the latter's."""
    first = make_consignment(consignment_id, received_at=day(at), issued_at=day(at))
    later = {"received_at": day(at + 1 / 24), "issued_at": day(at - 1)}
    return [first, make_consignment(consignment_id, **(later | changes))]


def make_outcome(consignment_id: str = "RB123456785GB", **changes: Any) -> Outcome:
    """Build a final clear outcome, inspected one day and known ten days after Monday."""
    return Outcome(consignment_id=consignment_id, **(INSPECTED | changes))
