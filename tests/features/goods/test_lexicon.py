"""The tables of goods: names, words, vague terms and headings, each with one meaning."""

import csv
from collections import defaultdict
from pathlib import Path

import pytest

from consignments.goods.descriptions import read_vague_terms
from features.goods import hs, lexicon
from features.goods import kernels as kernel
from features.goods.hs import COVER_HEADINGS, FAMILIES, FAMILY_CODES, TYPICAL_CODES

SEED = Path(__file__).parents[4] / "shared" / "data" / "seed_lexicon.csv"
PACKAGE = Path(kernel.__file__).parent


def letters(spelling: str) -> tuple[int, ...]:
    return tuple(letter & kernel.CODE_MASK for letter, _ in lexicon.strip_separators(spelling))


def test_a_spelling_of_four_letters_never_fires_alone() -> None:
    short = [term for term in lexicon.read_names() if len(term.spelling) <= 4]
    assert {"HHC", "2C-B", "khat"} <= {term.spelling for term in short}
    assert not [term for term in short if term.tier == kernel.SPECIFIC and term.spelling.isascii()]


def test_a_spelling_has_one_meaning() -> None:
    meanings = defaultdict(set)
    for term in [*lexicon.read_names(), *lexicon.read_words()]:
        if term.tier != kernel.CLASS:
            meanings[term.sort, letters(term.spelling)].add((term.family, term.slot))
    assert [spelling for spelling, found in meanings.items() if len(found) > 1] == []


def test_every_seed_name_is_known() -> None:
    if not SEED.exists():
        pytest.skip("the seed lexicon is not beside this checkout")
    known = {letters(term.spelling) for term in lexicon.read_names()}
    with SEED.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for row in rows for name in [row["name"], *filter(None, row["aliases"].split("|"))]]
    assert len(names) > 150
    assert [name for name in names if letters(name) not in known] == []


def test_families_and_kinds_are_all_known() -> None:
    with (PACKAGE / "lexicon.csv").open(encoding="utf-8", newline="") as file:
        assert {row["family"] for row in csv.DictReader(file)} == set(lexicon.SUBSTANCE_FAMILIES)
    with (PACKAGE / "goods_words.csv").open(encoding="utf-8", newline="") as file:
        kinds = {row["kind"] for row in csv.DictReader(file)}
    assert kinds == (set(FAMILIES) - {"other"}) | set(lexicon.WORD_SLOTS)


def test_vague_terms_stand_in_their_normal_form_once() -> None:
    terms = read_vague_terms()
    hashes = [lexicon.hash_words(term) for term in terms]
    assert len(set(hashes)) == len(terms) > 300
    assert [term for term in terms if term != " ".join(term.split()) or term != term.lower()] == []
    assert [term for term in terms if any("à" <= char <= "ÿ" for char in term)] == []


def test_every_known_heading_belongs_to_a_family_and_those_that_matter_exist() -> None:
    codes = hs.build_codes()
    known = (codes & kernel.HEADING_KNOWN) != 0
    assert ((codes[known] & kernel.FAMILY_MASK) != 0).all()
    assert known.sum() == 1228 * 100
    for number in TYPICAL_CODES.split():
        assert codes[int(number)] & kernel.TYPICAL
        assert codes[int(number)] & kernel.HEADING_KNOWN
    for number in COVER_HEADINGS.split():
        assert codes[int(number) * 100 + 99] & kernel.COVER


def test_footwear_may_be_of_rubber_textile_or_leather() -> None:
    fitting = hs.build_friends()[hs.build_codes()[640411] & kernel.FAMILY_MASK]
    assert all(fitting >> FAMILY_CODES[family] & 1 for family in ("plastic", "textile", "leather"))
