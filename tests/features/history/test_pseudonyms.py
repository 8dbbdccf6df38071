"""Pseudonyms: the same number for the same value, under the same key only."""

import logging
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consignments.errors import BadSetting
from features.history.pseudonyms import Pseudonyms, derive_key, load_data_key


def test_a_value_has_one_number_under_one_key() -> None:
    assert Pseudonyms(b"k").compute_number("sender", "orchid") == Pseudonyms(b"k").compute_number(
        "sender", "orchid"
    )
    assert Pseudonyms(b"k").compute_number("sender", "orchid") != Pseudonyms(b"q").compute_number(
        "sender", "orchid"
    )


def test_numbers_do_not_change_between_versions() -> None:
    assert Pseudonyms(bytes(32)).compute_number("sender", "Москва") == 6342776643939812158


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


def test_half_a_surrogate_pair_has_a_number() -> None:
    assert Pseudonyms(b"k").compute_number("sender", "\ud83d") > 0


def test_keys_of_two_purposes_differ() -> None:
    assert derive_key(bytes(32), "pseudonyms") != derive_key(bytes(32), "encryption")


def test_a_new_data_key_is_private_and_announced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "state" / "data.key"
    with caplog.at_level(logging.WARNING, logger="npsrisk"):
        key = load_data_key(path, create=True)
    assert len(key) == 32
    assert load_data_key(path) == load_data_key(path, create=True) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [record.getMessage() for record in caplog.records] == [
        f"created a new data key in {path}: keep a backup; without it no pseudonym can be recomputed"
    ]
    assert list(path.parent.iterdir()) == [path]


def test_a_missing_data_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"data\.key: the data key cannot be read; got No such file"):
        load_data_key(tmp_path / "data.key")


def test_another_file_is_not_taken_for_a_data_key(tmp_path: Path) -> None:
    path = tmp_path / "data.key"
    path.write_bytes(b"secret\n")
    with pytest.raises(BadSetting, match="the file is not a data key; got 7 bytes; expected 32"):
        load_data_key(path, create=True)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadSetting, match=r"data\.key: the data key cannot be created"):
        load_data_key(tmp_path / "file" / "data.key", create=True)


@given(st.lists(st.text()))
def test_many_texts_have_the_numbers_that_they_have_alone(texts: list[str]) -> None:
    pseudonyms = Pseudonyms(b"k")
    alone = [pseudonyms.compute_number("consignment", text) for text in texts]
    assert pseudonyms.number_texts("consignment", texts).tolist() == alone
