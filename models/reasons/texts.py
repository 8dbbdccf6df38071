"""The table of texts `models/reason_texts/en.toml`: what every feature says at its values, and the words of facts and themes."""

import math
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, Literal

import msgspec

from features.goods.hs import FAMILIES
from features.goods.lexicon import SUBSTANCE_FAMILIES
from features.normalization.normal_forms import CHAPTER_DIGITS, HEADING_DIGITS
from features.spec import Feature
from features.table import SIDES, read_texts
from models.reasons.rules import Rank

CASES = ("true", "false", "zero", "under_one", "one", "other", "missing")
"""Fields of a template that are its text in one case."""
TEXT_FIELDS = (*CASES, "shown", "otherwise", "also", "lacks", "fact")
MIN_SLIP_LETTERS, MIN_LIKENESS = 6, 0.83
"""A text of so many letters that is so much like a vague word is that word with a slip (assumed)."""
DECLARED_KEY = "declared"  # entry of the table `[key]` for the keys that a configuration declares
COLUMN_CODES = "column"  # name of the codes that a model learnt from a column
PLACEHOLDERS = {"currency": "its currency", "in_currency": "", "route": "its route", "goods": "its goods"}
"""What a name says for a word that only a consignment has."""


class ReasonTemplate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Texts of one feature; the head of `reason_texts/en.toml` explains each field."""

    true: str = ""
    false: str = ""
    zero: str = ""
    under_one: str = ""
    one: str = ""
    other: str = ""
    missing: str = ""
    steps: tuple[tuple[float, str], ...] = ()
    codes: str = ""
    cap: float = math.inf
    compare: bool = True
    fact: str = ""
    told_by: str = ""
    shown: str = ""
    otherwise: str = ""
    also: str = ""
    unless: dict[str, float] = {}
    together: dict[str, float] = {}
    lacks: str = ""
    notable: Literal["", "false", "never", "rare", "low", "high"] = ""
    leads: bool = False
    rank: Rank = ""

    def fill(self, words: Mapping[str, str]) -> "ReasonTemplate":
        """Return it with `{word}` replaced by each of the words; others, such as `{value}`, stay."""
        changes: dict[str, Any] = {name: _fill(getattr(self, name), words) for name in TEXT_FIELDS}
        changes["unless"] = {_fill(name, words): least for name, least in self.unless.items()}
        changes["steps"] = tuple((bound, _fill(text, words)) for bound, text in self.steps)
        return msgspec.structs.replace(self, **changes)

    def list_texts(self) -> dict[str, str]:
        """Return its texts by the case in which each is said; `below X` and `above X` are those of steps."""
        texts = {name: text for name in CASES if (text := getattr(self, name))}
        bounds = [bound for bound, _ in self.steps]
        for bound, text in self.steps:
            texts[f"below {bound:g}" if bound < math.inf else f"above {bounds[-2]:g}"] = text
        return texts


class TextTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The texts of reasons: templates by feature, reading of history and kind of column, and the words that are filled into them."""

    phrases: dict[str, str]
    theme: dict[str, str]
    target: dict[str, str]
    like: dict[str, str]
    feature: dict[str, ReasonTemplate] = {}
    reading: dict[str, ReasonTemplate] = {}
    side_reading: dict[str, ReasonTemplate] = {}
    declared: dict[str, ReasonTemplate] = {}
    party: dict[str, dict[str, str]] = {}
    key: dict[str, dict[str, str]] = {}
    codes: dict[str, dict[str, str]] = {}
    column: dict[str, str] = {}
    hs: dict[str, str] = {}
    hs_goods: dict[str, str] = {}
    vague: dict[str, tuple[str, ...]] = {}

    def fill_template(self, name: str) -> ReasonTemplate | None:
        """Return the template of a feature with its words; None if the table lacks it."""
        group, _, rest = name.partition(".")
        if name in self.feature:
            return self.feature[name]
        if group == "history":
            kind, _, reading = rest.rpartition(".")
            party, is_of_side = self.party.get(kind.removesuffix("_side")), reading in self.side_reading
            words = party if is_of_side else self.describe_key(kind)
            template = self.side_reading[reading] if is_of_side else self.reading.get(reading)
        else:
            noun = self._name_column(rest)
            words = {"column": noun, "Column": capitalize(noun)}
            template = self.declared.get(group)
        return template.fill(words) if template and words else None

    def say(self, phrase: str, **words: str) -> str:
        """Return a phrase with its words filled in."""
        return _fill(self.phrases[phrase], words)

    def list_code_words(self, table: str) -> list[str]:
        """Return the words of the codes 1, 2, … of a table."""
        return [self.codes[table][name] for name in CODE_NAMES[table]]

    def name_hs_goods(self, hs: str) -> str:
        """Name the goods of an HS code by its heading, else by its chapter; '' if it has none."""
        return self.hs_goods.get(hs[:HEADING_DIGITS]) or self.hs_goods.get(hs[:CHAPTER_DIGITS], "")

    def describe_key(self, kind: str) -> dict[str, str]:
        """Return the words of a key; those of one that a configuration declares name its columns."""
        if kind in self.key:
            return self.key[kind]
        *others, last = map(self._name_column, kind.split("+"))
        columns = f"{', '.join(others)} {self.column['and']} {last}" if others else last
        return {name: text.replace("{columns}", columns) for name, text in self.key[DECLARED_KEY].items()}

    def _name_column(self, column: str) -> str:
        return self.column.get(column, column.replace("_", " ").strip())


