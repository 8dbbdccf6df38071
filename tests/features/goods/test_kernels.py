import os
import subprocess
import sys
from math import isnan
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.described import build_pipeline, describe_group
from support.examples import make_consignment
from support.goods_oracle import get_family_name, plain_score, plain_values

from features.goods.kernels import (
    CLASS,
    CONTEXT,
    HIT_COLUMNS,
    MEDICINE,
    REFUSED,
    SPECIFIC,
    TEXT_BUCKETS,
    TEXT_SCORE,
    count_buckets,
    locate_terms,
    score_text,
    write_goods,
)
from features.goods.lexicon import load_text_tables, read_names, read_words
from features.goods.tables import load_goods_tables
from features.goods.texts import encode_text
from features.normalization.normal_forms import MAX_CHARACTERS

WEIGHTS = np.random.default_rng(7).normal(size=TEXT_BUCKETS).astype(np.float32)
PIPELINE = build_pipeline(text_weights=WEIGHTS)


def read(text: str) -> dict[str, float]:
    """Give the kernel's values of a text."""
    return describe_group("goods", PIPELINE, make_consignment(description=text, hs_code=None))


def tiers(text: str) -> tuple[int, ...]:
    """Give the numbers of specific names, class names, medicines and context names in a text."""
    values = read(text)
    return tuple(int(values[f"names_{tier}"]) for tier in ("specific", "class", "medicine", "context"))


SPECIFIC_ONCE, CLASS_ONCE, MEDICINE_ONCE, CONTEXT_ONCE, NOTHING = (
    (1, 0, 0, 0),
    (0, 1, 0, 0),
    (0, 0, 1, 0),
    (0, 0, 0, 1),
    (0, 0, 0, 0),
)


# --- names ---


@pytest.mark.parametrize(
    "text",
    [
        "mephedrone",
        "MEPHEDRONE 99%",
        "4-CMC",
        "4CMC",
        "(4-CMC)",
        "4-CMC/10g",
        "100g etizolam",
        "etizolam10mg",
        "JWH 018",
        "jwh018 sample",
        "MDMB-4en-PINACA",
        "mdmb4enpinaca",
        "N,N-dimethylpentylone",
        "메페드론분말",
        "мефедрон",
    ],
)
def test_a_listed_name_is_found_however_it_is_joined(text: str) -> None:
    assert tiers(text) == SPECIFIC_ONCE
    assert read(text)["names_disguised"] == 0


@pytest.mark.parametrize(
    "text",
    [
        "4 - C M C",
        "4.C.M.C",
        "e t i z o l a m",
        "etizo-lam",
        "eti.zolam",
        "mephe drone",
        "m3phedr0ne",
        "JWH-O18",
        "etizoIam",
    ],
)
def test_a_name_spaced_out_or_with_digits_for_letters_is_found_as_disguised(text: str) -> None:
    values = read(text)
    assert (values["names_specific"], values["names_disguised"]) == (1, 1)


def test_a_substance_spelt_with_cyrillic_letters_is_found() -> None:
    values = read("еtizоlаm")
    assert (values["names_specific"], values["names_disguised"], values["mixed_script_words"]) == (1, 1, 1)
    assert get_family_name(values["name_family"]) == "designer_benzodiazepine"


def test_full_width_and_invisible_letters_hide_nothing() -> None:
    assert tiers("４－ＣＭＣ") == tiers("4\u200b-C\u00adMC") == SPECIFIC_ONCE
    assert read("4\u200b-C\u00adMC")["invisible"] == 2


def test_a_single_mark_between_the_parts_of_a_code_is_no_disguise() -> None:
    assert tiers("3.MMC") == tiers("3_MMC") == SPECIFIC_ONCE
    assert read("3.MMC")["names_disguised"] == 0


@pytest.mark.parametrize(
    "text", ["meow", "ice", "spice", "pot", "glass", "pink", "cat tabs", "special kit", "speed"]
)
def test_meow_or_ice_alone_does_not_fire(text: str) -> None:
    assert tiers(text) == NOTHING


@pytest.mark.parametrize(
    "text", ["HHC", "doc", "25C", "2C-B", "amt", "meow meow", "THCO", "kava tea", "khat"]
)
def test_a_short_or_ordinary_name_is_only_a_hint(text: str) -> None:
    values = read(text)
    assert tiers(text) == CONTEXT_ONCE
    assert (values["name_tier"], values["context_supported"]) == (CONTEXT, 0)


def test_a_hint_beside_powder_or_chemistry_is_supported() -> None:
    assert read("DOC powder")["context_supported"] == 1
    assert read("DOC, 4-chloro compound")["context_supported"] == 1


@pytest.mark.parametrize(
    "text",
    [
        "silica gel africa replica",
        "racing drone",
        "Michael Caine poster",
        "eMMC module 32GB",
        "cotton lemmings",
        "14cmc",
        "2cmcx board",
        "china, ca",
        "X4CMC2",
        "morning amtrak docket",
        "hurricane lamp",
        "dolphin and endorphins",
        "africana zola magazine",
        "a prompt reply",
    ],
)
def test_ordinary_words_and_part_numbers_do_not_fire(text: str) -> None:
    assert tiers(text) == NOTHING


