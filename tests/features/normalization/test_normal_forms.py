"""Normal forms: the same thing in many spellings is one form; near-misses stay apart."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.cases import read_cases
from support.examples import make_consignment
from support.link_examples import make_anonymous

from consignments.records import Consignment, Item
from consignments.tables import build_frame
from features.goods.character_folding import fold_text
from features.goods.kernels import CODE_MASK
from features.normalization import normal_forms
from features.normalization.addresses import find_door, normalize_address
from features.normalization.emails import normalize_email
from features.normalization.letters import fold_to_ascii
from features.normalization.names import normalize_name
from features.normalization.phones import CALLING_CODES, PLANS, check_phone, normalize_phone
from features.normalization.romanization import romanize
from features.streams import list_declared_texts


def fold_disguise(text):
    """Return the letters that a text of goods is read as."""
    return "".join(chr(entry & CODE_MASK) for entry in fold_text(text))


def find_door_of(address):
    """Return the door of an address: none of a post box, nor of a street without a number."""
    return find_door(normalize_address(address, "Leeds", "1", "GB"))


FORMS = {"name": normalize_name, "address": normalize_address, "phone": normalize_phone, "door": find_door_of}
FORMS |= {"email": normalize_email, "hs": normal_forms.clean_hs, "latin": romanize, "folded": fold_disguise}


@pytest.mark.parametrize("case", read_cases("normal_forms"))
def test_spellings_of_one_thing_are_one_form_and_near_misses_stay_apart(case):
    """Each line has spellings of one thing, or of two things, and may have the form."""
    normalize = FORMS[case["of"]]
    forms = [normalize(*given) for given in case.get("same") or case["other"]]
    assert len(set(forms)) == (1 if "same" in case else len(forms))
    assert forms[0] == case.get("form", forms[0] or None)


def test_goods_text_keeps_spelling_and_tells_each_description_once():
    c = make_consignment(items=(Item(description="Red Tea"), Item(description="cotton t-shirts"), Item()))
    assert normal_forms.get_goods_text(c) == "cotton t-shirts | Red Tea"
    assert normal_forms.get_goods_text(make_consignment(description=None)) == ""


def test_reasons_quote_of_a_table_what_they_quote_of_a_record():
    tea = make_consignment(items=[Item(description="Red Tea", hs_code="0902.40")], hs_code=None)
    records = [tea, make_consignment(description=None, route=None, hs_code="6109 10")]
    declared = list_declared_texts(build_frame(records, Consignment))
    assert declared == [normal_forms.get_declared_texts(c) for c in records]
    found = [(each.goods, each.hs) for each in declared]
    assert found == [("cotton t-shirts | Red Tea", "090240"), ("", "610910")]


def test_missing_fields_give_empty_forms():
    gone = make_anonymous("A", hs_code=None, description=None)
    assert set(normal_forms.normalize_consignment(gone)) == {""}


@pytest.mark.parametrize("case", read_cases("phone_doubts"))
def test_a_telephone_number_is_doubted_if_it_cannot_be_right(case):
    """Canada shares the code of the United States."""
    found = check_phone(normalize_phone(case["phone"], case["country"]), case["country"])
    assert found == (case["implausible"], case["foreign"])


def test_every_plan_of_telephone_numbers_can_be_dialled_and_no_calling_code_begins_another():
    assert all(0 < plan.shortest <= plan.longest <= 15 for plan in PLANS.values())
    pairs = ((one, other) for one in CALLING_CODES for other in CALLING_CODES if one != other)
    assert [one for one, other in pairs if other.startswith(one)] == []


ODD = st.text(max_size=40) | st.text("aloft roadgu strnum0123456789-./# ,호동", max_size=40)
COUNTRY = st.sampled_from(["KR", "US", "GB", "DE", "RU", "IT", "HU", "CN", "XX", "", None])


@given(ODD)
def test_forms_of_forms_are_the_forms(text):
    for form in (fold_to_ascii, normalize_name, normalize_email, normal_forms.clean_hs):
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
