"""Consignments, written as messages and read again, are what was sent, apart from what a format is listed not to carry."""

import json
import tomllib
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from msgspec.structs import asdict, astuple, replace
from support.messages import ROOT, declaration, read_all, read_one_record

from consignments.messages.linking import ROUTE_JOINT
from consignments.messages.post.postal import read_postal
from consignments.records import Consignment, Item
from consignments.tables import check_frame, to_consignments
from training.simulation.messages.cargo_imp import TERMS, to_imp_text, write_fhl
from training.simulation.messages.cargo_xml import INDICATORS, write_cargo_xml
from training.simulation.messages.one_record import write_one_record
from training.simulation.messages.parts import NATURE_CODES, PAYMENT_CODES, SERVICE_CODES
from training.simulation.messages.postal import write_postal
from training.simulation.operation import simulate

NOT_CARRIED = tomllib.loads((ROOT / "tests" / "data" / "not_carried.toml").read_text())
CODES = {"service": SERVICE_CODES, "nature": NATURE_CODES, "payment": {*PAYMENT_CODES, *INDICATORS, None}}
READ_ONLY = {"issued_at", "level", "quality"}
"""What the reader adds."""
SIDES = ("sender", "consignee")
TEXTS = {f"{side}_{part}" for side in SIDES for part in ("name", "city", "postcode", "phone")} | {
    "description"
}
PARTIES = {
    **{"sender_name": "A. Smith & Sons", "sender_address": "1 Mill Lane, Flat 2", "sender_city": "Leeds"},
    **{"sender_postcode": "LS1 4AP", "sender_country": "GB", "sender_phone": "+44 113 555"},
    **{"sender_email": "a@mail.example", "consignee_name": "김  민수", "consignee_address": "세종대로 110"},
    **{"consignee_city": "서울", "consignee_postcode": "04524", "consignee_country": "KR"},
    **{"consignee_phone": "010-5550-4471", "consignee_email": "kim@mail.example"},
}
GOODS = {
    "items": (
        Item("tea  <black>", 3.0, 0.3, 99.99, "090230", "IN"),
        Item("cups", 2.0, 0.05, 2.5, None, None),
    ),
    **{"description": "tea  <black>", "hs_code": "090230", "origin_country": "IN", "pieces": 2.0},
    **{"gross_weight_kg": 0.75, "declared_value": 102.49, "currency": "USD", "postage": 12.3},
}
CARRIAGE = {
    **{"service": "express", "master_id": "180-12345675", "nature": "sale", "account_id": "BH-0099412"},
    **{"account_opened_on": date(2026, 2, 26), "declarant": "Fast Forwarding", "carrier": "Globe Express"},
    **{"departure_country": "GB", "destination_country": "KR", "route": "LHR>HKG>ICN", "payment": "account"},
}
HOUSE = Consignment("180-12345675/SHA0091", "air_cargo", **PARTIES, **GOODS, **CARRIAGE)
DIRECT = replace(HOUSE, consignment_id="180-12345675", master_id=None, payment="prepaid", route=None)
PARCEL = replace(
    HOUSE,
    **{"consignment_id": "RB123456785GB", "channel": "postal", "service": "parcel", "payment": None},
    **{"master_id": "GBLONAKRSELBAUN60001001100123", "route": "GBLONA>KRSELB"},
    **{"account_opened_on": None, "declarant": None},
)
ONE_RECORD = write_one_record, read_one_record


def build_element(name, values):
    element = etree.Element(name)
    for key, part in values.items():
        child = etree.SubElement(element, key)
        if isinstance(part, list):
            child.extend([build_element("ContentPiece", piece) for piece in part])
        else:
            child.text = str(part)
    return element


def write_postal_xml(record):
    """Write the declaration of the JSON form as XML."""
    return etree.tostring(build_element("Declaration", json.loads(write_postal(record))), encoding="UTF-8")


POSTAL = [(write_postal, read_postal), (write_postal_xml, read_postal)]


def write_and_read(way, record):
    write, reader = way
    return declaration(reader, write(record))


def to_fields(record):
    fields = asdict(record) | {"items": record.items and [asdict(item) for item in record.items]}
    return {name: value for name, value in fields.items() if value is not None}


@pytest.mark.parametrize(
    ("way", "record", "level"),
    [
        (ONE_RECORD, HOUSE, "house"),
        (ONE_RECORD, DIRECT, "direct"),
        *((way, replace(PARCEL, items=items), "house") for way in POSTAL for items in (PARCEL.items, None)),
    ],
)
def test_a_full_consignment_comes_back(way, record, level):
    found = write_and_read(way, record)
    assert found.fields == to_fields(record)
    assert (found.doubts, found.level) == (set(), level)


