"""Sender and consignee: completeness, plausibility, kind; and nothing that stands for who a person is."""

from datetime import date
from math import isnan

import pytest
from support.examples import make_consignment

from features.normalization.emails import normalize_email
from features.normalization.normal_forms import normalize_consignment
from features.normalization.phones import normalize_phone
from features.parties import PARTY_FEATURES, compute_party_values, is_filler

NAMES = [feature.name.removeprefix("parties.") for feature in PARTY_FEATURES]


def values(**changes):
    c = make_consignment(**changes)
    return dict(zip(NAMES, compute_party_values(c, normalize_consignment(c)), strict=True))


def test_a_plain_consignment_lacks_only_what_it_lacks():
    flagged = {name for name, value in values(account_id="AC1").items() if value == 1.0}
    assert flagged == {
        "sender_email_missing",
        "sender_missing",
        "consignee_email_missing",
        "consignee_missing",
        "sender_business",
    }


@pytest.mark.parametrize("nothing", [None, "", "  "])
def test_missing_details_are_flagged_and_counted(nothing):
    got = values(consignee_phone=nothing, consignee_postcode=nothing)
    assert got["consignee_phone_missing"] == 1.0
    assert got["consignee_postcode_missing"] == 1.0
    assert got["consignee_missing"] == 3.0


@pytest.mark.parametrize(
    "text", ["XXX", "xxxx", "N/A", "-", "...", "12345", "12-34/5", "#$% 12", "unknown", "PDF", "NDA"]
)
def test_filler_is_filler(text):
    assert is_filler(text)
    assert values(consignee_name=text)["consignee_name_invalid"] == 1.0


@pytest.mark.parametrize("text", ["Kim", "Ng", "Xx Ya", "김민수", "Na", "12 Harbour Road", "O"])
def test_short_and_foreign_names_are_no_filler(text):
    assert not is_filler(text)


@pytest.mark.parametrize(
    ("name", "business", "chemical", "forwarder"),
    [
        ("Orchid Trading Ltd", 1, 0, 0),
        ("Orchid GmbH & Co. KG", 1, 0, 0),
        ("SJ CHEMICALS", 1, 1, 0),
        ("深圳华强贸易有限公司", 1, 0, 0),
        ("武汉生物科技有限公司", 1, 1, 0),
        ("주식회사 한빛", 1, 0, 0),
        ("㈜한빛", 1, 0, 0),
        ("ООО Ромашка", 1, 0, 0),
        ("Swift Freight Forwarding", 1, 0, 1),
        ("Kim Min-su", 0, 0, 0),
        ("Emma Taylor", 0, 0, 0),
        ("김민수", 0, 0, 0),
    ],
)
def test_firms_are_told_from_people_in_any_script(name, business, chemical, forwarder):
    got = values(sender_name=name, sender_address=None)
    assert [got[f"sender_{kind}"] for kind in ("business", "chemical", "forwarder")] == [
        business,
        chemical,
        forwarder,
    ]


@pytest.mark.parametrize("name", ["\u200b", "\u3164", "\u2060\u2060", "。、"])
def test_a_name_without_a_normal_form_is_invalid(name):
    got = values(sender_name=name)
    assert (got["sender_name_missing"], got["sender_name_invalid"]) == (0.0, 1.0)


@pytest.mark.parametrize("address", ["-", "...", "#", "No.", "flat", "\u200b"])
def test_an_address_without_a_normal_form_is_invalid(address):
    got = values(sender_address=address)
    told = (
        "address_missing",
        "address_invalid",
        "address_numberless",
        "address_short",
        "post_box",
        "dormitory",
    )
    assert [got[f"sender_{what}"] for what in told] == [0.0, 1.0, 1.0, 1.0, 0.0, 0.0]


def test_a_blank_address_is_missing_and_has_no_values():
    got = values(sender_address=" \u3000")
    assert got["sender_address_missing"] == 1.0
    assert isnan(got["sender_address_invalid"])


@pytest.mark.parametrize("text", ["unknown       ", "aaaaaaaaaaaa ", "\u3000unknown      ", "Aaaaaaaaaaaa"])
def test_blanks_around_a_filler_hide_nothing(text):
    assert values(consignee_name=text)["consignee_name_invalid"] == 1.0


@pytest.mark.parametrize("nature", ["Gift", " gift", "GIFT\u2003"])
def test_the_nature_is_read_in_any_case(nature):
    assert values(nature=nature)["gift_from_firm"] == 1.0


@pytest.mark.parametrize(
    "email", ["ab@mailinator.com\u200b", "\ufeffab@mailinator.com", "a\u00adb@mailinator.com"]
)
def test_invisible_characters_hide_no_provider(email):
    assert values(sender_email=email)["sender_email_untraceable"] == 1.0
    assert normalize_email(email) == "ab@mailinator.com"


def test_invisible_characters_hide_no_country():
    assert normalize_phone("010-5550-1234", "K\u200bR") == "+821055501234"


def test_without_a_name_the_kind_is_unknown():
    got = values(sender_name=None)
    assert isnan(got["sender_business"])
    assert isnan(got["sender_name_digits"])
    assert got["person_to_person"] == 0.0


