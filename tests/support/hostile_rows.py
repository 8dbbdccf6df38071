"""Hostile goods: mutated and joined texts, codes and items."""

import random
from typing import Any

from consignments.records import Item

MAX_CHARACTERS = 500
# Combining marks, full width, ligatures, Hangul in letters, invisible signs, NUL, letters whose case is more than one letter.
ODD_LETTERS = (
    *"\u0301\u0308\u030a\u0323\u0345\u093c\u09be\u3099\u1161\u11a8ＡＢｃ１２－．＃ﬁﬂﬀﷺﷻ㈜㎏№℃ßẞİıſKÅΣσςǅŉ가각힣ᄀ한님様御中ア゙ﾊﾞ",
    *"\0\x1c\x1f\x85\xa0\u1680\u2003\u2028\u200b\u200d\u202e\u2060\ufeff\u3000\t\n\r|@<>+._-/#,;:'`()[]*!?0123456789xXeEkK",
    *"אبगกა中文한국日本áäöüñøåæœłşžđћжщыїюяΩπ😀🫠👨🏽𝐀𝟘𐍈\ud7ff\ue000\uffff\U0010ffff",
)
GOODS_TEXTS = (
    None, "", " ", "cotton t-shirts", "4-CMC crystals, sample", "DOC powder 99.9%", "면 티셔츠", "手机壳 silicon", "Gift", "2,5-dimethoxy 50-00-0",
    "е\u0301tizоlаm 10mg", "cafe\u0301", "a | b", "vitamin tablets|socks", "\u1112\u1161\u11ab", "x" * 4000, "ﷺ" * 700, "\U0001d160 note",
)  # fmt: skip
HS_CODES = (
    *[
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
        "9024000",
        "②½五",
    ],
    *(None, "", "0902 10", "٨٥١٧ १२"),
)
AMOUNTS = (
    None,
    0.0,
    -0.0,
    1.0,
    2,
    99.5,
    1e300,
    1e-300,
    float("inf"),
    float("nan"),
    -3.5,
    2**70,
    3.5e38,
    0.1,
    True,
)


def make_text(draws: random.Random, base: str | None) -> str | None:
    """Return a missing, joined or mutated text."""
    way = draws.random()
    if way < 0.04:
        return draws.choice((None, "", " ", "\u3000", "\0"))
    if way < 0.5 or not base:
        parts = draws.choices(GOODS_TEXTS[3:15], k=draws.randint(1, 5))
        text = draws.choice((" ", "", ", ", "-", " ")).join(parts)
    else:
        text = base
    if draws.random() < 0.2:
        text = draws.choice((str.upper, str.title, str.swapcase))(text)
    letters = list(text)
    for _ in range(draws.choice((0, 0, 1, 1, 2, 5))):
        at = draws.randrange(len(letters) + 1)
        odd = draws.choice(ODD_LETTERS) if draws.random() < 0.8 else chr(draws.randrange(0x3000))
        change = draws.random()
        if change < 0.6:
            letters.insert(at, odd)
        elif change < 0.8 and letters:
            del letters[at % len(letters)]
        elif letters:
            letters[at % len(letters)] = odd
    text = "".join(letters)
    if draws.random() < 0.01:
        text = draws.choice((text or "x", draws.choice(ODD_LETTERS))) * 200
    return "".join(letter for letter in text if not 0xD800 <= ord(letter) < 0xE000)[:MAX_CHARACTERS]


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