def test_three_memory_cards_are_a_quantity_and_only_hint() -> None:
    assert tiers("3 MMC cards") == CONTEXT_ONCE
    assert tiers("MMC cards, 3 pcs") == NOTHING


@pytest.mark.parametrize(
    ("text", "family"),
    [
        ("isofluonitazene", "nitazene"),
        ("xyzonitazepyne", "nitazene"),
        ("ADB-XYZ-INACA or ADB-HEXYLINACA", "synthetic_cannabinoid"),
        ("5F-EDMB-PICA", "synthetic_cannabinoid"),
        ("JWH-424", "synthetic_cannabinoid"),
        ("4-CEC", "cathinone"),
        ("isoheptedrone", "cathinone"),
        ("alpha-PCYP", "cathinone"),
        ("isobutylone", "cathinone"),
        ("25X-NBOMe", "phenethylamine"),
        ("4-PrO-DMT", "tryptamine"),
        ("1DD-LSD", "lysergamide"),
        ("flubrozolam", "designer_benzodiazepine"),
        ("methoxyacetylfentanyl", "fentanyl_analogue"),
        ("spirochlorphine", "other_opioid"),
        ("fluorexetamine", "dissociative"),
        ("nitracaine", "other"),
    ],
)
def test_a_name_nobody_has_listed_yet_fires_its_class(text: str, family: str) -> None:
    values = read(text)
    assert (values["names_specific"], values["name_tier"]) == (0, CLASS)
    assert get_family_name(values["name_family"]) == family


def test_a_nitazene_nobody_has_listed_yet_fires_its_class() -> None:
    assert tiers("etomethonitazene") == CLASS_ONCE
    assert tiers("etometho-nitazepyne") == CLASS_ONCE
    assert tiers("e t o m e t h o n i t a z e p y n e") == CLASS_ONCE


def test_a_medicine_is_a_medicine_and_not_an_unknown_member_of_its_class() -> None:
    for text in ("alprazolam", "lidocaine cream", "ketamine", "morphine", "졸피뎀"):
        assert tiers(text) == MEDICINE_ONCE
        assert read(text)["name_tier"] == MEDICINE


def test_the_strongest_name_gives_tier_and_family() -> None:
    values = read("khat, alprazolam and 3-CMC")
    assert (values["name_tier"], get_family_name(values["name_family"])) == (SPECIFIC, "cathinone")
    assert isnan(read("cotton socks")["name_family"])


# --- other words ---


def test_a_cas_number_counts_only_with_its_check_digit() -> None:
    good, bad = read("CAS 58-08-2 caffeine"), read("58-08-3")
    assert (good["cas_numbers"], good["cas_misprints"]) == (1, 0)
    assert (bad["cas_numbers"], bad["cas_misprints"]) == (0, 1)
    assert read("tel 02-158-08-2")["cas_numbers"] == read("158-08-21")["cas_numbers"] == 0


def test_an_unlisted_chemical_name_is_seen_by_its_shape() -> None:
    values = read("1-(4-bromophenyl)-2,5-dimethoxy-propyl acetate")
    assert values["unknown_chemical"] == 1
    assert (values["locants"], values["brackets"]) == (2, 1)
    assert read("4-chloromethcathinone")["unknown_chemical"] == 0  # it is listed
    assert read("3-piece methyl set")["locants"] == 1


@pytest.mark.parametrize(
    "text",
    ["gift", "Gifts", "GIFT BOX", "freight all kinds", "선물", "礼品", "E-Commerce goods", "gift | samples"],
)
def test_a_text_of_vague_terms_only_is_vague(text: str) -> None:
    assert read(text)["vague_whole"] == 1


def test_a_vague_word_in_a_longer_text_counts_by_its_share() -> None:
    values = read("wooden gift, spare parts")
    assert (values["vague_whole"], values["vague_share"]) == (0, 0.75)
    assert read("gift | cotton socks")["vague_whole"] == 0


def test_notes_on_freight_are_no_goods() -> None:
    assert read("FREIGHT PREPAID Ref No. 12 TOP URGENT CARGO")["admin_words"] >= 3


@pytest.mark.parametrize(
    "text", ["123456", "WPX", ".pdf", "XXX", "...", "-", "  ", "#@!", "12-34/5", "ㅋㅋㅋ"]
)
def test_an_invalid_text_is_seen(text: str) -> None:
    assert read(text)["invalid"] == 1


@pytest.mark.parametrize("text", ["xx", "t-shirt", "XXL shirt", "옷", "a1"])
def test_a_poor_text_is_not_yet_invalid(text: str) -> None:
    assert read(text)["invalid"] == 0


def test_a_pretext_is_counted_in_other_languages_too() -> None:
    for text in ("bath salts", "Badesalz", "sales de baño", "입욕제", "浴盐", "not for human consumption"):
        assert read(text)["pretext_words"] == 1


