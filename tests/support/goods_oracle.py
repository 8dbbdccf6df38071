"""The goods values of a text, written once more from their definitions: plain and slow, with strings and patterns."""

import re
from collections import Counter
from functools import cache
from itertools import groupby, pairwise
from math import nan, sqrt
from typing import NamedTuple
from unicodedata import category, normalize

from consignments.goods.descriptions import FILE_ENDINGS, read_vague_terms
from features.goods import kernels as kernel
from features.goods.character_folding import fold_character, is_invisible, is_unfolded
from features.goods.lexicon import (
    SUBSTANCE_FAMILIES,
    WORD_SLOTS,
    LexiconTerm,
    read_names,
    read_words,
)
from features.normalization.normal_forms import MAX_CHARACTERS

READ_AS_ONE = ("il1", "o0", "e3", "a4", "s5", "t7", "b8")  # what a name may be spelt with, one for another
_CAS_OR_LOCANT = re.compile(
    r"(?<![0-9a-z가])(?:(?<!-)(?P<cas>[0-9]{2,7}-[0-9][0-9]-[0-9])(?![0-9a-z가-])"
    r"|(?P<locant>[0-9]{1,2}(?:,[0-9]{1,2})*)(?=-[a-z]{3}))"
)
BROKEN = "broken"


class Letter(NamedTuple):
    char: str
    lookalike: bool
    gap: str  # what stood before: '', ' ', '-', ' -' (both), or BROKEN


def plain_values(text: str) -> dict[str, float]:
    """Give what the kernel writes for a text that is not '', by feature name; no HS code, no items."""
    text = normalize("NFC", text[:MAX_CHARACTERS])[:MAX_CHARACTERS]
    folded = [stood for char in text for stood in fold_character(char)]
    values = {"described": 1.0} | _shape(text) | _words(folded) | _chemistry(folded)
    values |= _terms(squeeze(folded))
    if set(_items(folded)) <= set(FILE_ENDINGS) and _items(folded):
        values["invalid"] = 1.0
    return values | _conclusions(values)


def get_family_name(code: float) -> str:
    """Return the substance family of a code, as a feature has it."""
    return SUBSTANCE_FAMILIES[int(code) - 1]


def kind(char: str) -> str:
    if char in " |":
        return char
    if "a" <= char <= "z":
        return "letter"
    if "0" <= char <= "9":
        return "digit"
    return "other" if category(char)[0] in "LNM" or is_unfolded(char) else "-"


def in_word(char: str) -> bool:
    return kind(char) in ("letter", "digit", "other")


# --- names and words ---


def squeeze(folded: list[tuple[str, bool]]) -> list[Letter]:
    letters = []
    gap = "|"
    for char, lookalike in folded:
        if in_word(char):
            letters.append(Letter(char, lookalike, _gap(gap)))
            gap = ""
        else:
            gap += kind(char)
    return letters


def _gap(marks: str) -> str:
    marks = re.sub(" +", " ", marks)
    if "|" in marks or len(marks) > kernel.MAX_GAP_SEPARATORS:
        return BROKEN
    return "".join(sorted(set(marks)))


class Sought(NamedTuple):
    term: LexiconTerm
    letters: str
    parts: frozenset[int]  # places before which its own spelling has a separator
    pattern: re.Pattern[str]


@cache
def sought() -> list[Sought]:
    found: dict[tuple[str, int, str], Sought] = {}
    for term in sorted([*read_names(), *read_words()], key=lambda term: term.tier == kernel.CLASS):
        letters = squeeze(
            [stood for char in normalize("NFC", term.spelling) for stood in fold_character(char)]
        )
        spelling = "".join(letter.char for letter in letters)
        parts = frozenset(place for place, letter in enumerate(letters) if letter.gap and place)
        alike = (
            "".join(other for other in READ_AS_ONE if char in other) or re.escape(char) for char in spelling
        )
        pattern = re.compile(f"(?=({''.join(f'[{a}]' for a in alike)}))")
        first = found.get((term.sort, term.opening, spelling), Sought(term, spelling, parts, pattern))
        found[term.sort, term.opening, spelling] = first._replace(parts=first.parts | parts)
    return list(found.values())


