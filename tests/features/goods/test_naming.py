"""Words quoted from a goods text: as the text spells them, whole words, and only those that the features count."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import read_cases
from support.described import build_pipeline, describe_by_name

from consignments.records import Consignment
from features.goods.naming import QUOTED_FEATURES, GoodsWords

PIPELINE = build_pipeline()
COUNTED = sorted(QUOTED_FEATURES - {"goods.vague_whole", "goods.context_supported"})


def count(text):
    return describe_by_name(PIPELINE, Consignment(consignment_id="A", channel="postal", description=text))


@pytest.mark.parametrize("case", read_cases("quoted_words"))
def test_words_are_quoted_as_the_text_spells_them(case):
    assert GoodsWords(case["text"]).list_words(f"goods.{case['feature']}") == case["words"]


@given(st.text(max_size=60) | st.sampled_from(["4-MMC and 3-MMC", "ket4mine", "research chemical powder"]))
def test_a_word_can_be_quoted_exactly_if_the_feature_counts_one(text):
    values, words = count(text), GoodsWords(text)
    for feature in COUNTED:
        assert bool(values[feature] > 0) == bool(words.list_words(feature)), feature


@given(st.text(max_size=3000))
def test_any_text_gives_short_printable_words(text):
    words = GoodsWords(text)
    for feature in QUOTED_FEATURES:
        quoted = words.list_words(feature)
        assert len(quoted) <= 3
        assert all(0 < len(word) <= 41 and word.isprintable() for word in quoted)
