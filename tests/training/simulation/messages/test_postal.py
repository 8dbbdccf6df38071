"""Round trip: a postal item written in the flat schema comes back, apart from what the schema is listed not to carry."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.messages import declarations

from consignments.messages.post.postal import read_postal
from consignments.records import Consignment, Item
from training.simulation.messages.postal import Form, write_postal

FULL = Consignment(
    consignment_id="RB123456785GB",
    channel="postal",
    service="parcel",
    master_id="GBLONAKRSELBAUN60001001100123",
    nature="sale",
    sender_name="A. Smith & Sons",
    sender_address="1 Mill Lane, Flat 2",
    sender_city="Leeds",
    sender_postcode="LS1 4AP",
    sender_country="GB",
    sender_phone="+44 113 555",
    sender_email="a@mail.example",
    consignee_name="김민수",
    consignee_address="세종대로 110",
    consignee_city="서울",
    consignee_postcode="04524",
    consignee_country="KR",
    consignee_phone="010-5550-4471",
    consignee_email="kim@mail.example",
    account_id="AC74173794",
    carrier="Royal Mail",
    departure_country="GB",
    destination_country="KR",
    route="GBLONA>KRSELB",
    description="tea  <black>",
    hs_code="090230",
    origin_country="IN",
    items=(Item("tea  <black>", 3.0, 0.3, 9.99, "090230", "IN"), Item("cups", 2.0, 0.4, 20.0, None, None)),
    pieces=1.0,
    gross_weight_kg=0.9,
    declared_value=29.99,
    currency="GBP",
    postage=12.0,
)


def as_dict(record: Consignment) -> dict[str, Any]:
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    if record.items is not None:
        fields["items"] = [msgspec.structs.asdict(item) for item in record.items]
    return {name: value for name, value in fields.items() if value is not None}


@pytest.mark.parametrize("form", ["json", "xml"])
@pytest.mark.parametrize("items", [FULL.items, None])
def test_a_full_item_comes_back(form: Form, items: tuple[Item, ...] | None) -> None:
    record = msgspec.structs.replace(FULL, items=items)
    (found,) = declarations(read_postal, write_postal(record, form))
    assert found.fields == as_dict(record)
    assert found.quality == ()


@pytest.mark.parametrize("form", ["json", "xml"])
def test_only_listed_columns_differ(form: Form) -> None:
    record = msgspec.structs.replace(
        FULL, service="small_packet", route="GBLONA>FRPARA>KRSELB", payment="card", office="Seoul"
    )
    (found,) = declarations(read_postal, write_postal(record, form))
    expected = as_dict(record)
    differing = {
        name for name in expected.keys() | found.fields.keys() if expected.get(name) != found.fields.get(name)
    }
    assert differing == {"service", "route", "payment", "office"}


names = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "Zs"]), min_size=1, max_size=30)
amounts = st.integers(1, 10**9).map(lambda cents: cents / 1000)


@settings(max_examples=60, deadline=None)
@given(name=names, description=names, weight=amounts, form=st.sampled_from(["json", "xml"]))
def test_texts_and_numbers_come_back_as_they_were(
    name: str, description: str, weight: float, form: Form
) -> None:
    record = Consignment(
        "RB123456785GB", "postal", sender_name=name, description=description, gross_weight_kg=weight
    )
    (found,) = declarations(read_postal, write_postal(record, form))
    fields = found.fields
    assert fields["gross_weight_kg"] == weight
    assert (fields.get("sender_name"), fields.get("description")) == (
        name.strip() or None,
        description.strip() or None,
    )
