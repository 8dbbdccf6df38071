"""What the simulated world sends, written as messages and read again, is what it sent, apart from what a format cannot carry."""

import tomllib
from collections.abc import Callable

import msgspec
import pytest
from support.messages import ROOT, read_all

from consignments.messages.linking import ROUTE_JOINT
from consignments.records import Consignment
from consignments.tables import check_frame, to_consignments
from training.simulation.messages.cargo_imp import TERMS, to_imp_text, write_fhl
from training.simulation.messages.cargo_xml import INDICATORS, write_cargo_xml
from training.simulation.messages.customs_codes import NATURE_CODES, PAYMENT_CODES, SERVICE_CODES
from training.simulation.messages.one_record import write_one_record
from training.simulation.messages.postal import write_postal
from training.simulation.operation import simulate

NOT_CARRIED = tomllib.loads((ROOT / "tests" / "data" / "not_carried.toml").read_text())
READ_ONLY = {"issued_at", "level", "quality"}
"""What the reader adds."""
TEXTS = {
    f"{party}_{part}" for party in ("sender", "consignee") for part in ("name", "city", "postcode", "phone")
} | {"description"}


@pytest.fixture(scope="module")
def sent() -> list[Consignment]:
    frame = simulate(days=6, per_day=60, prevalence="operation", seed=3).consignments
    consignments = to_consignments(check_frame(frame, Consignment).frame, Consignment)
    assert len(consignments) > 200
    return consignments


def read_back(c: Consignment, message: bytes) -> Consignment:
    (found,) = read_all(message, received_at=c.received_at).consignments
    return found


def compare(c: Consignment, found: Consignment, skipped: set[str]) -> None:
    for name in c.__struct_fields__:
        if name not in skipped | READ_ONLY:
            assert getattr(found, name) == getattr(c, name), name


def test_cargo_xml_gives_back_what_it_carries(sent: list[Consignment]) -> None:
    cargo = [c for c in sent if c.channel == "air_cargo"]
    assert {bool(c.master_id) for c in cargo} == {True, False}
    for c in cargo:
        found = read_back(c, write_cargo_xml(c))
        skipped = set(NOT_CARRIED["cargo_xml"])
        compare(c, found, skipped)
        if c.service in SERVICE_CODES:
            assert found.service == c.service
        if c.nature in NATURE_CODES:
            assert found.nature == c.nature
        if c.payment in {*PAYMENT_CODES, *INDICATORS, None}:
            assert found.payment == c.payment
        if c.master_id is not None and c.consignment_id.startswith(f"{c.master_id}/"):
            assert found.master_id == c.master_id
        given = [msgspec.structs.replace(item, net_weight_kg=None, value=None) for item in c.items or ()]
        assert not given or list(found.items or ()) == [
            item for item in given if any(msgspec.structs.astuple(item))
        ]
        if c.items is None:
            assert (found.hs_code, found.origin_country) == (c.hs_code, c.origin_country)


def test_cargo_imp_gives_back_what_it_carries_in_its_characters(sent: list[Consignment]) -> None:
    houses = [c for c in sent if c.channel == "air_cargo" and "/" in c.consignment_id]
    assert len(houses) > 50
    for c in houses:
        found = read_back(c, write_fhl(c))
        for name in TEXTS:
            assert getattr(found, name) == (to_imp_text(getattr(c, name) or "") or None), name
        for name in ("sender_address", "consignee_address"):
            told = (getattr(found, name) or "").replace(", ", " ")
            assert told == to_imp_text(getattr(c, name) or "")[: len(told)]
        for name in ("sender_email", "consignee_email"):
            assert getattr(found, name) == ((getattr(c, name) or "").upper() or None)
        compare(c, found, {*TEXTS, *NOT_CARRIED["cargo_imp"], "sender_address", "consignee_address", "sender_email",
                           "consignee_email", "consignment_id", "account_id", "hs_code"})  # fmt: skip
        assert found.consignment_id == c.consignment_id.upper()
        if c.route:
            places = c.route.split(ROUTE_JOINT)
            assert found.route == ROUTE_JOINT.join(dict.fromkeys((places[0], places[-1])))
        if c.payment in {*PAYMENT_CODES, *TERMS}:
            assert found.payment == c.payment


@pytest.mark.parametrize(
    ("write", "channel", "not_carried"),
    [
        (write_one_record, "air_cargo", NOT_CARRIED["one_record"]),
        (write_postal, "postal", NOT_CARRIED["postal"]),
    ],
)
def test_other_formats_give_back_what_they_carry(
    sent: list[Consignment],
    write: Callable[[Consignment], bytes],
    channel: str,
    not_carried: dict[str, str],
) -> None:
    for c in [c for c in sent if c.channel == channel]:
        compare(c, read_back(c, write(c)), {*not_carried, "hs_code", "origin_country", "items"})