def _terms(letters: list[Letter]) -> dict[str, float]:
    return _counts(*_find(letters))


def _find(letters: list[Letter]) -> tuple[list[tuple[LexiconTerm, int, bool]], list[LexiconTerm]]:
    spelling = "".join(letter.char for letter in letters)
    names: dict[int, list[tuple[int, bool, int, LexiconTerm, int, bool]]] = {}
    words: dict[tuple[int, str], tuple[int, LexiconTerm]] = {}
    for want in sought():
        for match in want.pattern.finditer(spelling):
            first, end = match.start(), match.start() + len(want.letters)
            tier, disguised = _reading(letters, first, end, want)
            if tier is None:
                continue
            if tier == kernel.WORD:
                place = (end, want.term.sort)
                words[place] = max(
                    words.get(place, (0, want.term)), (end - first, want.term), key=lambda w: w[0]
                )
                continue
            if want.term.opening & (kernel.AFTER_LETTERS | kernel.AFTER_ANY):
                while first > 0 and letters[first].gap == "":
                    first -= 1
            hit = (end - first, tier != kernel.CLASS, len(want.letters), want.term, tier, disguised)
            names.setdefault(end, []).append(hit)
    best = [max(hits, key=lambda hit: hit[:3]) for _, hits in sorted(names.items())]
    return [hit[3:] for hit in best], [term for _, term in words.values()]


def _counts(names: list[tuple[LexiconTerm, int, bool]], words: list[LexiconTerm]) -> dict[str, float]:
    tiers = Counter(tier for _, tier, _ in names)
    strongest = max((tier for _, tier, _ in names), default=0)
    families = Counter(term.family for term in words if term.family)
    slots = Counter(term.slot for term in words)
    values = {
        "names_specific": tiers[kernel.SPECIFIC],
        "names_class": tiers[kernel.CLASS],
        "names_medicine": tiers[kernel.MEDICINE],
        "names_context": tiers[kernel.CONTEXT],
        "names_disguised": sum(disguised for _, _, disguised in names),
        "name_tier": strongest,
        "name_family": next((term.family for term, tier, _ in names if tier == strongest), nan),
        "text_families": len(families),
        "text_family": min(families, key=lambda family: (-families[family], family), default=nan),
    }
    return values | {SLOT_NAMES[slot]: float(slots[slot]) for slot in SLOT_NAMES}


_SLOT_NAMES = """
    powder_words crystal_words liquid_words dose_words sample_words pretext_words admin_words chemistry_words
    cover_industrial cover_cosmetic cover_supplement cover_plant cover_feed
"""
SLOT_NAMES = {getattr(kernel, name.upper()): name for name in _SLOT_NAMES.split()}
assert set(SLOT_NAMES) == set(WORD_SLOTS.values())


def _reading(letters: list[Letter], first: int, end: int, want: Sought) -> tuple[int | None, bool]:
    """Give the tier as which a term is read at a place, and whether in disguise; None: it is not there."""
    written = letters[first:end]
    length, term = len(written), want.term
    gaps = [letter.gap for letter in written[1:]]
    if BROKEN in gaps:
        return None, False
    parted = [gap for place, gap in enumerate(gaps, start=1) if gap and place not in want.parts]
    swapped = [place for place in range(length) if written[place].char != want.letters[place]]
    if any("2" <= want.letters[place] <= "9" for place in swapped):
        return None, False
    spaced = all(gaps) and length >= kernel.MIN_SPACED_LETTERS
    if not (
        _may_start(letters, first, length, term.opening, spaced)
        and _may_end(letters, end, length, term.opening)
    ):
        return None, False
    if term.tier <= kernel.CONTEXT:
        return (None, False) if parted or swapped else (term.tier, False)
    if swapped and length < kernel.MIN_SWAPPED_LETTERS:
        return None, False
    if parted and not spaced:
        blanks = any(" " in gap for gap in parted)
        shortest = kernel.MIN_BLANK_PARTED_LETTERS if blanks else kernel.MIN_PARTED_LETTERS
        if term.opening != kernel.CLOSED or length < shortest:
            return None, False
    if parted or swapped:
        return term.tier, True
    if length <= kernel.MAX_HINT_LETTERS:
        number_and_word = gaps[0] == " " and not any(gaps[1:])
        plain_word = not any(gaps) and all(kind(letter.char) == "letter" for letter in written)
        if number_and_word or plain_word:
            return kernel.CONTEXT, False
    neighbours = [(one, two) for one, two in pairwise(written) if not two.gap]
    mixed = any(
        kind(one.char) == kind(two.char) == "letter" and one.lookalike != two.lookalike
        for one, two in neighbours
    )
    return term.tier, mixed


