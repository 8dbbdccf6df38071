"""Rows described by kernels: every bit is that of the plain Python forms, whatever the texts are."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import make_consignment
from support.form_oracle import split_street_words as split_in_python
from support.hostile_rows import MAX_CHARACTERS, ODD_LETTERS
from support.row_comparison import (
    BASES,
    CONFIG,
    RECORD,
    build_plans,
    compare_hostile,
    describe_all,
    list_differences,
)

from consignments.errors import BadInput, BadSetting
from consignments.records import Consignment, Item, create_consignment_type
from consignments.schema import get_fields
from consignments.tables import check_frame, to_consignments
from consignments.timestamps import to_day
from features.config import FeatureConfig, HistoryKeys
from features.history.keys import list_key_kinds
from features.history.pseudonyms import Pseudonyms
from features.normalization.compiling import build_digest
from features.parties import PARTY_FEATURES
from features.rows.described_rows import (
    DETAIL_COLUMNS,
    describe,
    split_street_words,
)
from features.rows.plans import NO_KEYS, build_key_plan
from training.simulation.operation import simulate

SCRIPT = Path(__file__).resolve().parents[2] / "support" / "row_comparison.py"
ROOT = SCRIPT.parents[2]
PLANS = build_plans()
MAX_TIME = datetime(9999, 12, 31, 23, tzinfo=UTC)
AGE = [feature.name for feature in PARTY_FEATURES].index("parties.account_age_days")
TEXT_COLUMNS = [
    field.name
    for field in get_fields(Consignment)
    if field.kind == "string" and field.name not in ("channel", "level")
]
ANY_TEXT = st.none() | st.text(max_size=60) | st.text("".join(ODD_LETTERS) + " abc123.,-#", max_size=40)


def run_apart(rows: int, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), str(rows), "5"],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("place", range(len(BASES)))
def test_the_bases_of_the_hostile_rows_are_equal(place: int) -> None:
    assert not list_differences([make_consignment(**BASES[place])], PLANS, forms_too=True)


def test_a_thousand_hostile_rows_are_equal() -> None:
    assert not compare_hostile(1000, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_hundred_thousand_hostile_rows_are_equal(seed: int) -> None:
    assert not compare_hostile(30_000, seed=100 + seed)


@given(st.lists(ANY_TEXT, min_size=14, max_size=14))
@settings(max_examples=150, deadline=None)
def test_any_texts_are_equal(texts: list[str | None]) -> None:
    details = dict(zip(DETAIL_COLUMNS, texts, strict=True))
    assert not list_differences([make_consignment(**details)], PLANS, forms_too=True)


def test_a_simulated_world_is_equal() -> None:
    frame = check_frame(simulate(days=4, per_day=250, seed=8).consignments, Consignment).frame
    records = to_consignments(frame, Consignment)
    assert len(records) > 900
    assert not list_differences(records, PLANS)


def test_the_longest_valid_texts_are_equal() -> None:
    long = (
        "x" * 500,
        "🫰" * 500,
        "#" * 500,
        ",5f" * 166,
        "가힣" * 250,
        "po box 1 " * 55,
        "ﷺ" * 500,
        "f " * 250,
        "ind tech " * 55,
    )
    rows = [
        make_consignment(**{name: text[:MAX_CHARACTERS] for name in DETAIL_COLUMNS if "country" not in name})
        for text in long
    ]
    assert not list_differences(rows, PLANS, forms_too=True)


def test_declared_columns_are_equal() -> None:
    record = CONFIG.build_record_type()
    rates: list[Any] = [
        None,
        0.0,
        -0.0,
        8,
        8.0,
        np.float64(8.5),
        float("nan"),
        float("inf"),
        -3.5,
        -7,
        2**70,
        1e-7,
        True,
    ]
    rows = [
        record(
            consignment_id="x",
            channel="postal",
            tax_rate=rate,
            tax_type=kind,
            gross_weight_kg=rate,
            declared_value=1.5,
        )
        for rate in rates
        for kind in (None, " A  b", "Ä", "e\u0301")
    ]
    assert not list_differences(rows, PLANS)


def test_a_thousand_items_and_the_longest_texts_of_goods_are_equal() -> None:
    texts = ["x" * 4000, "한" * 4000, "ﷺ" * 4000, "e\u0301 " * 1300, "a | b", "", None]
    items = [
        Item(description=texts[place % len(texts)], hs_code=f"{place:04}", value=0.1 * place)
        for place in range(1000)
    ]
    rows = [
        make_consignment(items=tuple(items)),
        make_consignment(items=tuple(items), hs_code=None, declared_value=None, description=None),
        make_consignment(items=tuple(Item(description=f"tea {place}") for place in range(1000))),
        make_consignment(items=()),
        *(make_consignment(description=text) for text in texts),
    ]
    assert not list_differences(rows, PLANS)


def test_more_items_than_a_valid_record_has_are_refused() -> None:
    with pytest.raises(BadInput, match="too long"):
        describe([make_consignment(items=(Item(),) * 1001)], NO_KEYS)


def test_rows_of_another_type_are_read_by_the_names_of_their_columns() -> None:
    other = create_consignment_type(("other", "tax_rate"), ("tax_type",))
    given = {"consignment_id": "x", "channel": "postal", "tax_rate": 8.5, "tax_type": "ss"}
    one, same = (describe_all([record(**given)], PLANS) for record in (RECORD, other))
    assert [each.tobytes() for each in one] == [each.tobytes() for each in same]


def test_logarithms_of_kernels_are_those_of_python() -> None:
    amounts = [
        *np.exp(np.random.default_rng(3).normal(0, 40, 2000)).tolist(),
        5e-324,
        1.0,
        3.4028e38,
        np.nextafter(1, 2),
    ]
    rows = [
        make_consignment(declared_value=amount, currency="USD", hs_code="610910", consignee_email=None)
        for amount in amounts
    ]
    assert not list_differences(rows, PLANS)


def test_dates_are_read_as_python_counts_them() -> None:
    days = [
        date(1, 1, 1),
        date(9999, 12, 31),
        *(date(2023, 1, 1) + timedelta(days=day) for day in range(0, 1500, 7)),
    ]
    for opened in days:
        (row,) = describe_all(
            [make_consignment(account_opened_on=opened, received_at=MAX_TIME)], PLANS
        ).values
        assert row[AGE] == np.float32(to_day(MAX_TIME) - (opened - date(1970, 1, 1)).days)


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(TypeError):
        describe([make_consignment(received_at=datetime(2024, 3, 4))], NO_KEYS)


def test_lone_surrogates_are_equal() -> None:
    rows = [make_consignment(**{name: f"a\ud800b@c.{name}"}) for name in TEXT_COLUMNS]
    assert not list_differences(rows, PLANS, forms_too=True)


@pytest.mark.parametrize("country", ["KR", ""])
@pytest.mark.parametrize(
    "address",
    ["KR, kr 5", "테헤란로 45, 101동 1203호", "Flat 3, 12 Harbour Street", "Hauptstr. 5", "-", "P.O. Box 7"],
)
def test_all_words_of_a_street_line_are_given(address: str, country: str) -> None:
    assert split_street_words(address, country) == split_in_python(address, country)


def test_rows_are_described_alike_alone_and_together() -> None:
    rows = [
        make_consignment(
            **base,
        )
        for base in BASES
    ] * 20
    together = describe_all(rows, PLANS)
    for place, c in enumerate(rows):
        for one, other in zip(describe_all([c], PLANS), together, strict=True):
            assert one[0].tobytes() == other[place].tobytes()


def test_no_rows_are_described() -> None:
    assert [each.shape[0] for each in describe([], PLANS.keys)] == [0, 0, 0]


@pytest.mark.parametrize("name", sorted(set(TEXT_COLUMNS) - {"description"}))
def test_a_text_beyond_the_limit_is_refused_and_not_cut(name: str) -> None:
    with pytest.raises(BadInput, match="a text is too long"):
        describe([make_consignment(**{name: "ab" * 1025})], NO_KEYS)


def test_a_text_without_room_for_its_composed_form_is_refused() -> None:
    """A configuration that was not validated can have a key of descriptions."""
    kinds = list_key_kinds(FeatureConfig(history=HistoryKeys((("description",),))))
    plan = build_key_plan(kinds, Pseudonyms(b"a key for tests"))
    with pytest.raises(BadInput, match="a text is too long"):
        describe([make_consignment(description="\ufdfa" * 4000)], plan)


def test_keys_of_too_many_columns_are_refused() -> None:
    names = tuple(f"column_{number}" for number in range(130))
    kinds = list_key_kinds(FeatureConfig(history=HistoryKeys((names,))))
    with pytest.raises(BadSetting, match="too many columns"):
        build_key_plan(kinds, Pseudonyms(b"a key for tests"))


def test_kernels_leave_no_array_without_being_compiled() -> None:
    """Run the kernels as Python, in which each index is checked."""
    done = run_apart(64, NUMBA_DISABLE_JIT="1")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_compiled_kernels_leave_no_array(tmp_path: Path) -> None:
    done = run_apart(30_000, NUMBA_BOUNDSCHECK="1", NUMBA_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_digest_of_kernels_changes_with_each_file(tmp_path: Path) -> None:
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text("1")
    other.write_text("2")
    before = build_digest([str(one), str(other)])
    other.write_text("3")
    assert build_digest([str(one), str(other)]) != before
