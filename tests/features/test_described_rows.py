"""Rows described by kernels: every bit is that of the plain Python forms, whatever the texts are."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import make_consignment
from support.form_oracle import split_street_words as split_in_python
from support.hostile_rows import MAX_CHARACTERS, ODD_LETTERS
from support.row_comparison import BASES, CONFIG, build_plan, compare_hostile, list_differences

from consignments.errors import BadInput, BadSetting
from consignments.records import Consignment
from consignments.tables import check_frame, to_consignments
from features.config import FeatureConfig, HistoryKeys
from features.described_rows import (
    COLUMNS,
    DETAIL_COLUMNS,
    NO_KEYS,
    build_key_plan,
    describe,
    split_street_words,
)
from features.history.keys import list_key_kinds
from features.history.pseudonyms import Pseudonyms
from features.normalization.compiling import build_digest
from training.simulation.operation import simulate

SCRIPT = Path(__file__).resolve().parents[1] / "support" / "row_comparison.py"
ROOT = SCRIPT.parents[2]
PLAN = build_plan()
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
    assert not list_differences([make_consignment(**BASES[place])], PLAN, forms_too=True)


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
    assert not list_differences([make_consignment(**details)], PLAN, forms_too=True)


def test_a_simulated_world_is_equal() -> None:
    frame = check_frame(simulate(days=4, per_day=250, seed=8).consignments, Consignment).frame
    records = to_consignments(frame, Consignment)
    assert len(records) > 900
    assert not list_differences(records, PLAN)


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
    assert not list_differences(rows, PLAN, forms_too=True)


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
    assert not list_differences(rows, PLAN)


def test_lone_surrogates_are_equal() -> None:
    rows = [make_consignment(**{name: f"a\ud800b@c.{name}"}) for name in COLUMNS[:15]]
    assert not list_differences(rows, PLAN, forms_too=True)


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
    together = describe(rows, PLAN)
    for place, c in enumerate(rows):
        for one, other in zip(describe([c], PLAN), together, strict=True):
            assert one[0].tobytes() == other[place].tobytes()


def test_no_rows_are_described() -> None:
    assert [each.shape[0] for each in describe([], PLAN)] == [0, 0, 0]


@pytest.mark.parametrize("name", [*COLUMNS[:19], "currency"])
def test_a_text_beyond_the_limit_is_refused_and_not_cut(name: str) -> None:
    with pytest.raises(BadInput, match="a text is too long"):
        describe([make_consignment(**{name: "ab" * 1025})], NO_KEYS)


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
