import os
import subprocess
import sys
from math import isnan, nan
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import read_cases
from support.described import build_pipeline, describe_group
from support.examples import make_consignment
from support.goods_oracle import plain_score

from features.goods import kernels as kernel
from features.goods.hs import FAMILY_CODES
from features.goods.lexicon import SUBSTANCE_FAMILIES, read_names, read_words
from features.goods.tables import encode_text, load_goods_tables
from features.normalization.normal_forms import MAX_CHARACTERS

WEIGHTS = np.random.default_rng(7).normal(size=kernel.TEXT_BUCKETS).astype(np.float32)
PIPELINE = build_pipeline(text_weights=WEIGHTS)
NAMED = {
    "name_tier": {
        each: getattr(kernel, each.upper()) for each in ("specific", "class", "medicine", "context")
    },
    "name_family": {family: number for number, family in enumerate(SUBSTANCE_FAMILIES, start=1)},
    "hs_family": FAMILY_CODES,
}
"""The numbers of values that have names."""


def read(text: str, hs_code: str | None = None) -> dict[str, float]:
    """Give the kernel's values of a text and an HS code."""
    return describe_group("goods", PIPELINE, make_consignment(description=text, hs_code=hs_code))


@pytest.mark.parametrize("case", read_cases("goods_values"))
def test_a_text_has_these_values(case: dict[str, Any]) -> None:
    """Each line has a text, an HS code or none, and some of their values, tiers and families by name; null is a missing value."""
    found = read(case["text"], case.get("hs"))
    for name, value in case["values"].items():
        expected = NAMED[name][value] if isinstance(value, str) else value
        assert found[name] == pytest.approx(nan if expected is None else expected, nan_ok=True), name


def test_disguised_texts_have_the_values_of_their_definition() -> None:
    """Each line has a text, and the values that plain Python computed once from their definitions; 0 and missing ones are left out."""
    cases: list[Any] = [each.values[0] for each in read_cases("disguised_texts")]
    known = {name for case in cases for name in case["values"]}
    for case in cases:
        found = {name: value for name, value in read(case["text"]).items() if name in known}
        assert {name: value for name, value in found.items() if value and not isnan(value)} == case["values"]


SPELLINGS = [term.spelling for term in [*read_names(), *read_words()]]
ORDINARY = [
    *("tea", "gift", "shirt", "500g", "3", "MMC", "card", "meow", "box", "|", "of", "대마", "粉末", "XXX"),
    *("silica", "africa", "-", "--", ".", "4", "1", "l", "s", "58-08-2", "4-methyl", "2,5-dim", "(", "WPX"),
]
TO_CYRILLIC = str.maketrans("aeopcxyTMHK", "аеорсхуТМНК")
TO_DIGITS = str.maketrans("oieastb", "0134578")


@st.composite
def disguised(draw: st.DrawFn) -> str:
    spelling: str = draw(st.sampled_from(SPELLINGS))
    how = draw(st.sampled_from(["plain", "spaced", "cyrillic", "digits", "split", "wide", "joined"]))
    at = draw(st.integers(0, len(spelling)))
    between = draw(st.sampled_from([" ", "-", ".", " - ", "  ", "\u200b", "s", "5", "|", " -- "]))
    return {
        "plain": spelling,
        "spaced": between.join(spelling),
        "cyrillic": spelling[:at].translate(TO_CYRILLIC) + spelling[at:],
        "digits": spelling[:at] + spelling[at:].lower().translate(TO_DIGITS),
        "split": spelling[:at] + between + spelling[at:],
        "wide": "".join(chr(ord(char) + 0xFEE0) if "!" <= char <= "~" else char for char in spelling),
        "joined": spelling.replace("-", "").replace(" ", ""),
    }[how]


ANY_TEXT = st.text(st.characters(exclude_categories=()), min_size=1, max_size=40)
MIXED_TEXT = st.builds(
    lambda parts, between: between.join(parts),
    st.lists(disguised() | st.sampled_from(ORDINARY) | ANY_TEXT, min_size=1, max_size=6),
    st.sampled_from([" ", "", "-", ", ", " | "]),
).filter(bool)


@given(MIXED_TEXT)
def test_any_text_is_read_safely_and_has_no_value_without_end(text: str) -> None:
    values = read(text)
    assert values["described"] == 1
    assert values["characters"] == len(normalize("NFC", text))
    assert not np.isinf([*values.values()]).any()


@given(MIXED_TEXT)
def test_the_text_score_is_the_sum_over_distinct_buckets(text: str) -> None:
    score = kernel.score_text(encode_text(text), load_goods_tables(), WEIGHTS)
    assert score == plain_score(text, WEIGHTS.tolist())


@pytest.mark.parametrize("char", ["a", "ﷺ", "½", "|", " ", "\ud800", "\U0010ffff", "9-", "'", "粉", "\u0301"])
def test_a_text_at_its_longest_is_read_safely(char: str) -> None:
    assert read(char * 4 * MAX_CHARACTERS)["described"] == 1


def test_arrays_of_another_size_are_refused() -> None:
    row, tables = np.full(kernel.TEXT_SCORE + 1, -9, np.float32), load_goods_tables()
    tea, long = encode_text("tea"), np.frombuffer(bytes(4 * (MAX_CHARACTERS + 1)), np.uint32)
    for text, weights, to in ((long, WEIGHTS, row), (tea, WEIGHTS[1:], row), (tea, WEIGHTS, row[1:])):
        assert kernel.write_goods(text, tables, weights, 0, 0, to) == kernel.REFUSED
    assert (row == -9).all()
    assert kernel.locate_terms(long, tables, np.zeros((1, kernel.HIT_COLUMNS), np.int32)) == kernel.REFUSED
    assert isnan(kernel.score_text(long, tables, WEIGHTS))
    assert kernel.count_buckets(long, tables, np.zeros(kernel.TEXT_BUCKETS), 1.0) == kernel.REFUSED


@pytest.mark.slow
def test_hostile_texts_stay_within_the_bounds_of_the_arrays(tmp_path: Path) -> None:
    """The tests of this file again, with kernels that were compiled with checks of bounds."""
    environment = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
