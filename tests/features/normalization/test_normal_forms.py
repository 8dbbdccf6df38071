"""Normal forms: the same thing in many spellings is one form; near-misses stay apart."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.examples import make_consignment

from consignments.records import Item
from features.normalization.addresses import normalize_address
from features.normalization.emails import normalize_email
from features.normalization.letters import fold_to_ascii
from features.normalization.names import normalize_name
from features.normalization.normal_forms import clean_hs, get_goods_text, normalize_consignment
from features.normalization.phones import normalize_phone

SAME_NAMES = [
    ("KIM MIN-SU", "Kim Min-su", "Minsu Kim", "Kim, Min Su", "Mr. Min-su KIM", "ＫＩＭ Minsu"),
    ("김민수", "김 민수", "김민수 님"),
    ("Orchid Trading Ltd", "ORCHID TRADING LIMITED", "Orchid Trading Co., Ltd.", "Orchid-Trading"),
    ("주식회사 한빛", "(주)한빛", "㈜ 한빛", "한빛"),
    ("深圳华强贸易有限公司", "深圳华强贸易"),
    ("株式会社ミドリ", "ミドリ(株)"),
    ("Müller GmbH & Co. KG", "Muller G.m.b.H.", "MULLER"),
    ("ООО Ромашка", "Romashka OOO"),
    ("Smith & Sons", "Smith and Sons"),
    ("Acme Trading Co", "Acme Trading Co., Ltd", "ACME TRADING"),
    ("Muller Electronics AG", "Müller Electronics GmbH"),
    ("The Body Shop", "Body Shop"),
    ("Co, Juan", "Juan Co"),
    ("O'Brien, Sean", "Sean OBrien"),
]
OTHER_NAMES = [
    ("Kim Min-su", "Kim Su-min"),
    ("Kim Min-su", "Kim Min-seo"),
    ("Orchid Trading", "Orchid Tradings"),
    ("QLRUBN9", "9QLRUBN"),
    ("Maria Sá", "Maria"),
    ("John E Smith", "John Smith"),
    ("Kim Doo Na", "Kim Na"),
    ("Chun Doo Hwan", "Chun Hwan"),
    ("Nguyen The Anh", "Nguyen Anh"),
    ("Co, Juan", "Juan"),
    ("Zao Li", "Li"),
    ("Pao Vang", "Vang"),
    ("A.B. Smith", "Smith"),
    ("A.B. Smith", "K.G. Smith"),
]


@pytest.mark.parametrize("spellings", SAME_NAMES)
def test_spellings_of_one_name_are_one_form(spellings):
    assert len({normalize_name(name) for name in spellings}) == 1
    assert normalize_name(spellings[0])


@pytest.mark.parametrize(("one", "other"), OTHER_NAMES)
def test_names_that_only_look_alike_stay_apart(one, other):
    assert normalize_name(one) != normalize_name(other)


def test_a_name_of_nothing_but_a_legal_form_is_still_a_name():
    assert normalize_name("Ltd") != ""


SAME_ADDRESSES = [
    [
        ("45 Teheran-ro, 101-1203", "Seoul", "06232", "KR"),
        ("101-1203, 45 Teheranro", "SEOUL", "06232", "KR"),
        ("45, Teheran ro 101dong 1203ho, Seoul 06232", "Seoul", "062-32", "kr"),
    ],
    [
        ("Flat 3, 12 Harbour Street", "London", "E1 6AN", "GB"),
        ("12 Harbour St. #3", "London", "E16AN", "GB"),
        ("HARBOUR STR 12, apt. 3, London E1 6AN", "London", "e1 6an", "GB"),
    ],
    [
        ("Hauptstraße 5", "Berlin", "10115", "DE"),
        ("Haupt Str. 5", None, "10115", "DE"),
        ("Nr. 5 Hauptstr.", "Berlin", "10115", "DE"),
    ],
    [
        ("350 5th Avenue, 3rd Floor", "New York", "10118-0110", "US"),
        ("350 5th Ave Fl 3", "New York", "10118", "US"),
        ("3/F, 350 5th Av.", "NY", "10118", "US"),
    ],
    [
        ("P.O. Box 77", "Auckland", "1010", "NZ"),
        ("PO BOX No. 77", "Auckland", "1010", "NZ"),
        ("Post Office Box 77, Auckland", "Auckland", "1010", "NZ"),
    ],
    [("학동로 45, 101동 1203호", "서울", "06232", "KR"), ("101-1203, 45 Hakdong-ro", "Seoul", "06232", "KR")],
    [("ул. Ленина 5, кв. 7", "Москва", "101000", "RU"), ("ul Lenina 5 kv 7", "Moskva", "101000", "RU")],
]
OTHER_ADDRESSES = [
    (("1 Main St Apt 23", None, "98101", "US"), ("23 Main St Apt 1", None, "98101", "US")),
    (("45 Teheran-ro 101-1203", None, "06232", "KR"), ("101 Teheran-ro 45-1203", None, "06232", "KR")),
    (("Teheran-ro 45-gil 12", None, "06232", "KR"), ("Teheran-ro 12-gil 45", None, "06232", "KR")),
    (("12 Itaewon-ro", None, "04350", "KR"), ("12 Itaewon-gil", None, "04350", "KR")),
    (("12 Seocho-ro", None, "06600", "KR"), ("12 Seocho-daero", None, "06600", "KR")),
    (("12 Harbour Road", "London", "E1 6AN", "GB"), ("12 Harbour Street", "London", "E1 6AN", "GB")),
    (("12 Harbour Road", "London", None, "GB"), ("12 Harbour Road", "Leeds", None, "GB")),
    (("12 Harbour Road", "London", "E1 6AN", "GB"), ("12 Harbour Road", "London", "E1 6AN", "IE")),
    (("P.O. Box 77", None, "1010", "NZ"), ("77 Box Road", None, "1010", "NZ")),
    (("5 Main St Floor 3", None, "10118", "US"), ("3 Main St Floor 5", None, "10118", "US")),
]


@pytest.mark.parametrize("spellings", SAME_ADDRESSES)
def test_spellings_of_one_address_are_one_form(spellings):
    assert len({normalize_address(*parts) for parts in spellings}) == 1


@pytest.mark.parametrize(("one", "other"), OTHER_ADDRESSES)
def test_neighbours_stay_apart(one, other):
    assert normalize_address(*one) != normalize_address(*other)


def test_a_city_without_a_street_is_no_address():
    assert normalize_address(None, "Seoul", "06232", "KR") == ""


def test_a_street_line_that_only_repeats_the_city_is_kept():
    assert normalize_address("Seoul", "Seoul", None, "KR") == "KR|seoul|seoul"


@pytest.mark.parametrize(
    ("phone", "country", "form"),
    [
        ("010-5550-1234", "KR", "+821055501234"),
        ("+82 (0)10 5550 1234", "KR", "+821055501234"),
        ("0082-10-5550-1234", "US", "+821055501234"),
        ("821055501234", "KR", "+821055501234"),
        ("011 82 10 5550 1234", "US", "+821055501234"),
        ("(212) 555-0100 ext. 12", "US", "+12125550100"),
        ("1-212-555-0100", "CA", "+12125550100"),
        ("8 (916) 123-45-67", "RU", "+79161234567"),
        ("06 1 234 5678", "HU", "+3612345678"),
        ("06 1234 5678", "IT", "+390612345678"),
        ("9198765432", "IN", "+919198765432"),
        ("+9198765432", None, "+9198765432"),
        ("0105550123", None, "0105550123"),
        ("０１０－５５５０－１２３４", "KR", "+821055501234"),
        ("02-555-1234/010-5550-1234", "KR", "+8225551234"),
        ("010-1234-5678/010-5550-1234", "KR", "+821012345678"),
        ("06221/123456", "DE", "+496221123456"),
        ("+49 221/123456", None, "+49221123456"),
        ("+49 (0)89 / 4711", "DE", "+49894711"),
        ("+49 (0)33701/12345", "DE", "+493370112345"),
        ("0049 (0)33701/12345", "DE", "+493370112345"),
        ("+43 662/123456", "AT", "+43662123456"),
        ("030 12345678/79", "DE", "+493012345678"),
    ],
)
def test_a_phone_number_is_read_as_its_country_dials_it(phone, country, form):
    assert normalize_phone(phone, country) == form


@pytest.mark.parametrize("filler", ["", "-", "n/a", "0000000000", None])
def test_a_filler_is_no_phone_number(filler):
    assert normalize_phone(filler, "KR") == ""


@pytest.mark.parametrize(
    ("email", "form"),
    [
        ("J.Doe+Shop@GMail.com", "jdoe@gmail.com"),
        ("jdoe@googlemail.com", "jdoe@gmail.com"),
        ("mailto:J.Doe@Example.org", "j.doe@example.org"),
        ("j.doe+a+b@example.org", "j.doe@example.org"),
        ("John Doe <j.doe@example.org>", "j.doe@example.org"),
        ("+tag@example.org", "+tag@example.org"),
        ("nobody", "nobody"),
        (None, ""),
    ],
)
def test_an_email_is_the_mailbox_it_reaches(email, form):
    assert normalize_email(email) == form


def test_points_matter_where_the_provider_minds_them():
    assert normalize_email("j.doe@example.org") != normalize_email("jdoe@example.org")


def test_an_hs_code_is_its_digits():
    assert [clean_hs(code) for code in ("6109.10", " 6109 10 00", "HS610910", "n/a", None)] == [
        "610910",
        "61091000",
        "610910",
        "",
        "",
    ]


def test_goods_text_keeps_spelling_and_tells_each_description_once():
    c = make_consignment(items=(Item(description="Red Tea"), Item(description="cotton t-shirts"), Item()))
    assert get_goods_text(c) == "cotton t-shirts | Red Tea"
    assert get_goods_text(make_consignment(description=None)) == ""


def test_the_hs_code_of_the_first_item_stands_in_for_a_missing_one():
    c = make_consignment(hs_code=None, items=(Item(), Item(hs_code="0902.40")))
    assert normalize_consignment(c).hs == "090240"


def test_missing_fields_give_empty_forms():
    gone = {
        f"{side}_{part}": None
        for side in ("sender", "consignee")
        for part in ("name", "address", "phone", "email")
    }
    assert set(normalize_consignment(make_consignment(**gone, hs_code=None, description=None))) == {""}


ODD = st.text(max_size=40) | st.text("aloft roadgu strnum0123456789-./# ,호동", max_size=40)
COUNTRY = st.sampled_from(["KR", "US", "GB", "DE", "RU", "IT", "HU", "CN", "XX", "", None])


@given(ODD)
def test_forms_of_forms_are_the_forms(text):
    for form in (fold_to_ascii, normalize_name, normalize_email, clean_hs):
        assert form(form(text)) == form(text)


@given(ODD, ODD, ODD, COUNTRY)
def test_an_address_form_is_its_own_form(address, city, postcode, country):
    form = normalize_address(address, city, postcode, country)
    # Flat O alone reads "apto", which is how Spanish writes "flat"; all others are kept apart from such words.
    assume("apto" not in form.split("|")[-1].split())
    assert not form or normalize_address(form.split("|")[2], city, postcode, country) == form


@given(ODD | st.text("+0123456789 -()x", max_size=20), COUNTRY)
def test_a_phone_form_is_its_own_form(phone, country):
    form = normalize_phone(phone, country)
    assert normalize_phone(form, country) == form
    assert form.removeprefix("+").isdigit() or not form


@given(ODD)
def test_a_fold_is_small_ascii(text):
    assert fold_to_ascii(text).isascii()
    assert fold_to_ascii(text) == fold_to_ascii(text).lower() == " ".join(fold_to_ascii(text).split())
