"""Identifiers are the keys of history, and equal values of the two sides are one identifier."""

import numpy as np
import pytest
from support.examples import make_consignment
from support.link_examples import make_anonymous

from features.history.keys import COMMON_KINDS
from features.history.pseudonyms import Pseudonyms
from features.links.identifiers import LINK_IDENTIFIERS, LinkNumberBuilder

PLACE = {"address": "45 Teheran-ro", "city": "Seoul", "postcode": "06232", "country": "KR"}


def build(*consignments):
    return LinkNumberBuilder(Pseudonyms(b"a key")).build_rows(consignments)


def test_every_key_of_history_that_may_betray_a_party_is_in_an_identifier_with_a_noun_of_its_own() -> None:
    joined = {key for each in LINK_IDENTIFIERS for key in each.keys}
    assert joined == {kind.name for kind in COMMON_KINDS if kind.side and kind.read}
    assert len({each.noun for each in LINK_IDENTIFIERS}) == len(LINK_IDENTIFIERS)


def test_a_missing_value_is_zero_and_a_name_without_an_address_links_nothing() -> None:
    numbers = build(make_anonymous("A"), make_anonymous("B", sender_name="Kim Min-su"))
    assert not numbers.any()


def test_spellings_of_one_value_are_one_number() -> None:
    first, second = build(
        make_consignment(sender_phone="+44 20 7946 0018", sender_name="Orchid Trading Ltd"),
        make_consignment(sender_phone="0044 (0)20-79460018", sender_name="ORCHID trading"),
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("phone", {"phone": "010-5550-1234", "country": "KR"}),
        ("e-mail", {"email": "k@example.org"}),
        ("address", PLACE),
        ("name and address", PLACE | {"name": "Kim"}),
    ],
)
def test_a_value_of_both_sides_is_one_identifier(kind: str, fields: dict[str, str]) -> None:
    both = {f"{side}_{name}": value for side in ("sender", "consignee") for name, value in fields.items()}
    (row,) = build(make_anonymous("A", **both))
    mine, theirs = (row[place] for place, each in enumerate(LINK_IDENTIFIERS) if each.kind == kind)
    assert mine == theirs != 0
