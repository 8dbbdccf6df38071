"""One sentence for each feature: everything that does not depend on a row is prepared when a model is loaded."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.spec import Feature
from models.reasons.texts import (
    COLUMN_CODES,
    DEFAULT_LANGUAGE,
    ReasonTemplate,
    TextTable,
    get_template,
    load_text_table,
)

MAX_DECIMALS = 6
HUGE = 1e9
MAX_KNOWN_TEMPLATES = 4096
MAX_KNOWN_VALUES = 256
"""Of one feature, whose texts are remembered."""
CURRENCY = "{currency}"
UNITS_OF_USUAL = {"USD": " USD", "USD/kg": " USD/kg", "USD/piece": " USD", "kg": " kg"}
UNITS_WITHOUT_USUAL = ("flag", "code")
MAX_CODE_LETTERS = 3
"""Learnt values of so many letters are codes, as of countries and carriers, and are shown in capitals."""


class ReasonContext(NamedTuple):
    """Knowledge of a model beyond its spec: the median of each feature, values by code, weights of n-grams of goods texts.

    The code of a value is its place in its vocabulary, from 1. The medians of a channel come before those of all traffic.
    """

    medians: Sequence[float | None] = ()
    vocabularies: Mapping[str, Sequence[str]] = {}
    text_weights: NDArray[np.float32] | None = None
    channel_medians: Mapping[str, Sequence[float | None]] = {}


NO_CONTEXT = ReasonContext()


class Fact(NamedTuple):
    """Statement of one feature about one row, and its text in each place of a reason: alone, as the first, or as a further one.

    `value` is as an answer gives it: None if it is missing or a code. `implied_by` is the text of another fact from which this one
    follows; '' if there is none.
    """

    text: str
    alone: str
    first: str
    further: str
    value: float | None
    missing: bool
    implied_by: str = ""


class Sentence:
    """Texts of one feature at any value, compared with its median over the traffic of a channel ('' for all).

    Features of one `fact` say nearly the same. An officer cannot act on a feature that is `last`. `usual` is as an answer gives it:
    None of flags and codes, which have nothing to compare.
    """

    def __init__(
        self, feature: Feature, median: float | None, context: ReasonContext, language: str, channel: str = ""
    ) -> None:
        template, table = get_template(feature, language), load_text_table(language)
        self.fact, self.last = template.fact or feature.name, template.rank == "last"
        self.usual = median if feature.unit not in UNITS_WITHOUT_USUAL and is_number(median) else None
        self._is_code, self._phrases = feature.unit == "code", table.phrases
        self._traffic = table.traffic.get(channel, "")
        self._describe = self._choose_describer(feature, template)
        self._template, self._parts = template, _split_texts(template)
        self._format = FORMATTERS.get(feature.unit, format_number)
        self._codes = _list_codes(feature, template, table, context)
        self._usual_text = self._format_usual(feature)
        self._missing = self._compose(math.nan)
        self._known: dict[float, Fact] = {}

    def describe(self, value: float) -> Fact:
        """Describe a value; the latest values are cached, because they repeat."""
        if value != value:
            return self._missing
        fact = self._known.get(value)
        if fact is None:
            if len(self._known) >= MAX_KNOWN_VALUES:
                self._known.clear()
            fact = self._known[value] = self._compose(value)
        return fact

    def quote(self, value: float, words: Sequence[str]) -> Fact:
        """Describe a value and quote the words on which it rests."""
        quoted = ", ".join(self._phrases.quote.replace("{word}", word) for word in words)
        return self._compose(value, appended=self._phrases.words.replace("{words}", quoted))

    def describe_as(self, value: float, text: str) -> Fact:
        """Describe a value by a text that was made for its row."""
        return self._compose(value, text=text)

    def holds(self, value: float) -> bool:
        """Return whether a value says that something is there that can be named."""
        return bool(value > (self.usual or 0.0 if self._describe == self._describe_relative else 0.0))

    def _compose(self, value: float, *, text: str = "", appended: str = "") -> Fact:
        missing = math.isnan(value)
        usual = ""
        if not text:
            text, usual = (self._template.missing, "") if missing else self._describe(value)
            text += appended
        alone, joined = (
            phrase.replace("{usual}", usual).replace("{traffic}", self._traffic) if usual else ""
            for phrase in (self._phrases.usual, self._phrases.usual_joined)
        )
        start = text[:1].upper() + text[1:]
        shown = None if self._is_code or not math.isfinite(value) else float(str(np.float32(value)))
        implied_by = self._template.zero_implied_by if value == 0 else ""
        return Fact(
            text, start + alone, start + joined, _lower_first(text) + joined, shown, missing, implied_by
        )

    def _choose_describer(
        self, feature: Feature, template: ReasonTemplate
    ) -> Callable[[float], tuple[str, str]]:
        if template.steps:
            return self._describe_step
        if template.codes:
            return self._describe_code
        if template.true:
            return self._describe_flag if feature.unit == "flag" else self._describe_relative
        return self._describe_number

    def _describe_flag(self, value: float) -> tuple[str, str]:
        return self._template.false if value == 0 else self._template.true, ""

    def _describe_relative(self, value: float) -> tuple[str, str]:
        return self._template.true if value > (self.usual or 0.0) else self._template.false, ""

    def _describe_step(self, value: float) -> tuple[str, str]:
        return next(text for bound, text in self._template.steps if value <= bound), ""

    def _describe_code(self, value: float) -> tuple[str, str]:
        name = self._codes[int(value) - 1] if 1 <= value < len(self._codes) + 1 else ""
        return name.join(self._parts["other"]) if name else self._template.zero, ""

    def _describe_number(self, value: float) -> tuple[str, str]:
        """Return the text, and what is usual if it differs."""
        shown = self._show(value)
        case = self._choose_case(value, shown)
        text = shown.join(self._parts.get(case) or self._parts["other"])
        same = shown == self._shown_usual or (case == "zero" and not self._template.compare_zero)
        return text, "" if same else self._usual_text

    def _show(self, value: float) -> str:
        if abs(value) > HUGE:
            return self._phrases.huge
        if value >= self._template.cap:
            return self._phrases.at_least.replace("{value}", self._format(self._template.cap))
        return self._format(value)

    @staticmethod
    def _choose_case(value: float, shown: str) -> str:
        if value == 0:
            return "zero"
        if shown == "1":
            return "one"
        return "under_one" if 0 < value < 1 else "other"

    def _format_usual(self, feature: Feature) -> str:
        self._shown_usual = "" if self.usual is None else self._show(self.usual)
        if not self._shown_usual or not self._template.compare:
            return ""
        return self._shown_usual + UNITS_OF_USUAL.get(feature.unit, "")


def build_sentences(
    features: Sequence[Feature], context: ReasonContext, language: str, channel: str = ""
) -> list[Sentence]:
    """Build the sentence of each feature, for rows of one channel or, without one, of all."""
    medians = context.channel_medians.get(channel) or context.medians or [None] * len(features)
    of = channel if channel in context.channel_medians else ""
    return [
        Sentence(feature, median, context, language, of)
        for feature, median in zip(features, medians, strict=True)
    ]


def is_number(value: float | None) -> bool:
    """Check if a value is there and finite."""
    return value is not None and math.isfinite(value)


def show_code(value: str) -> str:
    """Write a learnt value as people write it: it was learnt in small letters."""
    return value.upper() if len(value) <= MAX_CODE_LETTERS and value != "ems" else value.replace("_", " ")


def _list_codes(
    feature: Feature, template: ReasonTemplate, table: TextTable, context: ReasonContext
) -> list[str]:
    if not template.codes:
        return []
    if template.codes == COLUMN_CODES:
        learnt = context.vocabularies.get(feature.name.partition(".")[2], ())
        return [show_code(value) for value in learnt]
    english = load_text_table(DEFAULT_LANGUAGE).list_code_words(template.codes)
    return [
        word or fallback
        for word, fallback in zip(table.list_code_words(template.codes), english, strict=True)
    ]


@lru_cache(maxsize=MAX_KNOWN_TEMPLATES)
def _split_texts(template: ReasonTemplate) -> dict[str, list[str]]:
    return {name: text.split("{value}") for name, text in template.list_texts().items()}


def format_number(value: float) -> str:
    """Format whole numbers and those from 100 on without decimals, others with three digits that count."""
    if value == round(value) or abs(value) >= 100:
        return f"{round(value):,}"
    digits = max(0, min(MAX_DECIMALS, 2 - math.floor(math.log10(abs(value)))))
    return _strip_zeros(f"{value:.{digits}f}")


def format_count(value: float) -> str:
    """Format a count as a whole number; a small one that decays with time has a decimal."""
    return f"{round(value):,}" if value == round(value) or value >= 10 else _strip_zeros(f"{value:.1f}")


def format_share(value: float) -> str:
    """Format a share as percent."""
    return f"{format_number(100 * value)} %"


def format_dollars(value: float) -> str:
    """Format an amount of money, with cents if it is small."""
    return f"{value:,.0f}" if value == round(value) or value >= 100 else f"{value:,.2f}"


def _lower_first(text: str) -> str:
    """Begin a text with a small letter, if its first word is no abbreviation."""
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def _strip_zeros(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


FORMATTERS: dict[str, Callable[[float], str]] = {
    "count": format_count,
    "days": format_count,
    "share": format_share,
    "USD": format_dollars,
    "USD/kg": format_dollars,
    "USD/piece": format_dollars,
}