def test_pet_food_is_no_food_and_protein_powder_is_powder_too() -> None:
    assert (read("pet food")["text_families"], read("pet food")["cover_feed"]) == (1, 1)
    protein = read("protein powder")
    assert protein["powder_words"] == 1
    assert protein["text_families"] == 1


def test_the_shape_of_a_text_is_measured_on_what_is_inked() -> None:
    values = read("AB 12, é")
    shape = ("characters", "tokens", "upper_share", "digit_share", "mark_share", "non_ascii_share")
    assert [round(values[name], 4) for name in shape] == [
        8,
        3,
        round(2 / 6, 4),
        round(2 / 6, 4),
        round(1 / 6, 4),
        round(1 / 6, 4),
    ]


def test_scripts_are_told_apart() -> None:
    scripts = {
        text: [name for name in ("latin", "cyrillic", "hangul", "cjk") if read(text)[name]]
        for text in ("tea 차 茶", "чай", "お茶")
    }
    assert scripts == {"tea 차 茶": ["latin", "hangul", "cjk"], "чай": ["cyrillic"], "お茶": ["cjk"]}


# --- the kernel and its plain twin ---

SPELLINGS = [term.spelling for term in [*read_names(), *read_words()]]
ORDINARY = [
    "tea",
    "gift",
    "shirt",
    "500g",
    "3",
    "MMC",
    "card",
    "meow",
    "box",
    "|",
    "of",
    "대마",
    "粉末",
    "XXX",
    "silica",
    "africa",
    "-",
    "--",
    ".",
    "4",
    "1",
    "l",
    "s",
    "58-08-2",
    "4-methyl",
    "2,5-dim",
    "(",
    "WPX",
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


@settings(max_examples=250)
@given(MIXED_TEXT)
def test_the_kernel_says_what_the_definition_says(text: str) -> None:
    got, wanted = read(text), plain_values(text)
    assert {name: got[name] for name in wanted} == pytest.approx(
        {name: float(np.float32(value)) for name, value in wanted.items()}, rel=0, abs=0, nan_ok=True
    )


@given(MIXED_TEXT)
def test_the_text_score_is_the_sum_over_distinct_buckets(text: str) -> None:
    assert score_text(encode_text(text), load_goods_tables(), WEIGHTS) == plain_score(text, WEIGHTS.tolist())


@settings(max_examples=30)
@given(st.text(st.characters(exclude_categories=()), min_size=3000, max_size=4000))
def test_a_long_text_of_anything_is_read_safely(text: str) -> None:
    values = read(text)
    assert values["described"] == 1
    assert values["characters"] <= MAX_CHARACTERS


@pytest.mark.parametrize("char", ["a", "ﷺ", "½", "|", " ", "\ud800", "\U0010ffff", "9-", "'", "粉", "\u0301"])
def test_a_text_at_its_longest_is_read_safely(char: str) -> None:
    assert read(char * 4 * MAX_CHARACTERS)["described"] == 1


def test_where_there_is_no_text_its_values_are_missing() -> None:
    values = read("")
    assert values["described"] == 0
    assert isnan(values["names_specific"])
    assert isnan(values["text_score"])


def test_arrays_of_another_size_are_refused() -> None:
    row, tables = np.full(TEXT_SCORE + 1, -9, np.float32), load_goods_tables()
    for text, weights, to in (
        (np.zeros(MAX_CHARACTERS + 1, np.uint32), WEIGHTS, row),
        (encode_text("tea"), WEIGHTS[1:], row),
        (encode_text("tea"), WEIGHTS, row[1:]),
    ):
        assert write_goods(text, tables, weights, 0, 0, to) == REFUSED
    assert (row == -9).all()
    long = np.zeros(MAX_CHARACTERS + 1, np.uint32)
    assert locate_terms(long, tables, np.zeros((1, HIT_COLUMNS), np.int32)) == REFUSED
    assert isnan(score_text(long, tables, WEIGHTS))
    assert count_buckets(long, tables, np.zeros(TEXT_BUCKETS), 1.0) == REFUSED


CHECKED = """
import random
from support.hostile_rows import BASES, GOODS_TEXTS, ODD_LETTERS, make_text
from support.described import build_pipeline, describe_by_name
from support.examples import make_consignment
from features.goods.lexicon import read_names

draws, pipeline = random.Random(3), build_pipeline()
names = [term.spelling for term in read_names()]
for row in range(5000):
    text = make_text(draws, draws.choice((*GOODS_TEXTS, *names)))
    describe_by_name(pipeline, make_consignment(description=text and text * draws.choice((1, 1, 2, 200))))
"""


@pytest.mark.slow
def test_the_compiled_kernel_leaves_no_array(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHECKED],
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join(sys.path),
            "NUMBA_BOUNDSCHECK": "1",
            "NUMBA_CACHE_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_tables_are_built_once() -> None:
    assert load_text_tables() is load_text_tables()
