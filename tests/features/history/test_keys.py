"""Keys of history: what two consignments have in common, however it was written, and the pseudonyms that stand for it."""

from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.examples import MONDAY, make_consignment
from support.frozen_rows import PARTS, read_frozen

from consignments.errors import BadSetting
from consignments.records import Consignment
from features.config import ExtraColumns, FeatureConfig, HistoryKeys
from features.history.keys import KEYS_VERSION, KeyBuilder, list_key_kinds
from features.history.pseudonyms import Pseudonyms, derive_key
from features.normalization.normal_forms import normalize_consignment

PSEUDONYMS = Pseudonyms(b"a key for tests")
PLAIN = FeatureConfig()
EXTRA = ExtraColumns(numeric=("tax_rate",), category=("tax_type",))
KOREAN = FeatureConfig(EXTRA, HistoryKeys((("hs_code", "tax_rate", "tax_type"), ("departure_country",))))


def keys_of(c: Consignment) -> dict[str, int]:
    return both_of(c, KOREAN)[0]


def both_of(c: Consignment, config: FeatureConfig = PLAIN) -> tuple[dict[str, int], dict[str, int]]:
    kinds = list_key_kinds(config)
    both = np.zeros((2, len(kinds)), np.uint64)
    KeyBuilder(kinds, PSEUDONYMS).fill([c], [normalize_consignment(c)], *both[:, None])
    names = [kind.name for kind in kinds]
    keys, counterparts = (dict(zip(names, each, strict=True)) for each in both.tolist())
    return keys, counterparts


def declared(**changes: Any) -> Consignment:
    record = KOREAN.build_record_type()
    return record(consignment_id="x", channel="postal", received_at=MONDAY, **changes)


def test_a_missing_part_makes_a_key_missing() -> None:
    keys = keys_of(make_consignment(consignee_name=None, origin_country=None, declarant=None))
    missing = "consignee pair product_route declarant account sender_email consignee_email"
    assert {name for name, key in keys.items() if key == 0} == set(missing.split())


def test_the_counterpart_of_a_sender_is_its_consignee() -> None:
    keys, counterparts = both_of(make_consignment())
    assert counterparts["sender"] == keys["consignee"]
    assert counterparts["consignee_phone"] == keys["consignee"]
    assert counterparts["pair"] == keys["product"]


def test_a_declared_number_has_one_key_however_the_table_wrote_it() -> None:
    from_csv = declared(hs_code="610910", tax_rate=float("8"), tax_type="A")
    from_parquet = declared(hs_code="610910", tax_rate=np.float64(8.0), tax_type=" a ")
    name = "hs_code+tax_rate+tax_type"
    assert keys_of(from_csv)[name] == keys_of(from_parquet)[name] != 0


@pytest.mark.parametrize(("left", "right"), [(0.0, None), (8.0, 80.0), (0.1, 0.10000000000000002)])
def test_other_numbers_have_other_keys(left: float, right: float | None) -> None:
    keys = [keys_of(declared(hs_code="1", tax_rate=rate)) for rate in (left, right)]
    assert keys[0]["hs_code+tax_rate+tax_type"] != keys[1]["hs_code+tax_rate+tax_type"]


def test_a_declared_key_takes_a_missing_part_as_a_value_unless_all_are_missing() -> None:
    partly, wholly = keys_of(declared(hs_code="610910")), keys_of(declared())
    assert partly["hs_code+tax_rate+tax_type"] != 0
    assert partly["departure_country"] == 0
    assert wholly["hs_code+tax_rate+tax_type"] == 0


@pytest.mark.parametrize("key", [("route",), ("departure_country",)])
def test_a_key_that_is_there_already_is_refused(key: tuple[str, ...]) -> None:
    config = FeatureConfig(history=HistoryKeys((("departure_country",), key)))
    with pytest.raises(BadSetting, match="this history key exists already"):
        list_key_kinds(config)


def test_whoever_makes_keys_in_another_way_raises_their_version() -> None:
    """Keys of the past stand in logs. Whoever freezes rows again raises KEYS_VERSION, and puts the new digest here."""
    frozen = read_frozen()[2][:, PARTS.index("keys")]
    assert (KEYS_VERSION, sha256(frozen.tobytes()).hexdigest()[:16]) == (5, "a095fedb31b44a30")


def test_weight_and_value_are_a_key_where_both_are_declared() -> None:
    declared = {"gross_weight_kg": 0.12, "declared_value": 40.0, "currency": "USD"}
    mine = keys_of(make_consignment(**declared, sender_name="One"))["figures"]
    assert mine == keys_of(make_consignment(**declared, sender_name="Another"))["figures"] != 0
    for change in ({"gross_weight_kg": 0.13}, {"declared_value": 41.0}, {"currency": "EUR"}):
        assert keys_of(make_consignment(**(declared | change)))["figures"] not in (mine, 0)
    for missing in ("gross_weight_kg", "declared_value"):
        assert keys_of(make_consignment(**(declared | {missing: None})))["figures"] == 0


def test_a_pseudonym_is_that_of_one_key_kind_and_value_and_does_not_change_between_versions() -> None:
    assert Pseudonyms(bytes(32)).compute_number("sender", "Москва") == 6342776643939812158
    values = [("sender", "a"), ("consignee", "a"), ("a", "ba"), ("ab", "a"), ("a", "b"), ("a", "B")]
    numbers = [Pseudonyms(key).compute_number(*value) for key in (b"k", b"q") for value in values]
    assert len(set(numbers)) == len(numbers)
    assert derive_key(bytes(32), "pseudonyms") != derive_key(bytes(32), "encryption")


@given(st.lists(st.text() | st.just("\ud83d")))
def test_many_texts_have_the_numbers_that_they_have_alone(texts: list[str]) -> None:
    alone = [PSEUDONYMS.compute_number("consignment", text) for text in texts]
    assert PSEUDONYMS.number_texts("consignment", texts).tolist() == alone
    assert [number in range(1, 2**64) for number in alone] == list(map(bool, texts)), "zero is a missing one"