def test_a_consignment_that_says_nothing_is_written_too():
    found = write_and_read(ONE_RECORD, Consignment("H1", "air_cargo"))
    assert found.fields == {"consignment_id": "H1", "channel": "air_cargo"}


LETTERS = "aZ9éßŁ김민ЖΩابहि漢 \u00a0\u3000.,;:-_&<>\"'/\\()#%@*!?{}[]"
names = st.text(st.sampled_from(LETTERS), min_size=1, max_size=30)
amounts = st.integers(1, 10**9).map(lambda cents: cents / 1000)


@settings(max_examples=60, deadline=None)
@given(name=names, description=names, weight=amounts, way=st.sampled_from(POSTAL))
def test_texts_and_numbers_come_back_as_sent(name, description, weight, way):
    texts = {"sender_name": name, "description": description}
    record = Consignment("RB123456785GB", "postal", **texts, gross_weight_kg=weight)
    fields = write_and_read(way, record).fields
    assert fields["gross_weight_kg"] == weight
    for column, text in texts.items():
        assert fields.get(column) == (text.strip() or None)


@pytest.fixture(scope="module")
def sent():
    frame = simulate(days=6, per_day=60, prevalence="operation", seed=3).consignments
    consignments = to_consignments(check_frame(frame, Consignment).frame, Consignment)
    assert len(consignments) > 200
    return consignments


def read_back(c, message, *skipped):
    """Read a message, and compare the result with what was sent in all columns but the skipped ones."""
    (found,) = read_all(message, received_at=c.received_at).consignments
    for name in {*c.__struct_fields__} - {*skipped} - READ_ONLY:
        assert getattr(found, name) == getattr(c, name), name
    return found


def test_cargo_xml_gives_back_what_it_carries(sent):
    cargo = [c for c in sent if c.channel == "air_cargo"]
    assert {bool(c.master_id) for c in cargo} == {True, False}
    for c in cargo:
        found = read_back(c, write_cargo_xml(c), *NOT_CARRIED["cargo_xml"])
        for name, codes in CODES.items():
            if getattr(c, name) in codes:
                assert getattr(found, name) == getattr(c, name)
        if c.master_id is not None and c.consignment_id.startswith(f"{c.master_id}/"):
            assert found.master_id == c.master_id
        given = [replace(item, net_weight_kg=None, value=None) for item in c.items or ()]
        assert not given or list(found.items or ()) == [item for item in given if any(astuple(item))]
        if c.items is None:
            assert (found.hs_code, found.origin_country) == (c.hs_code, c.origin_country)


def test_cargo_imp_gives_back_what_it_carries_in_its_characters(sent):
    houses = [c for c in sent if c.channel == "air_cargo" and "/" in c.consignment_id]
    assert len(houses) > 50
    addresses, emails = ([f"{side}_{part}" for side in SIDES] for part in ("address", "email"))
    own = "consignment_id", "account_id", "hs_code"
    for c in houses:
        found = read_back(c, write_fhl(c), *TEXTS, *addresses, *emails, *own, *NOT_CARRIED["cargo_imp"])
        for name in TEXTS:
            assert getattr(found, name) == (to_imp_text(getattr(c, name) or "") or None), name
        for name in addresses:
            told = (getattr(found, name) or "").replace(", ", " ")
            assert told == to_imp_text(getattr(c, name) or "")[: len(told)]
        for name in emails:
            assert getattr(found, name) == ((getattr(c, name) or "").upper() or None)
        assert found.consignment_id == c.consignment_id.upper()
        if c.route:
            places = c.route.split(ROUTE_JOINT)
            assert found.route == ROUTE_JOINT.join(dict.fromkeys((places[0], places[-1])))
        if c.payment in {*PAYMENT_CODES, *TERMS}:
            assert found.payment == c.payment


@pytest.mark.parametrize(
    ("write", "channel", "not_carried"),
    [(write_one_record, "air_cargo", "one_record"), (write_postal, "postal", "postal")],
)
def test_other_formats_give_back_what_they_carry(sent, write, channel, not_carried):
    for c in [c for c in sent if c.channel == channel]:
        read_back(c, write(c), *NOT_CARRIED[not_carried], "hs_code", "origin_country", "items")
