"""Hostile consignments: mutated and stitched texts of parties."""

import random
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import msgspec
from support.examples import make_consignment

from consignments.records import Consignment, Item
from features.normalization.addresses import ADDRESS_WORDS
from features.normalization.names import BUSINESS_WORDS, LEGAL_FORM_PHRASES, NAME_WORDS
from features.parties import (
    CHEMICAL_PHRASES,
    FIRM_PHRASES,
    FREE_PROVIDERS,
    HOME_SIGNS,
    OFFICE_WORDS,
    PARTS,
    PLACEHOLDERS,
    UNTRACEABLE_PROVIDERS,
    VIRTUAL_OFFICE_WORDS,
)
from features.table import SIDES

MAX_CHARACTERS = 500
PIECES = sorted(
    {
        *ADDRESS_WORDS,
        *NAME_WORDS,
        *LEGAL_FORM_PHRASES,
        *BUSINESS_WORDS,
        *CHEMICAL_PHRASES,
        *FIRM_PHRASES,
        *HOME_SIGNS,
        *OFFICE_WORDS,
        *PLACEHOLDERS,
        *VIRTUAL_OFFICE_WORDS,
        *FREE_PROVIDERS,
        *UNTRACEABLE_PROVIDERS,
    }
)
DETAIL_COLUMNS = tuple(f"{side}_{part}" for side in SIDES for part in PARTS)
BASES = (
    msgspec.structs.asdict(make_consignment()),
    msgspec.structs.asdict(
        make_consignment(
            sender_name="주식회사 한빛 화학", sender_address="테헤란로 45, 101동 1203호", sender_city="서울", sender_postcode="062 32",
            sender_country="KR", sender_phone="010-5550-1234", sender_email="J.Doe+shop@GMail.com", consignee_name="Kim Min-su",
            consignee_address="12 Student Dormitory, Flat 3", consignee_city="London", consignee_postcode="E1 6AN",
            consignee_country="GB", consignee_phone="+44 20 7946 0018 ext 3", consignee_email="x@mailinator.com",
        )
    ),
    msgspec.structs.asdict(
        make_consignment(
            sender_name="武汉生物科技有限公司", sender_address="ул. Ленина 5, кв. 7", sender_city="Москва", sender_postcode="101000",
            sender_country="RU", sender_phone="8 (916) 123-45-67", sender_email="продажи@пример.рф", account_id="ACC 7",
            consignee_name="Müller GmbH & Co. KG", consignee_address="Hauptstraße 5, Postfach 12", consignee_city="Köln",
            consignee_country="DE", consignee_phone="0221/123456",
        )
    ),
)  # fmt: skip
# Combining marks, full width, ligatures, Hangul in letters, invisible signs, NUL, letters whose case is more than one letter.
ODD_LETTERS = (
    *"\u0301\u0308\u030a\u0323\u0345\u093c\u09be\u3099\u1161\u11a8ＡＢｃ１２－．＃ﬁﬂﬀﷺﷻ㈜㎏№℃ßẞİıſKÅΣσςǅŉ가각힣ᄀ한님様御中ア゙ﾊﾞ",
    *"\0\x1c\x1f\x85\xa0\u1680\u2003\u2028\u200b\u200d\u202e\u2060\ufeff\u3000\t\n\r|@<>+._-/#,;:'`()[]*!?0123456789xXeEkK",
    *"אبगกა中文한국日本áäöüñøåæœłşžđћжщыїюяΩπ😀🫠👨🏽𝐀𝟘𐍈\ud7ff\ue000\uffff\U0010ffff",
)
STITCHED = (
    "p.o. box no. 77", "po box12", "post office box 5", "postoffice box nr 9", "p o b 12", "pob number 3", "boite postale 8",
    "postfach 12 34", "saseoham 7", "apartado5", "101dong 1203ho", "3dong, 12ho", "12ho", "5dong12ho", "flat 3", "#12-3", "apt no 5",
    "3rd floor", "fl 3", "3 fl", "floor x", "bldg 5", "blk a", "45-gil", "teheran-ro 45", "12--5", "5-", "-5", "hauptstrasse",
    "hauptstr.", "12str", "daero", "xdaeroro", "45gilro", "1-2-3", "a-1", "1-a", "apt ,", "unit -5", "suite 1-2", "99f", "100f", "7cheung",
    "mailto:a.b+c@gmail.com", "<x@y.z>", "a@b@googlemail.com", "+@gmail.com", "....@gmail.com", "A B <a@qq.com>.", "@", "a@",
    "+82 (0)10 5550 1234", "0082 10 5550 1234", "011 82 10 55501234", "8 916 123 45 67", "06 1 234 5678", "ext 12", "x5", "12345ext6",
    "1234567", "7777777", "+1", "00", "001", "+999 12345", "9198765432", "80 29 123 45 67", "12345/67890", "0000000",
    "06221/123456", "0049 (0)33701/12345", "010-1234-5678/010-", "00/00/123456789/1", "Kim Doo Na", "A.B. Smith", "Acme Trading Co", "Zao The",
    "a@mailinator.com\u200b", "\ufeffa\u00ad@qq.com",
)  # fmt: skip
COUNTRIES = (
    "KR",
    "kr ",
    "US",
    "GB",
    "DE",
    "RU",
    "HU",
    "IT",
    "BY",
    "KZ",
    "CN",
    "XX",
    "",
    " ",
    "A|B",
    "ﬁ",
    "ß",
    "ısl",
    "K",
    "K\u200bR",
    None,
)
NUMBERS = (
    0.0,
    -0.0,
    1.0,
    2,
    0.1,
    0.35,
    1e-5,
    1e-4,
    1e15,
    1e16,
    1e22,
    1e300,
    5e-324,
    123456.789,
    0.1 + 0.2,
    2**53 + 1,
    99999999999999.9,
)


