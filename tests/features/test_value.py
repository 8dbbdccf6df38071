"""Value and weight: sums, ratios, and the distance from what is usual for the product."""

from datetime import UTC, datetime
from math import exp, isnan, log

import numpy as np
import pytest
from support.described import build_pipeline, describe_group
from support.examples import MONDAY, make_consignment

from consignments.records import Item
from consignments.timestamps import to_day
from features.currency import ExchangeRates
from features.value import MIN_CONSIGNMENTS_FOR_NORM, fit_norms

RATES = ExchangeRates(
    np.array(["GBP", "KRW"]), np.array([to_day(MONDAY) - 1], dtype=np.int32), np.array([[1.25, 0.00075]])
)


def values(norms=None, rates=RATES, **changes):
    return describe_group(
        "value", build_pipeline(rates=rates, norms=norms or {}), make_consignment(**changes)
    )


def norms_of(consignments):
    return fit_norms(consignments, RATES)


def test_value_is_compared_in_dollars_whatever_the_currency():
    assert values(declared_value=40.0, currency="GBP")["usd"] == pytest.approx(50.0)
    assert values(declared_value=40.0, currency="usd")["usd"] == 40.0


def test_a_currency_without_a_rate_has_a_value_but_none_in_dollars():
    got = values(declared_value=40.0, currency="VND", gross_weight_kg=2.0)
    assert got["declared"] == 40.0
    assert got["per_kg"] == 20.0
    assert isnan(got["usd"])
    assert isnan(got["per_kg_usd"])


def test_ratios_by_weight_and_piece():
    got = values(declared_value=80.0, gross_weight_kg=2.0, pieces=4.0, postage=20.0)
    assert got["per_kg_usd"] == pytest.approx(50.0)
    assert got["per_piece_usd"] == pytest.approx(25.0)
    assert got["weight_per_piece_kg"] == 0.5
    assert got["postage_share"] == 0.25
    assert got["postage_per_kg"] == 10.0


@pytest.mark.parametrize(("declared", "flag"), [(0.0, 1.0), (1.0, 1.0), (2.0, 0.0), (None, 0.0)])
def test_zero_and_one_are_token_values_and_missing_is_not(declared, flag):
    assert values(declared_value=declared)["zero_or_one"] == flag


def test_round_values_and_weights_are_seen():
    assert values(declared_value=100.0, gross_weight_kg=2.0)["round"] == 1.0
    assert values(declared_value=99.5, gross_weight_kg=2.2)["round"] == 0.0
    assert values(gross_weight_kg=2.0)["weight_round"] == 1.0
    assert values(gross_weight_kg=2.2)["weight_round"] == 0.0


@pytest.mark.parametrize("nothing", [None, 0.0])
def test_without_a_weight_nothing_is_divided_by_it(nothing):
    got = values(gross_weight_kg=nothing)
    assert got["weight_missing"] == 1.0
    assert isnan(got["per_kg"])


def test_items_are_added_up_and_held_against_the_whole():
    items = (
        Item(description="tea", quantity=3.0, net_weight_kg=0.2, value=30.0),
        Item(description="cups", quantity=1.0, net_weight_kg=0.3, value=10.0),
    )
    got = values(items=items, declared_value=80.0, gross_weight_kg=1.0)
    assert got["items"] == 2.0
    assert got["items_sum_share"] == 0.5
    assert got["items_weight_share"] == 0.5
    assert got["items_largest"] == 0.75
    assert got["per_unit"] == 20.0
    assert got["items_incomplete"] == 0.0


def test_a_sum_with_a_hole_is_no_sum():
    items = (Item(description="tea", value=30.0), Item(description="cups"))
    got = values(items=items)
    assert isnan(got["items_sum_share"])
    assert got["items_incomplete"] == 1.0


@pytest.mark.parametrize("description", ["", None])
def test_an_item_without_a_description_is_incomplete(description):
    whole = Item(description="tea", quantity=1.0, net_weight_kg=0.2, value=30.0)
    items = (whole, Item(description=description, quantity=1.0, net_weight_kg=0.2, value=30.0))
    assert values(items=items)["items_incomplete"] == 0.5


def test_the_items_stand_in_for_a_missing_total():
    items = (Item(value=30.0), Item(value=10.0))
    assert values(items=items, declared_value=None)["declared"] == 40.0
    assert values(declared_value=None)["missing"] == 1.0


def shipments(heading, per_kg, count=MIN_CONSIGNMENTS_FOR_NORM):
    spread = [per_kg * exp(1.0 if place % 2 else -1.0) for place in range(count)]
    return [
        make_consignment(hs_code=f"{heading}00", declared_value=value, currency="USD", gross_weight_kg=1.0)
        for value in spread
    ]


def test_the_norm_is_that_of_the_heading():
    norms = norms_of(shipments("6109", 20.0) + shipments("8471", 500.0))
    usual = {"norms": norms, "currency": "USD", "gross_weight_kg": 1.0}
    assert values(**usual, hs_code="610910", declared_value=20.0)["per_kg_z"] == pytest.approx(0.0, abs=1e-9)
    assert values(**usual, hs_code="610910", declared_value=20.0 * exp(2))["per_kg_z"] == pytest.approx(2.0)
    assert values(**usual, hs_code="847130", declared_value=20.0)["per_kg_z"] == pytest.approx(-log(25.0))


def test_a_rare_heading_falls_back_to_its_chapter_and_then_to_all():
    norms = norms_of(shipments("6109", 20.0) + shipments("6110", 20.0, count=4) + shipments("8471", 500.0))
    assert not any(where.endswith("|6110") for where in norms)
    usual = {"norms": norms, "currency": "USD", "gross_weight_kg": 1.0, "declared_value": 20.0}
    assert values(**usual, hs_code="611020")["per_kg_z"] == pytest.approx(0.0, abs=1e-9)
    assert values(**usual, hs_code="990000")["per_kg_z"] == values(**usual, hs_code=None)["per_kg_z"] < 0


def test_amounts_without_a_currency_are_compared_with_their_like():
    """As in tables of declarations that leave out a currency because there is only one."""
    bare = [
        make_consignment(currency=None, declared_value=value, gross_weight_kg=1.0)
        for value in (1000.0, 2000.0, 4000.0)
    ]
    norms = norms_of(bare + shipments("6109", 20.0))
    got = values(norms=norms, currency=None, declared_value=2000.0, gross_weight_kg=1.0)
    assert got["per_kg_z"] == pytest.approx(0.0, abs=1e-9)


def test_one_price_for_all_does_not_make_the_next_one_outlandish():
    same = [make_consignment(declared_value=20.0, currency="USD") for _ in range(MIN_CONSIGNMENTS_FOR_NORM)]
    assert abs(values(norms=norms_of(same), declared_value=21.0, currency="USD")["usd_z"]) < 1.0


def test_without_norms_the_distance_is_missing():
    assert isnan(values()["per_kg_z"])


def test_amounts_beyond_float32_stay_finite():
    got = values(declared_value=1e300, gross_weight_kg=1e-300, pieces=float("inf"))
    assert np.isfinite(np.array([got["declared"], got["per_kg"], got["pieces"]], dtype=np.float32)).all()


def test_a_rate_of_the_day_itself_is_not_used():
    assert isnan(values(received_at=datetime(2024, 3, 3, 23, 0, tzinfo=UTC), currency="GBP")["usd"])
