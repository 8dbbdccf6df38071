from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.described import build_pipeline, describe_group
from support.examples import make_consignment

from consignments.errors import BundleRefused
from consignments.records import Item
from features.goods.goods import GOODS_FEATURES
from features.goods.tables import encode_text
from features.normalization.normal_forms import MAX_CHARACTERS, get_goods_text

PIPELINE = build_pipeline()
NAMES = [feature.name.removeprefix("goods.") for feature in GOODS_FEATURES]


def describe(**changes: Any) -> dict[str, float]:
    return describe_group("goods", PIPELINE, make_consignment(**changes))


def test_the_text_score_alone_is_fitted() -> None:
    assert [feature.name for feature in GOODS_FEATURES if feature.fitted] == ["goods.text_score"]
    assert describe()["text_score"] == 0


def test_weights_of_another_size_are_refused() -> None:
    with pytest.raises(BundleRefused, match="text weights have another size"):
        build_pipeline(text_weights=np.zeros(1024, dtype=np.float32))


@given(st.text(max_size=60), st.text("0123456789. ", max_size=14))
def test_a_row_does_not_depend_on_what_stood_in_it_before(description: str, hs_code: str) -> None:
    c = make_consignment(description=description, hs_code=hs_code)
    keys = np.zeros((2, 3, len(PIPELINE.kinds)), np.uint64)
    rows = np.repeat(np.array([-5.0, np.nan, 1e9], np.float32)[:, None], PIPELINE.history_at, axis=1)
    PIPELINE.fill_rows([c, c, c], rows, *keys)
    assert rows[0].tobytes() == rows[1].tobytes() == rows[2].tobytes()


LONG_TEXTS = ["a", "ab" * 1000, "b" * 4000, "é" * 4000, "c" * 3999, "手机" * 2000, "a\u0301" * 2000]


@given(st.lists(st.sampled_from(LONG_TEXTS) | st.text(max_size=9)))
def test_long_texts_are_cut_as_python_cuts_them(texts: list[str]) -> None:
    c = make_consignment(description="gift", items=tuple(map(Item, texts)))
    text = "".join(map(chr, encode_text(get_goods_text(c)).tolist()))
    names = [name for name in NAMES if not name.startswith("item")]
    got, alone = describe(description="gift", items=c.items), describe(description=text, items=None)
    assert [repr(got[name]) for name in names] == [repr(alone[name]) for name in names]
    assert len(get_goods_text(c)) <= MAX_CHARACTERS


def test_a_name_in_any_item_is_found_also_behind_long_texts() -> None:
    long = tuple(Item(description=f"cotton socks {number} " * 250) for number in range(5))
    assert sum(len(item.description or "") for item in long) > MAX_CHARACTERS
    for before in (long, (Item(description="socks"),)):
        values = describe(description="gift", items=(*before, Item(description="4-CMC crystals 99%")))
        assert (values["names_specific"], values["vague_whole"]) == (1, 0)


def test_a_thousand_long_texts_leave_room_for_each() -> None:
    items = tuple(Item(description=f"{number:04d} " + "socks " * 50) for number in range(1000))
    text = get_goods_text(make_consignment(description=None, items=items))
    assert text.count(" | ") == 999
    assert MAX_CHARACTERS - 1000 < len(text) <= MAX_CHARACTERS
    assert encode_text("é" * 100_000).size == 16_384
