"""Hostile goods: mutated and joined texts, codes and items."""

import random
from typing import Any

from consignments.records import Item

GOODS_TEXTS = (
    None, "", " ", "cotton t-shirts", "4-CMC crystals, sample", "DOC powder 99.9%", "면 티셔츠", "手机壳 silicon", "Gift", "2,5-dimethoxy 50-00-0",
    "е\u0301tizоlаm 10mg", "cafe\u0301", "a | b", "vitamin tablets|socks", "\u1112\u1161\u11ab", "x" * 4000, "ﷺ" * 700, "\U0001d160 note",
)  # fmt: skip
HS_CODES = (
    *(
        "6109.10",
        "610910",
        "12345678901",
        "61",
        "6",
        "x",
        "2922.39",
        "６１０９",
        "770000",
        "29",
        "61091000000000",
    ),
    *("9024000", "②½五", None, "", "0902 10", "٨٥١٧ १२"),
)
AMOUNTS = (
    *(None, 0.0, -0.0, 1.0, 2, 99.5, 1e300, 1e-300, float("inf"), float("nan"), -3.5),
    *(2**70, 3.5e38, 0.1, True),
)


_item_draws = random.Random(1)
ITEM_TEXTS = [
    tuple(_item_draws.choice(GOODS_TEXTS[:12]) for _ in range(_item_draws.choice((0, 1, 2, 3, 5, 17))))
    for _ in range(40)
]
"""Descriptions of the items of a row: few, so that many rows share them."""


def make_items(draws: random.Random) -> tuple[Item, ...] | None:
    """Return no items, some, or rarely a thousand."""
    if draws.random() < 0.3:
        return None
    items = tuple(
        Item(
            description=text,
            hs_code=draws.choice(HS_CODES),
            **{
                name: draws.choice(AMOUNTS)
                for name in ("quantity", "net_weight_kg", "value")
                if draws.random() < 0.9
            },
        )
        for text in draws.choice(ITEM_TEXTS)
    )
    return (items * 1000)[:1000] if draws.random() < 0.01 else items


def make_goods(draws: random.Random) -> dict[str, Any]:
    """Return hostile values of the columns of goods."""
    return {
        "description": draws.choice(GOODS_TEXTS),
        "hs_code": draws.choice(HS_CODES),
        "items": make_items(draws),
    }
