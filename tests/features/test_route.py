"""Route, countries and identifier: what disagrees is seen, what is missing is not held against anyone."""

from math import isnan

import pytest
from support.described import build_pipeline, describe_group
from support.examples import make_consignment

PIPELINE = build_pipeline()


def values(consignment_id="RB123456785GB", **changes):
    return describe_group("route", PIPELINE, make_consignment(consignment_id, **changes))


def test_a_plain_consignment_has_nothing_to_say():
    got = values()
    flagged = {name for name, value in got.items() if value == 1.0}
    assert flagged == {"legs", "master_missing"}


def test_a_detour_through_a_hub_is_seen():
    got = values(route="PVG>HKG>ICN", departure_country="CN")
    assert got["legs"] == 2
    assert got["via_hub"] == 1.0
    assert got["transit_countries"] == 1


def test_a_hub_at_either_end_is_no_detour():
    assert values(route="HKG>ICN", departure_country="HK")["via_hub"] == 0.0
    assert values(route="HKG>PVG>ICN", departure_country="HK")["via_hub"] == 0.0


def test_postal_places_name_their_country():
    got = values(route="CNSHAA>KRSELB", departure_country="CN", destination_country="JP")
    assert (got["starts_elsewhere"], got["ends_elsewhere"]) == (0.0, 1.0)


@pytest.mark.parametrize(("route", "share"), [("LHR>ICN", 0.0), ("LHR>SEOUL", 0.5), ("12>??", 1.0)])
def test_places_of_no_known_form_are_counted(route, share):
    assert values(route=route)["odd_places"] == share


@pytest.mark.parametrize("route", [None, "", " > "])
def test_without_a_route_its_features_are_missing(route):
    got = values(route=route)
    assert got["missing"] == 1.0
    assert isnan(got["legs"])
    assert isnan(got["via_hub"])


def test_a_route_that_starts_and_ends_elsewhere_is_seen():
    got = values(route="AMS>NRT", departure_country="GB", destination_country="KR")
    assert got["starts_elsewhere"] == 1.0
    assert got["ends_elsewhere"] == 1.0


def test_a_place_we_do_not_know_proves_nothing():
    assert isnan(values(route="ZZZ>ICN")["starts_elsewhere"])


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"sender_country": "CN"}, "departure_not_sender"),
        ({"origin_country": "CN"}, "departure_not_origin"),
        ({"origin_country": "CN"}, "origin_not_sender"),
        ({"consignee_country": "JP"}, "consignee_elsewhere"),
        ({"departure_country": "HK"}, "departure_is_hub"),
    ],
)
def test_countries_that_disagree_are_named(changes, name):
    assert values(**changes)[name] == 1.0
    assert values()[name] == 0.0


def test_countries_agree_whatever_their_case():
    assert values(sender_country="gb ")["departure_not_sender"] == 0.0


def test_a_missing_country_disagrees_with_nobody():
    assert isnan(values(origin_country=None)["departure_not_origin"])


def test_a_wrong_check_digit_is_a_feature():
    assert values("RB123456785GB")["check_digit_wrong"] == 0.0
    assert values("RB123456784GB")["check_digit_wrong"] == 1.0
    assert values("057-51987553/H1", channel="air_cargo")["check_digit_wrong"] == 1.0


def test_an_identifier_of_another_post_is_seen():
    assert values("RB123456785GB", departure_country="CN")["identifier_other_country"] == 1.0


@pytest.mark.parametrize(
    ("consignment_id", "service", "flag"),
    [
        ("EE123456785GB", "ems", 0.0),
        ("EE123456785GB", "EMS", 0.0),
        ("EE123456785GB", " ems", 0.0),
        ("EE123456785GB", "\u2003ems", 0.0),
        ("EE123456785GB", "letter", 1.0),
        ("CP123456785GB", "parcel", 0.0),
        ("RB123456785GB", "ems", 1.0),
    ],
)
def test_the_service_letter_must_fit_the_service(consignment_id, service, flag):
    assert values(consignment_id, service=service)["identifier_other_service"] == flag


def test_a_service_letter_without_a_rule_proves_nothing():
    assert isnan(values("QA123456785GB")["identifier_other_service"])


def test_mail_under_a_waybill_number_is_seen():
    assert values("057-51987552/H1")["identifier_other_channel"] == 1.0
    assert values("057-51987552/H1", channel="air_cargo")["identifier_other_channel"] == 0.0
    assert values("PARCEL 1")["identifier_unknown"] == 1.0


def test_the_master_must_be_the_one_the_identifier_names():
    house = {"consignment_id": "057-51987552/H1", "channel": "air_cargo"}
    assert values(**house, master_id="05751987552")["master_differs"] == 0.0
    assert values(**house, master_id="180-12345675")["master_differs"] == 1.0
    assert isnan(values(**house)["master_differs"])
