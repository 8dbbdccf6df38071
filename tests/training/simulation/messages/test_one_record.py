"""Round trip: a consignment written as ONE Record comes back, apart from what the format is listed not to carry."""

from datetime import date
from typing import Any

import msgspec
import pytest
from support.messages import declarations

from consignments.messages.onerecord.waybills import read_one_record
from consignments.records import Consignment, Item
from training.simulation.messages.one_record import write_one_record

FULL = Consignment(
    consignment_id="180-12345675/SHA0091",
    channel="air_cargo",
    service="express",
    master_id="180-12345675",
    nature="sale",
    sender_name="Shanghai Optics",
    sender_address="Pudong Avenue 9, Room 4",
    sender_city="Shanghai",
    sender_postcode="200120",
    sender_country="CN",
    sender_phone="+86 21 5550",
    sender_email="sales@mail.example",
    consignee_name="Park  Ji-ho",
    consignee_address="21 Sillim-ro",
    consignee_city="Seoul",
    consignee_postcode="08789",
    consignee_country="KR",
    consignee_phone="010-5550-4471",
    consignee_email="park@mail.example",
    account_id="BH-0099412",
    account_opened_on=date(2026, 2, 26),
    declarant="Fast Forwarding",
    carrier="Globe Express",
    departure_country="CN",
    destination_country="KR",
    route="PVG>HKG>ICN",
    description="optical lenses",
    hs_code="900190",
    origin_country="CN",
    items=(
        Item("optical lenses", 3.0, 0.6, 99.99, "900190", "CN"),
        Item("cleaning cloth", 1.0, 0.05, 2.5, None, None),
    ),
    pieces=2.0,
    gross_weight_kg=0.75,
    declared_value=102.49,
    currency="USD",
    postage=12.3,
    payment="account",
)
DIRECT = msgspec.structs.replace(
    FULL, consignment_id="180-12345675", master_id=None, payment="prepaid", route=None
)


def as_dict(record: Consignment) -> dict[str, Any]:
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    if record.items is not None:
        fields["items"] = [msgspec.structs.asdict(item) for item in record.items]
    return {name: value for name, value in fields.items() if value is not None}


@pytest.mark.parametrize("record", [FULL, DIRECT])
def test_a_full_consignment_comes_back(record: Consignment) -> None:
    (found,) = declarations(read_one_record, write_one_record(record))
    assert found.fields == as_dict(record)
    assert found.quality == ()
    assert found.level == ("house" if record.master_id else "direct")


def test_only_listed_columns_differ() -> None:
    record = msgspec.structs.replace(
        FULL,
        nature="gift",
        office="Incheon",
        payment="barter",
        destination_country="JP",
        items=None,
        route="PVG>ICN",
    )
    (found,) = declarations(read_one_record, write_one_record(record))
    expected = as_dict(record)
    differing = {
        name for name in expected.keys() | found.fields.keys() if expected.get(name) != found.fields.get(name)
    }
    assert differing == {"nature", "office", "payment", "destination_country", "items"}


def test_a_consignment_that_says_nothing_is_written_too() -> None:
    (found,) = declarations(read_one_record, write_one_record(Consignment("H1", "air_cargo")))
    assert found.fields == {"consignment_id": "H1", "channel": "air_cargo"}
