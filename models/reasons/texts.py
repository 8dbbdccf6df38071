"""The tables of texts in `models/reason_texts`, one file for each language: what every feature says at its values.

The table in English is whole. Another language may lack a feature, whose text is then in English.
"""

import math
import os
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import msgspec

from consignments.errors import BadSetting, UnknownName
from features.goods.hs import FAMILIES
from features.goods.lexicon import SUBSTANCE_FAMILIES
from features.spec import Feature
from features.table import read_texts

DEFAULT_LANGUAGE = "en"
LANGUAGE_VARIABLE = "NPSRISK_LANGUAGE"
LANGUAGES = ("en", "es", "ko")
TEXT_FIELDS = ("true", "false", "zero", "under_one", "one", "other", "missing", "single_key", "several_key")
SIDE_PREFIX = "parties.{side}_"
DECLARED_KEY = "declared"
"""Entry of the table `[key]` for the keys that a configuration declares."""
COLUMN_CODES = "column"
"""Name of the codes that a model learnt from a column."""


class ReasonTemplate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Texts of one feature; the head of `en.toml` explains each field."""

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
    single_key: str = ""
    several_key: str = ""
    compare: bool = True
    compare_zero: bool = True
    zero_implied_by: str = ""
    fact: str = ""
    rank: Literal["", "last"] = ""

    def fill(self, words: Mapping[str, str]) -> "ReasonTemplate":
        """Return it with `{word}` replaced by each of the words, except `{value}` and `{currency}`."""
        changes: dict[str, Any] = {name: _fill(getattr(self, name), words) for name in TEXT_FIELDS}
        changes["zero_implied_by"] = _fill(self.zero_implied_by, words)
        changes["steps"] = tuple((bound, _fill(text, words)) for bound, text in self.steps)
        return msgspec.structs.replace(self, **changes)

    def list_texts(self) -> dict[str, str]:
        """Return its texts by the case in which each is said; `below X` and `above X` are those of steps."""
        texts = {name: text for name in TEXT_FIELDS if (text := getattr(self, name))}
        bounds = [bound for bound, _ in self.steps]
        for bound, text in self.steps:
            texts[f"below {bound:g}" if bound < math.inf else f"above {bounds[-2]:g}"] = text
        return texts


class ReasonPhrases(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Phrases around values: what is usual (alone, and after one of several facts), quoted words, caps, an unknown currency."""

    usual: str
    usual_joined: str
    words: str
    quote: str
    at_least: str
    huge: str
    currency: str


class TextTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The texts of one language, by which a feature is described.

    `feature` has templates of single features, `side` of both parties, `reading` and `side_reading` of history, `declared` of declared
    columns by kind. `party` and `key` are filled into templates. `traffic` follows "usual" for a channel. `codes` and `column` name
    codes and columns. `needs_review` is true until a native speaker has read the table.
    """

    language: str
    needs_review: bool
    phrases: ReasonPhrases
    feature: dict[str, ReasonTemplate] = {}
    side: dict[str, ReasonTemplate] = {}
    reading: dict[str, ReasonTemplate] = {}
    side_reading: dict[str, ReasonTemplate] = {}
    declared: dict[str, ReasonTemplate] = {}
    party: dict[str, dict[str, str]] = {}
    key: dict[str, dict[str, str]] = {}
    traffic: dict[str, str] = {}
    codes: dict[str, dict[str, str]] = {}
    column: dict[str, str] = {}

    def find_template(self, name: str) -> ReasonTemplate | None:
        """Find the template of a feature, its words filled in; None if this language lacks it."""
        group, _, rest = name.partition(".")
        if name in self.feature:
            return self.feature[name]
        if group == "parties":
            side, _, what = rest.partition("_")
            return _join_words(self.side.get(what), self.party.get(side))
        if group == "history":
            return self._find_reading(*rest.rsplit(".", 1))
        if group in ("category", "column"):
            kind = "category" if group == "category" else "number"
            noun = self._name_column(rest)
            return _join_words(
                self.declared.get(kind), {"column": noun, "Column": noun[:1].upper() + noun[1:]}
            )
        return None

    def list_code_words(self, table: str) -> list[str]:
        """Return the words of the codes 1, 2, … of a table, '' for a code that it lacks."""
        words = self.codes.get(table, {})
        return [words.get(name, "") for name in CODE_NAMES[table]]

    def _find_reading(self, kind: str, reading: str) -> ReasonTemplate | None:
        party = self.party.get(kind.removesuffix("_side"))
        if reading in self.side_reading:
            return _join_words(self.side_reading[reading], party)
        return _join_words(self.reading.get(reading), self.key.get(kind) or self._describe_declared_key(kind))

    def _describe_declared_key(self, kind: str) -> dict[str, str] | None:
        words = self.key.get(DECLARED_KEY)
        if words is None:
            return None
        *others, last = map(self._name_column, kind.split("+"))
        columns = f"{', '.join(others)} {self.column['and']} {last}" if others else last
        return {name: text.replace("{columns}", columns) for name, text in words.items()}

    def _name_column(self, column: str) -> str:
        return self.column.get(column, column.replace("_", " ").strip())


CODE_NAMES: dict[str, tuple[str, ...]] = {
    "substance": SUBSTANCE_FAMILIES,
    "goods": tuple(FAMILIES),
    "tier": ("1", "2", "3", "4"),
}
"""Names of the codes 1, 2, … of each table, as the features that have them define them."""


def get_language() -> str:
    """Return the language of reasons that the environment names, English by default; `BadSetting` if there is no table of it."""
    language = os.environ.get(LANGUAGE_VARIABLE) or DEFAULT_LANGUAGE
    if language not in LANGUAGES:
        raise BadSetting(
            "there are no reasons in this language",
            where=LANGUAGE_VARIABLE,
            got=repr(language),
            expected=", ".join(LANGUAGES),
        )
    return language


@cache
def load_text_table(language: str) -> TextTable:
    """Read the table of a language; once in a process."""
    if language not in LANGUAGES:
        raise UnknownName.from_candidates(language, LANGUAGES, kind="language")
    data = files("models").joinpath("reason_texts", f"{language}.toml").read_bytes()
    table = msgspec.toml.decode(data, type=TextTable)
    if language == DEFAULT_LANGUAGE:
        for name, fields in read_texts().items():
            texts = table.side if name.startswith(SIDE_PREFIX) else table.feature
            texts[name.removeprefix(SIDE_PREFIX)] = msgspec.convert(fields, ReasonTemplate)
    return table


def get_template(feature: Feature, language: str) -> ReasonTemplate:
    """Return what a feature says in a language, or in English; of a feature that no table has, its own text."""
    return _find_template(feature.name, language) or _build_own_template(feature)


@cache
def _find_template(name: str, language: str) -> ReasonTemplate | None:
    return load_text_table(language).find_template(name) or load_text_table(DEFAULT_LANGUAGE).find_template(
        name
    )


def _build_own_template(feature: Feature) -> ReasonTemplate:
    text = feature.text or f"{feature.name.replace('.', ' ').replace('_', ' ')}: {{value}}"
    if feature.unit == "flag" and "{value}" not in text:
        return ReasonTemplate(true=text, false=f"Not the case: {text}", missing=f"Not known: {text}")
    return ReasonTemplate(other=text, missing=text.replace("{value}", "not known"))


def _join_words(template: ReasonTemplate | None, words: Mapping[str, str] | None) -> ReasonTemplate | None:
    return None if template is None or words is None else template.fill(words)


def _fill(text: str, words: Mapping[str, str]) -> str:
    for name, word in words.items():
        text = text.replace(f"{{{name}}}", word)
    return text
