"""The values of plain features: parties, route, value, codes and quality, one consignment at a time."""

from math import exp, isnan, log, nan

import msgspec
import numpy as np
import pytest
from support.cases import read_cases
from support.described import build_pipeline, describe_by_name
from support.examples import MONDAY, make_consignment

from consignments.messages.quality import QUALITY_CODES
from consignments.records import Item
from consignments.timestamps import to_day
from features.categories import fit_vocabularies
from features.config import ExtraColumns, FeatureConfig
from features.currency import ExchangeRates
from features.value import MIN_CONSIGNMENTS_FOR_NORM, fit_norms

YESTERDAY = np.array([to_day(MONDAY) - 1], dtype=np.int32)
RATES = ExchangeRates(np.array(["GBP", "KRW"]), YESTERDAY, np.array([[1.25, 0.00075]]))
CONFIG = FeatureConfig(ExtraColumns(numeric=("tax_rate",), category=("tax_type",)))
CODES = {"carrier": ["fedex", "dhl"], "origin_country": ["NA"], "hs6": ["610910"], "tax_type": ["a", "b"]}
PIPELINE = build_pipeline(CONFIG, rates=RATES, vocabularies=CODES)


def values(pipeline=PIPELINE, **changes):
    extra = {name: changes.pop(name) for name in ("tax_rate", "tax_type") if name in changes}
    plain = make_consignment(**changes)
    fields = {name: getattr(plain, name) for name in plain.__struct_fields__}
    return describe_by_name(pipeline, pipeline.record_type(**fields, **extra))


@pytest.mark.parametrize("case", read_cases("feature_values"))
def test_a_consignment_has_these_values(case):
    """Each line has the changes of a plain consignment, some of its values, null if one is missing, and all flags of a group."""
    given = msgspec.to_builtins(make_consignment()) | case["given"]
    found = describe_by_name(PIPELINE, msgspec.convert(given, PIPELINE.record_type))
    expected = {name: nan if value is None else value for name, value in case["values"].items()}
    assert {name: found[name] for name in expected} == pytest.approx(expected, nan_ok=True)
    for group, flags in case.get("flagged", {}).items():
        ones = (name for name, value in found.items() if name.startswith(group) and value == 1)
        assert sorted(name.removeprefix(f"{group}.") for name in ones) == flags


def test_what_came_as_a_table_has_no_quality_and_each_code_has_a_flag():
    found = {name: value for name, value in values().items() if name.startswith("quality.")}
    assert len(found) == len(QUALITY_CODES) + 1
    assert all(map(isnan, found.values()))


@pytest.mark.parametrize("name", ["Orchid Fine Chemicals Ltd", "Kim Min-su", "n/a", None])
@pytest.mark.parametrize(
    "address", ["Flat 3, 12 Harbour Street", "Technopark 5", "PO Box 12", "학동로 80", None]
)
def test_both_sides_are_read_alike(name, address):
    details = {"name": name, "address": address, "city": "Leeds", "country": "GB", "email": "a@gmail.com"}
    details |= {"postcode": "LS1", "phone": None}
    sides = {f"{side}_{part}": value for side in ("sender", "consignee") for part, value in details.items()}
    found = values(**sides)
    kinds = ("missing", "name_invalid", "business", "forwarder", "post_box", "firm_at_home", "email_free")
    for what in kinds:
        both = [found[f"parties.{side}_{what}"] for side in ("sender", "consignee")]
        assert both[0] == pytest.approx(both[1], nan_ok=True)
    assert found["parties.same_name"] == (name is not None)
    assert found["parties.same_address"] == (address is not None)


def test_codes_follow_frequency_and_then_the_alphabet_and_rare_values_have_none():
    carriers = [make_consignment(carrier=name) for name in ("DHL", "FedEx", "FedEx", "EMS", "UPS")]
    plain = FeatureConfig()
    assert fit_vocabularies(carriers, plain, minimum=1)["carrier"] == ["fedex", "dhl", "ems", "ups"]
    assert fit_vocabularies(carriers, plain, minimum=2)["carrier"] == ["fedex"]
    known = fit_vocabularies([make_consignment(hs_code="6109.10.00")], plain, minimum=1)
    found = values(build_pipeline(vocabularies=known), hs_code="610990")
    assert [found[f"category.{level}"] for level in ("hs_chapter", "hs_heading", "hs6")] == [1, 1, 0]
    tea = make_consignment(hs_code=None, items=(Item(hs_code="090240"),))
    assert fit_vocabularies([tea], plain, minimum=1)["hs6"] == ["090240"]


def shipments(heading, per_kg, count=MIN_CONSIGNMENTS_FOR_NORM):
    fields = {"hs_code": f"{heading}00", "currency": "USD", "gross_weight_kg": 1.0}
    spread = [per_kg * exp(1.0 if place % 2 else -1.0) for place in range(count)]
    return [make_consignment(**fields, declared_value=value) for value in spread]


def compute_distance(consignments, name="per_kg_z", **changes):
    pipeline = build_pipeline(rates=RATES, norms=fit_norms(consignments, RATES))
    usual = {"currency": "USD", "gross_weight_kg": 1.0, "declared_value": 20.0}
    return values(pipeline, **usual | changes)[f"value.{name}"]


def test_the_norm_is_that_of_the_heading_then_of_its_chapter_then_of_all():
    known = shipments("6109", 20.0) + shipments("6110", 20.0, count=4) + shipments("8471", 500.0)
    assert not any(where.endswith("|6110") for where in fit_norms(known, RATES))
    for changes, expected in (
        ({"hs_code": "610910"}, 0.0),
        ({"hs_code": "610910", "declared_value": 20.0 * exp(2)}, 2.0),
        ({"hs_code": "847130"}, -log(25.0)),
        ({"hs_code": "611020"}, 0.0),
    ):
        assert compute_distance(known, **changes) == pytest.approx(expected, abs=1e-6)
    assert compute_distance(known, hs_code="990000") == compute_distance(known, hs_code=None) < 0


def test_amounts_without_a_currency_are_compared_with_their_like_and_one_price_for_all_is_no_norm():
    """Tables of declarations leave out a currency if there is only one."""
    bare = {"currency": None, "gross_weight_kg": 1.0}
    known = [make_consignment(**bare, declared_value=value) for value in (1000.0, 2000.0, 4000.0)]
    known += shipments("6109", 20.0)
    assert compute_distance(known, currency=None, declared_value=2000.0) == pytest.approx(0.0, abs=1e-6)
    same = [make_consignment(declared_value=20.0, currency="USD") for _ in range(MIN_CONSIGNMENTS_FOR_NORM)]
    assert abs(compute_distance(same, "usd_z", declared_value=21.0)) < 1.0