@pytest.mark.parametrize(
    ("address", "flag"),
    [
        ("P.O. Box 77", "post_box"),
        ("사서함 77호", "post_box"),
        ("Suite 204, Virtual Office, 5 Gonghang-ro", "virtual_office"),
        ("PMB 12, 350 5th Ave", "virtual_office"),
        ("c/o ABC Logistics, 5 Gonghang-ro", "forwarder"),
        ("Student Dormitory 3, Room 12", "dormitory"),
        ("기숙사 3동 12호", "dormitory"),
        ("Trade Tower, 5 Gonghang-ro", "person_at_office"),
        ("Main Road", "address_numberless"),
        ("x 1", "address_short"),
        ("12345", "address_invalid"),
    ],
)
def test_telling_addresses_are_told(address, flag):
    assert values(consignee_address=address)[f"consignee_{flag}"] == 1.0
    assert values()[f"consignee_{flag}"] == 0.0


def test_a_firm_at_home_and_a_person_at_work_are_out_of_keeping():
    home, work = "Apartment 4, 12 Main Street", "Business Center, 12 Main Street"
    assert values(sender_name="Orchid Ltd", sender_address=home)["sender_firm_at_home"] == 1.0
    assert values(sender_name="Emma Taylor", sender_address=home)["sender_firm_at_home"] == 0.0
    assert values(sender_name="Emma Taylor", sender_address=work)["sender_person_at_office"] == 1.0
    assert values(sender_name="Orchid Ltd", sender_address=work)["sender_person_at_office"] == 0.0


def test_a_telephone_of_another_country_is_seen():
    assert values(sender_phone="+86 138 0013 8000")["sender_phone_foreign"] == 1.0
    assert values(sender_phone="020 7946 0018")["sender_phone_foreign"] == 0.0
    assert values(sender_phone="n/a")["sender_phone_implausible"] == 1.0
    assert isnan(values(sender_phone=None)["sender_phone_implausible"])


@pytest.mark.parametrize(
    ("email", "flags"),
    [
        ("a@gmail.com", {"email_free", "firm_with_free_email"}),
        ("a@yahoo.co.jp", {"email_free", "firm_with_free_email"}),
        ("a@Mailinator.com", {"email_untraceable"}),
        ("a@proton.me", {"email_untraceable"}),
        ("sales@orchid.example", set()),
        ("nobody", {"email_invalid"}),
        ("a@localhost", {"email_invalid"}),
    ],
)
def test_the_kind_of_mail_provider_is_told(email, flags):
    got = values(sender_email=email)
    kinds = ("email_free", "email_invalid", "email_untraceable", "firm_with_free_email")
    assert {kind for kind in kinds if got[f"sender_{kind}"] == 1.0} == flags


def test_the_same_party_on_both_sides_is_seen_through_its_spelling():
    got = values(
        sender_name="KIM MINSU",
        sender_phone="+82 10 5550 1234",
        sender_address="45 Teheran ro, 101-1203",
        sender_postcode="06232",
        sender_country="KR",
    )
    assert (got["same_name"], got["same_phone"], got["same_address"]) == (1.0, 1.0, 1.0)
    assert values()["same_name"] == 0.0


def test_two_missing_details_are_not_the_same():
    assert values(sender_phone=None, consignee_phone=None)["same_phone"] == 0.0


def test_who_deals_with_whom_is_held_against_what_is_declared():
    person = {"sender_name": "Emma Taylor"}
    assert values(**person)["person_to_person"] == 1.0
    assert values()["person_to_person"] == 0.0
    assert values(nature="gift")["gift_from_firm"] == 1.0
    assert values(nature="gift", **person)["gift_from_firm"] == 0.0
    assert values(nature="sale", **person)["sale_by_person"] == 1.0
    assert values(sender_name="SJ Chemicals")["chemical_to_person"] == 1.0


def test_an_account_ages_from_its_opening_and_not_below_zero():
    assert values(account_opened_on=date(2024, 3, 1))["account_age_days"] == 3.0
    assert values(account_opened_on=date(2024, 3, 9))["account_age_days"] == 0.0
    assert isnan(values()["account_age_days"])
    assert values()["account_missing"] == 1.0


@pytest.mark.parametrize("name", ["Orchid Fine Chemicals Ltd", "Kim Min-su", "n/a", None])
@pytest.mark.parametrize(
    "address", ["Flat 3, 12 Harbour Street", "Technopark 5", "PO Box 12", "학동로 80", None]
)
def test_both_sides_are_read_alike(name, address):
    details = {"name": name, "address": address, "city": "Leeds", "country": "GB", "email": "a@gmail.com"}
    details |= {"postcode": "LS1", "phone": None}
    sides = {f"{side}_{part}": value for side in ("sender", "consignee") for part, value in details.items()}
    for got in (values(**sides), values(**sides)):
        for what in (
            "missing",
            "name_invalid",
            "business",
            "forwarder",
            "post_box",
            "firm_at_home",
            "email_free",
        ):
            assert got[f"sender_{what}"] == pytest.approx(got[f"consignee_{what}"], nan_ok=True)
        assert got["same_name"] == (name is not None)
        assert got["same_address"] == (address is not None)
