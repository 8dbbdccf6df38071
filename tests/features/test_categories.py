"""Codes: known values by frequency, rare ones 0, missing ones missing."""

from math import isnan

import pytest
from support.described import build_pipeline, describe_by_name
from support.examples import make_consignment

from consignments.records import Item
from features.categories import fit_vocabularies
from features.config import ExtraColumns, FeatureConfig

PLAIN = FeatureConfig()


def values(vocabularies, config=PLAIN, **changes):
    plain = make_consignment()
    c = config.build_record_type()(
        **({name: getattr(plain, name) for name in plain.__struct_fields__} | changes)
    )
    return describe_by_name(build_pipeline(config, vocabularies=vocabularies), c)


def carriers(*names):
    return [make_consignment(carrier=name) for name in names]


def test_codes_follow_frequency_and_then_the_alphabet():
    known = fit_vocabularies(carriers("DHL", "FedEx", "FedEx", "EMS", "UPS"), PLAIN, minimum=1)
    assert known["carrier"] == ["fedex", "dhl", "ems", "ups"]


def test_a_rare_value_is_not_known():
    assert fit_vocabularies(carriers("DHL", "FedEx", "FedEx"), PLAIN, minimum=2)["carrier"] == ["fedex"]


@pytest.mark.parametrize(("carrier", "code"), [("FedEx", 1.0), ("FEDEX ", 1.0), ("Nobody", 0.0)])
def test_rare_and_unknown_are_zero_and_case_does_not_matter(carrier, code):
    assert values({"carrier": ["fedex", "dhl"]}, carrier=carrier)["category.carrier"] == code


@pytest.mark.parametrize("nothing", [None, ""])
def test_missing_is_missing_and_not_unknown(nothing):
    assert isnan(values({"carrier": ["fedex"]}, carrier=nothing)["category.carrier"])


def test_namibia_is_a_country():
    known = fit_vocabularies([make_consignment(origin_country="NA")], PLAIN, minimum=1)
    assert values(known, origin_country="NA")["category.origin_country"] == 1.0


def test_each_level_of_the_product_has_its_code():
    known = fit_vocabularies([make_consignment(hs_code="6109.10.00")], PLAIN, minimum=1)
    got = values(known, hs_code="610990")
    assert (got["category.hs_chapter"], got["category.hs_heading"], got["category.hs6"]) == (1.0, 1.0, 0.0)


def test_a_short_code_has_no_deeper_level():
    got = values({}, hs_code="6109")
    assert got["category.hs_heading"] == 0.0
    assert isnan(got["category.hs6"])


def test_the_first_items_product_counts_where_the_whole_has_none():
    tea = {"hs_code": None, "items": (Item(hs_code="090240"),)}
    known = fit_vocabularies([make_consignment(**tea)], PLAIN, minimum=1)
    assert known["hs6"] == ["090240"]
    assert values(known, **tea)["category.hs6"] == 1.0


def test_declared_columns_become_codes_and_numbers():
    config = FeatureConfig(ExtraColumns(numeric=("tax_rate",), category=("tax_type",)))
    got = values({"tax_type": ["a", "b"]}, config, tax_type="B", tax_rate=8.0)
    assert got["category.tax_type"] == 2.0
    assert got["column.tax_rate"] == 8.0
    assert isnan(values({}, config)["column.tax_rate"])


def test_without_a_vocabulary_everything_is_unknown():
    assert values({})["category.carrier"] == 0.0


def test_countries_of_peoples_addresses_are_not_coded():
    assert not {"category.sender_country", "category.consignee_country"} & set(values({}))