def make_text(draws: random.Random, base: str | None) -> str | None:
    """Return a missing, stitched, mutated or random text."""
    way = draws.random()
    if way < 0.04:
        return draws.choice((None, "", " ", "\u3000", "\0"))
    if way < 0.5 or not base:
        parts = draws.choices((*STITCHED, *PIECES), k=draws.randint(1, 5))
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


GOODS_TEXTS = (
    None, "", " ", "cotton t-shirts", "4-CMC crystals, sample", "DOC powder 99.9%", "면 티셔츠", "手机壳 silicon", "Gift", "2,5-dimethoxy 50-00-0",
    "е\u0301tizоlаm 10mg", "cafe\u0301", "a | b", "vitamin tablets|socks", "\u1112\u1161\u11ab", "x" * 4000, "ﷺ" * 700, "\U0001d160 note",
)  # fmt: skip
IDENTIFIERS = (
    "RB123456785GB", "rb 123 456 784 gb", "R-B123456785GB", " EE123456785KR\u3000", "QA123456785GB", "RB12345678５GB", "057-51987552/H1",
    "05751987552", "0575198 7552/", "057 51987553/ x", "180-12345675", "1801234567/5", "K\u212a123456785GB", "ﬀ123456785GB", "ß123456785GB",
    "R\u0041\u030a123456785GB", "e\u0301", "  ", "\u00a0", "123456789012", "057-5198-7552", "Lot-7",
)  # fmt: skip
SERVICES = ("ems", "small_packet", "EMS", " ems", "\u2003Ems", "parcel", "letter", "", None, "ä", "express")
ROUTES = (
    "PVG>HKG>ICN", "pvg > hkg>icn", ">", "", " > ", None, "CNSHAA>KRSELB", "cnshaa>NLAMS1>krselb", "LHR>ICN>LHR", "ZZZ>ICN", "12>??>a", "ﬁn>icn",
    "A>B>C>A", "HKG>PVG>ICN>AMS>NRT", "ıst>IST", "PVG>>ICN", "\u3000PVG\u3000>ICN", ">".join("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
)  # fmt: skip
CURRENCIES = (
    "USD",
    "usd ",
    "GBP",
    "KRW",
    "SAR",
    "VND",
    "ＵＳＤ",
    "ßd",
    "us",
    "U1D",
    None,
    "",
    "ǰaa",
    "krw",
    "İaa",
)
HS_CODES = (
    "6109.10",
    "610910",
    "12345678901",
    "61",
    "6",
    "x",
    None,
    "",
    "2922.39",
    "６１０９",
    "0902 10",
    "770000",
    "29",
    "61091000000000",
    "9024000",
    "٨٥١٧ १२",
    "②½五",
)
AMOUNTS = (
    None, 0.0, -0.0, 1.0, 2, 100.0, 99.5, 1e300, 1e-300, 5e-324, float("inf"), float("nan"), -3.5, -7, 2**70, 2**64 - 1, -(2**40), 3.4028e38,
    3.5e38, 0.1, True, -200, 40_000, 70_000, 5_000_000_000, -40_000, -130,
)  # fmt: skip
CATEGORIES = (
    "Royal Mail",
    "royal mail ",
    " ROYAL MAIL\t",
    "Nobody",
    "",
    " ",
    None,
    "DHL",
    "ß",
    "SS",
    "İ",
    "ı",
    "\u1e9e",
    "ǰ",
    "ﬁ",
    "K",
    "大韓",
    "\ud800",
)
QUALITY = (
    None,
    (),
    ("hs_missing", "check_digit"),
    ("hs_missing", "hs_missing"),
    ("other", "other", "ä"),
    (" hs_missing",),
    ("\ud800",),
    ("text_cut",) * 20,
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
    """Return hostile values of all columns that are no details of parties."""
    pools: dict[str, tuple[Any, ...]] = {
        "consignment_id": IDENTIFIERS, "channel": ("postal", "air_cargo"), "service": SERVICES, "master_id": (*IDENTIFIERS, None),
        "route": ROUTES, "currency": CURRENCIES, "hs_code": HS_CODES, "description": GOODS_TEXTS, "quality": QUALITY,
        "level": (None, None, "house"), "issued_at": (None, None, datetime(2024, 3, 1, tzinfo=UTC)),
        **dict.fromkeys(("payment", "carrier", "office", "tax_type", "declarant"), CATEGORIES),
        **dict.fromkeys(("departure_country", "destination_country", "origin_country"), COUNTRIES),
        **dict.fromkeys(("pieces", "gross_weight_kg", "declared_value", "postage", "tax_rate"), AMOUNTS),
        "received_at": (
            None, datetime(2024, 3, 4, 5, tzinfo=UTC), datetime(2024, 3, 5, 1, tzinfo=timezone(timedelta(hours=9))), datetime(1, 1, 2, tzinfo=UTC),
            datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC), datetime(2024, 3, 4, 0, 0, 0, 7, tzinfo=UTC),
        ),
        "account_opened_on": (date(2024, 1, 5), date(2030, 1, 1), date(1, 1, 1), date(9999, 12, 31), date(2024, 2, 29), None),
    }  # fmt: skip
    return {name: draws.choice(pool) for name, pool in pools.items()} | {"items": make_items(draws)}


def make_hostile(draws: random.Random, base: dict[str, Any], record: type[Consignment]) -> Consignment:
    """Return a consignment with hostile details, from the details of another one; every second one has hostile goods."""
    values = dict(base)
    for name in DETAIL_COLUMNS:
        if name.endswith("country"):
            values[name] = draws.choice(COUNTRIES) if draws.random() < 0.5 else base.get(name)
        elif draws.random() < 0.7:
            values[name] = make_text(draws, base.get(name))
    if draws.random() < 0.1:
        for part in ("name", "address", "city", "postcode", "country", "phone", "email"):
            values[f"consignee_{part}"] = values[f"sender_{part}"]
    for name in ("account_id", "departure_country", "origin_country", "route", "declarant", "currency"):
        if draws.random() < 0.3:
            values[name] = (make_text(draws, base.get(name)) or "")[:100]
    for name in ("gross_weight_kg", "declared_value"):
        draw = draws.random()
        if draw < 0.2:
            values[name] = draws.choice((*NUMBERS, None))
        elif draw < 0.6:
            values[name] = round(draws.random() * 10 ** draws.randint(0, 6), draws.randint(0, 5))
    values["nature"] = draws.choice(("gift", "sale", "Gift", "sale ", "\u2003GIFT", "ſale", "", None))
    values["hs_code"] = draws.choice(("6109.10", "610910", "12345678901", "61", "x", None))
    values["account_opened_on"] = draws.choice((date(2024, 1, 5), date(2030, 1, 1), None))
    values["received_at"] = datetime(2024, 3, 4, 5, tzinfo=UTC)
    if draws.random() < 0.5:
        values |= make_goods(draws)
    return record(**values)
