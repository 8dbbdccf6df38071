"""Reasons: a score's contributions, grouped by what they mean, put into sentences and in an order that helps an officer."""

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from consignments.records import about
from features.goods.naming import QUOTED_FEATURES, GoodsWords
from features.spec import Spec
from models.reasons.key_detections import build_key_detections
from models.reasons.sentences import (
    CURRENCY,
    NO_CONTEXT,
    Fact,
    ReasonContext,
    Sentence,
    build_sentences,
    show_code,
)
from models.reasons.texts import get_language, get_template, load_text_table

Floats = NDArray[np.float64]
Row = NDArray[np.float32]

MAX_FACTS = 3
MIN_FACT_SHARE = 0.2
"""A further fact is given if it contributes at least this share of what the strongest fact of its reason does."""
MIN_CONTRIBUTION = 0.02
"""In log-odds, 2 % of the odds: what raises a score less comes after reasons that an officer cannot act on."""
CURRENCY_FEATURE = "category.currency"
CHANNEL_FEATURE = "category.channel"
FINDS_SUFFIX = "_finds"
"""Of the code of a key's readings of results, after the kind of the key."""


class Reason(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One reason for a score: up to three facts of features that mean the same to an officer."""

    code: Annotated[str, about("what it is about; GET /v1/reasons lists all codes")]
    text: Annotated[str, about("for an officer: up to three facts, the strongest first")]
    value: Annotated[
        float | None, about("value of the fact that is named first; null if it is missing or a code")
    ] = None
    usual: Annotated[
        float | None,
        about("median of the feature of that fact over the model's reference traffic; null if not kept"),
    ] = None
    contribution: Annotated[float, about("to the raw score, in log-odds")]
    direction: Annotated[Literal["raises", "lowers"], about("whether it raises or lowers the score")] = (
        "raises"
    )


class FeatureTexts(msgspec.Struct, frozen=True):
    """Texts of one feature: case to template, `{value}` stands for its value."""

    name: str
    unit: str
    texts: dict[str, str]


class ReasonCode(msgspec.Struct, frozen=True):
    """One code of reasons, with the features that share it."""

    code: str
    last: Annotated[bool, about("comes after all other reasons: nothing can be done about it")]
    features: list[FeatureTexts]


class _ExplainedRow(NamedTuple):
    """One row with all that its reasons need."""

    row: Row
    shares: Floats
    sentences: list[Sentence]
    words: GoodsWords | None
    quoted: set[str]
    """Words that a reason of this row has quoted."""
    named: set[str]
    """Codes of the detections of keys that a reason of this row has named."""


class ReasonRanker:
    """Turn contributions into reasons; the default of `language` is what the environment names."""

    def __init__(self, spec: Spec, context: ReasonContext = NO_CONTEXT, language: str | None = None) -> None:
        self.context, self.language = context, language or get_language()
        table = load_text_table(self.language)
        self._spec, self._phrases = spec, table.phrases
        self._any_channel = build_sentences(spec.features, context, self.language)
        self._by_channel = {
            float(code): build_sentences(spec.features, context, self.language, channel)
            for code, channel in enumerate(context.vocabularies.get("channel", ()), start=1)
            if channel in context.channel_medians
        }
        self._channel_at = spec.names.index(CHANNEL_FEATURE) if CHANNEL_FEATURE in spec.names else None
        self._codes = sorted({feature.reason for feature in spec})
        places = {code: place for place, code in enumerate(self._codes)}
        self._group = np.array([places[feature.reason] for feature in spec], dtype=np.int64)
        self._members = [np.flatnonzero(self._group == place).tolist() for place in range(len(self._codes))]
        self._last = [all(self._any_channel[at].last for at in members) for members in self._members]
        self._words_of = {
            at: feature.name for at, feature in enumerate(spec) if feature.name in QUOTED_FEATURES
        }
        built = (
            build_key_detections(feature, spec, get_template(feature, self.language), table)
            for feature in spec
        )
        self._detections = {at: each for at, each in enumerate(built) if each is not None}
        self._currencies = [show_code(name) for name in context.vocabularies.get("currency", ())]
        self._currency_at = spec.names.index(CURRENCY_FEATURE) if CURRENCY_FEATURE in spec.names else None

    def rank(
        self, row: Row, contributions: Floats, top: int, *, lowering: bool = False, goods: str = ""
    ) -> list[Reason]:
        """Return the `top` reasons that weigh most; `contributions` are in log-odds, and what follows the features is not looked at.

        The largest contribution is first, equal ones in the order of their codes. Those on which an officer cannot act come after all
        others that raise the score. With `lowering`, reasons that lower or leave the score, or repeat what others say, are given too:
        all contributions and the expected value then add up to the raw score. `goods` is the goods text of the row
        (`features.normalization.normal_forms.get_goods_text`), whose words are quoted.
        """
        shares = contributions[: len(self._any_channel)]
        sums = np.bincount(self._group, weights=shares, minlength=len(self._codes)).astype(np.float64)
        words = GoodsWords(goods, self.context.text_weights) if goods else None
        explained = _ExplainedRow(row, shares, self._choose_sentences(row), words, set(), set())
        reasons: list[Reason] = []
        given: set[str] = set()  # texts of facts
        for place in self._order_codes(sums, lowering=lowering):
            if len(reasons) >= top:
                break
            if not lowering and self._codes[place] in explained.named:
                continue
            reason, facts = self._build_reason(place, explained, float(sums[place]))
            if lowering or not all(fact.text in given or fact.implied_by in given for fact in facts):
                reasons.append(reason)
            given.update(fact.text for fact in facts)
        return reasons

    def list_codes(self) -> list[ReasonCode]:
        """List all codes with the texts of their features."""
        texts = [
            FeatureTexts(each.name, each.unit, get_template(each, self.language).list_texts())
            for each in self._spec
        ]
        return [
            ReasonCode(code, last, [texts[at] for at in members])
            for code, last, members in zip(self._codes, self._last, self._members, strict=True)
        ]

    def _order_codes(self, sums: Floats, *, lowering: bool) -> Iterator[int]:
        """Yield codes in the order of their reasons; few are taken, so the rest of the work is not done."""
        weights, order = sums.tolist(), np.argsort(-sums, kind="stable").tolist()
        later: list[int] = []
        small = raising = int(np.count_nonzero(sums > 0))
        for at, place in enumerate(order[:raising]):
            if weights[place] < MIN_CONTRIBUTION:
                small = at
                break
            if self._last[place]:
                later.append(place)
            else:
                yield place
        yield from later
        yield from order[small:] if lowering else order[small:raising]

    def _choose_sentences(self, row: Row) -> list[Sentence]:
        """Choose the sentences of the row's channel, which compare with its traffic."""
        code = 0.0 if self._channel_at is None else float(row[self._channel_at])
        return self._by_channel.get(code, self._any_channel)

    def _build_reason(self, place: int, explained: _ExplainedRow, total: float) -> tuple[Reason, list[Fact]]:
        telling = self._find_telling(self._members[place], explained.shares, total)
        facts = self._collect_facts(telling, explained)
        reason = Reason(
            code=self._codes[place],
            text=self._join_facts(facts, explained.row),
            value=facts[0].value,
            usual=explained.sentences[telling[0]].usual,
            contribution=total,
            direction="raises" if total > 0 else "lowers",
        )
        return reason, facts

    def _find_telling(self, members: Sequence[int], shares: Floats, total: float) -> list[int]:
        """Find the features that tell what a reason rests on, the strongest first, those of rank last behind."""
        if len(members) == 1:
            return [members[0]]
        sign = 1.0 if total > 0 else -1.0
        weights = {at: sign * float(shares[at]) for at in members}
        enough = MIN_FACT_SHARE * max(weights.values())
        telling = [at for at in members if weights[at] >= enough]
        if len(telling) > 1:
            telling.sort(key=weights.__getitem__, reverse=True)
            telling.sort(key=self._is_last)
        return telling

    def _is_last(self, at: int) -> bool:
        return self._any_channel[at].last

    def _collect_facts(self, telling: Sequence[int], explained: _ExplainedRow) -> list[Fact]:
        """Return up to three facts that do not repeat each other; a missing value is given only if it is the strongest."""
        facts: list[Fact] = []
        seen: set[str] = set()
        for at in telling:
            sentence = explained.sentences[at]
            if sentence.fact in seen:
                continue
            fact = self._describe(at, explained)
            if fact.text in seen or (fact.missing and facts):
                continue
            facts.append(fact)
            seen |= {sentence.fact, fact.text}
            if len(facts) == MAX_FACTS:
                break
        return facts

    def _describe(self, at: int, explained: _ExplainedRow) -> Fact:
        """Describe a feature's value; name the key that had a detection, or quote the words of the goods."""
        sentence, value = explained.sentences[at], float(explained.row[at])
        if at in self._detections and value > 0:
            kind, text = self._detections[at].describe(explained.row)
            if kind:
                explained.named.add(f"{kind}{FINDS_SUFFIX}")
                return sentence.describe_as(value, text)
        if explained.words is not None and at in self._words_of and sentence.holds(value):
            words = explained.words.list_words(self._words_of[at])
            fresh = [word for word in words if word not in explained.quoted]
            explained.quoted.update(fresh)
            return sentence.quote(value, fresh) if fresh else sentence.describe(value)
        return sentence.describe(value)

    def _join_facts(self, facts: Sequence[Fact], row: Row) -> str:
        """Join facts to one text, with what is usual and the row's currency."""
        first, *others = facts
        text = "; ".join([first.first, *(fact.further for fact in others)]) if others else first.alone
        return text.replace(CURRENCY, self._name_currency(row)) if CURRENCY in text else text

    def _name_currency(self, row: Row) -> str:
        code = float(row[self._currency_at]) if self._currency_at is not None else 0.0
        known = 1 <= code <= len(self._currencies)
        return self._currencies[int(code) - 1] if known else self._phrases.currency