CODE_NAMES = {"substance": SUBSTANCE_FAMILIES, "goods": tuple(FAMILIES), "tier": tuple("1234")}
"""Names of the codes 1, 2, … of each table, as the features that have them define them."""


@cache
def load_text_table() -> TextTable:
    """Read the table; once in a process."""
    data = files("models").joinpath("reason_texts", "en.toml").read_bytes()
    table = msgspec.toml.decode(data, type=TextTable)
    for name, fields in read_texts().items():
        for side in SIDES if "{side}" in name else ("either",):
            template = msgspec.convert(fields, ReasonTemplate).fill(table.party[side])
            table.feature[name.replace("{side}", side)] = template
    table.hs_goods.update((code, goods) for goods, codes in table.hs.items() for code in codes.split())
    return table


def capitalize(text: str) -> str:
    """Begin a text with a capital."""
    return text[:1].upper() + text[1:]


def join_words(words: Sequence[str]) -> str:
    """Join words to a list in a sentence: a, b and c."""
    *others, last = words
    return f"{', '.join(others)}{load_text_table().say('and')}{last}" if others else last


@lru_cache(4096)
def find_vague_meaning(goods: str) -> str:
    """Return what a vague word, perhaps with a slip or of another language, says in English; '' of any other text."""
    meanings = {word: each for each, words in load_text_table().vague.items() for word in (each, *words)}
    likeness = MIN_LIKENESS if len(goods) >= MIN_SLIP_LETTERS else 1.0
    found = get_close_matches(goods.casefold(), meanings, 1, likeness)
    return meanings[found[0]] if found else ""


@cache
def find_template(name: str) -> ReasonTemplate | None:
    """Find the template of a feature; None if the table lacks it."""
    return load_text_table().fill_template(name)


def get_template(feature: Feature) -> ReasonTemplate:
    """Return what a feature says; of a feature that the table lacks, its own text."""
    own = feature.text or f"{feature.name.replace('.', ' ').replace('_', ' ')}: {{value}}"
    return find_template(feature.name) or ReasonTemplate(other=own, missing=own)


def name_feature(feature: Feature) -> str:
    """Return a feature in words: the text of its reason, with an ellipsis for its value."""
    texts = get_template(feature).list_texts()
    cases = ("other", "true", *(case for case in texts if case != "missing"), *texts)
    text = next(texts[case] for case in cases if case in texts)
    return re.sub(r"\{(\w+)\}", lambda word: PLACEHOLDERS.get(word[1], "…"), text).rstrip(" :")


def _fill(text: str, words: Mapping[str, str]) -> str:
    for name, word in words.items():
        text = text.replace(f"{{{name}}}", word)
    return text