def _may_start(letters: list[Letter], first: int, length: int, opening: int, spaced: bool) -> bool:
    gap, here = letters[first].gap, kind(letters[first].char)
    if opening & kernel.AFTER_ANY:
        return True
    if opening & kernel.AFTER_LETTERS:
        return gap in ("", "-") or (spaced and gap != BROKEN)
    if gap or here == "other":
        return True
    before = kind(letters[first - 1].char)
    return here == "letter" and before != "letter" and length >= kernel.MIN_TOUCHING_LETTERS


def _may_end(letters: list[Letter], end: int, length: int, opening: int) -> bool:
    if opening & kernel.BEFORE_ANY or end == len(letters) or letters[end].gap:
        return True
    here, after = kind(letters[end - 1].char), letters[end]
    if here != "letter":
        return here == "other"
    if length < kernel.MIN_TOUCHING_LETTERS:
        return False
    plural = after.char == "s" and (end + 1 == len(letters) or letters[end + 1].gap != "")
    return kind(after.char) != "letter" or plural


# --- the rest ---


@cache
def vague_terms() -> frozenset[str]:
    terms = [*read_vague_terms(), *FILE_ENDINGS]
    return frozenset(" ".join(_items([s for c in term for s in fold_character(c)])) for term in terms)


def is_vague(words: str) -> bool:
    return words in vague_terms() or (words.endswith("s") and words[:-1] in vague_terms())


def _items(folded: list[tuple[str, bool]]) -> list[str]:
    """Give the words of each item, joined by single spaces; items without words are left out."""
    chars = "".join(char if in_word(char) or char == "|" else " " for char, _ in folded)
    return [item for item in map(_single_spaced, chars.split("|")) if item]


def _single_spaced(words: str) -> str:
    return re.sub(" +", " ", words).strip(" ")


def _words(folded: list[tuple[str, bool]]) -> dict[str, float]:
    items = _items(folded)
    words = [word for item in items for word in item.split(" ")]
    coded = sum(map(_mixes, words))
    return {
        "tokens": len(words),
        "longest_token": max(map(len, words), default=0),
        "coded_share": coded / len(words) if words else 0.0,
        "vague_share": sum(map(is_vague, words)) / len(words) if words else 0.0,
        "vague_whole": float(bool(items) and all(map(is_vague, items))),
    }


def _mixes(word: str) -> bool:
    return 0 < sum("0" <= char <= "9" for char in word) < len(word)


def _chemistry(folded: list[tuple[str, bool]]) -> dict[str, float]:
    line = "".join("가" if kind(char) == "other" else char for char, _ in folded)
    counts: Counter[str] = Counter()
    for found in _CAS_OR_LOCANT.finditer(line):
        if found["locant"]:
            counts["locants"] += 1
        else:
            digits = found["cas"].replace("-", "")
            total = sum(place * int(digit) for place, digit in enumerate(reversed(digits[:-1]), start=1))
            counts["cas_numbers" if total % 10 == int(digits[-1]) else "cas_misprints"] += 1
    counts["brackets"] = sum(map(line.count, "([{"))
    return {name: counts[name] for name in ("cas_numbers", "cas_misprints", "locants", "brackets")}


