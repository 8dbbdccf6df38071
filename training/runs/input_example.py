"""Invented consignments as an input example of a model; no real person is in them."""

from datetime import UTC, datetime

import pandas as pd

from consignments.tables import build_frame
from features.config import FeatureConfig


def build_example_consignments(config: FeatureConfig) -> pd.DataFrame:
    """Build a table of two invented consignments as an input example of a model."""
    record = config.build_record_type()
    packet = record(
        consignment_id="RR473124829GB",
        channel="postal",
        received_at=datetime(2024, 7, 1, 9, 30, tzinfo=UTC),
        service="small_packet",
        nature="sale",
        sender_name="Example Trading Ltd",
        sender_address="1 Example Street",
        sender_city="London",
        sender_country="GB",
        consignee_name="A. Example",
        consignee_address="12 Example-ro",
        consignee_city="Seoul",
        consignee_country="KR",
        office="Incheon",
        departure_country="GB",
        destination_country="KR",
        route="LHR>ICN",
        description="cotton shirts",
        hs_code="610910",
        pieces=2.0,
        gross_weight_kg=0.6,
        declared_value=34.0,
        currency="GBP",
    )
    house = record(
        consignment_id="180-12345675/H0001",
        channel="air_cargo",
        received_at=datetime(2024, 7, 1, 11, 0, tzinfo=UTC),
        service="express",
        sender_name="Example Chemicals Co",
        sender_country="CN",
        consignee_name="B. Example",
        consignee_country="KR",
        departure_country="CN",
        destination_country="KR",
        route="PVG>ICN",
        description="pigment sample",
        hs_code="320417",
        gross_weight_kg=1.2,
        declared_value=20.0,
        currency="USD",
    )
    frame: pd.DataFrame = build_frame([packet, house], record)
    return frame
