"""Pseudonyms: the same number for the same value, under the same key only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.history.pseudonyms import Pseudonyms, derive_key


def test_a_value_has_one_number_under_one_key_which_does_not_change_between_versions() -> None:
    assert Pseudonyms(bytes(32)).compute_number("sender", "Москва") == 6342776643939812158
    numbers = [Pseudonyms(key).compute_number("sender", "orchid") for key in (b"k", b"k", b"q")]
    assert numbers[0] == numbers[1] != numbers[2]


@pytest.mark.parametrize(
    ("one", "other"),
    [(("sender", "a"), ("consignee", "a")), (("a", "ba"), ("ab", "a")), (("a", "b"), ("a", "B"))],
)
def test_other_kinds_and_values_have_other_numbers(one: tuple[str, str], other: tuple[str, str]) -> None:
    pseudonyms = Pseudonyms(b"k")
    assert pseudonyms.compute_number(*one) != pseudonyms.compute_number(*other)


def test_a_number_is_never_zero_and_fits_in_eight_bytes() -> None:
    numbers = [Pseudonyms(b"k").compute_number("sender", str(value)) for value in range(100)]
    assert all(0 < number < 2**64 for number in numbers)
    assert len(set(numbers)) == 100


def test_keys_of_two_purposes_differ() -> None:
    assert derive_key(bytes(32), "pseudonyms") != derive_key(bytes(32), "encryption")


@given(st.lists(st.text() | st.just("\ud83d")))
def test_many_texts_have_the_numbers_that_they_have_alone(texts: list[str]) -> None:
    pseudonyms = Pseudonyms(b"k")
    alone = [pseudonyms.compute_number("consignment", text) for text in texts]
    assert pseudonyms.number_texts("consignment", texts).tolist() == alone