def _shape(text: str) -> dict[str, float]:
    seen = [(char, fold_character(char)[0]) for char in text if fold_character(char)]
    inked = [char for char, (stood, _) in seen if stood != " "]
    kinds = [
        (char, kind(stood), alike and ord(char) >= kernel.FIRST_NON_LATIN) for char, (stood, alike) in seen
    ]
    ascii_alike = {char for char, (_, alike) in seen if alike and char.isascii()}
    runs = [1] + [len(list(run)) for char, run in groupby(kinds) if char[1] != " "]
    longest = max(runs) if inked else 0
    letters = [c for c, k, _ in kinds if k in ("letter", "other") and c not in ascii_alike]
    words = "".join(_script_mark(c, k, alike, ascii_alike) for c, k, alike in kinds).split()
    share = {
        "upper_share": sum("A" <= char <= "Z" for char in inked),
        "digit_share": sum(k == "digit" for _, k, _ in kinds),
        "mark_share": sum(k in "-|" for _, k, _ in kinds),
        "non_ascii_share": sum(not char.isascii() for char, _, _ in kinds),
    }
    return {
        "characters": len(text),
        "longest_repeat": longest,
        "invisible": sum(map(is_invisible, text)),
        "mixed_script_words": sum("L" in word and "x" in word for word in words),
        "invalid": float(not letters or (longest >= 3 and longest == len(inked))),
        "latin": float(any(k == "letter" and ord(c) < kernel.FIRST_NON_LATIN for c, k, _ in kinds)),
        "cyrillic": float(any(k == "letter" and "\u0400" <= c <= "\u052f" for c, k, _ in kinds)),
        "hangul": float(any(k == "other" and "가" <= c <= "힣" for c, k, _ in kinds)),
        "cjk": float(any(k == "other" and ("\u2e80" <= c <= "\u9fff" or c > "\uffff") for c, k, _ in kinds)),
    } | {name: count / len(inked) if inked else 0.0 for name, count in share.items()}


def _script_mark(char: str, what: str, alike: bool, ascii_alike: set[str]) -> str:
    if what not in ("letter", "digit", "other"):
        return " "
    if alike:
        return "x"
    return "L" if what == "letter" and char.isascii() and char not in ascii_alike else "."


def _conclusions(values: dict[str, float]) -> dict[str, float]:
    named = values["names_specific"] + values["names_class"] + values["names_medicine"]
    chemistry, locants, cas = values["chemistry_words"], values["locants"], values["cas_numbers"]
    shaped = chemistry >= 2 or (chemistry >= 1 and locants >= 1) or cas >= 1
    supported = values["powder_words"] + values["crystal_words"] + chemistry + locants + cas > 0
    return {
        "unknown_chemical": float(shaped and not named),
        "context_supported": float(supported and values["names_context"] > 0),
    }


# --- n-grams ---


def plain_buckets(text: str) -> list[int]:
    """Give the distinct buckets of a text's n-grams, in the order they first occur."""
    text = normalize("NFC", text[:MAX_CHARACTERS])[:MAX_CHARACTERS]
    folded = "".join(char if in_word(char) else " " for part in text for char, _ in fold_character(part))
    line = re.sub(" +", " ", f" {folded} ")
    grams = [
        line[first : first + length]
        for first in range(len(line))
        for length in range(kernel.MIN_NGRAM, kernel.MAX_NGRAM + 1)
        if first + length <= len(line)
    ]
    return list(dict.fromkeys(map(bucket, grams)))


def bucket(gram: str) -> int:
    value = 0xCBF29CE484222325
    for char in gram:
        value = (value ^ ord(char)) * 0x100000001B3 % 2**64
    return value * kernel.HASH_MULTIPLIER % 2**64 >> (64 - kernel.BUCKET_BITS)


def plain_score(text: str, weights: list[float]) -> float:
    """Add up the weights of the distinct buckets, over the square root of their number."""
    buckets = plain_buckets(text)
    total = 0.0
    for place in buckets:
        total += weights[place]
    return total / sqrt(len(buckets)) if buckets else 0.0
