"""Reasons: a score's contributions, added up by theme, with the facts that an officer reads, in an order that helps."""

import math
from collections.abc import Mapping
from operator import itemgetter
from typing import Annotated, Literal, NamedTuple

import msgspec
import numpy as np

from consignments.records import about
from features.normalization.normal_forms import DeclaredTexts
from features.spec import THEMES, Spec
from features.table import SIDES
from models.arrays import Floats, Rows
from models.reasons.facts import Fact, FactTables
from models.reasons.row_view import RowView
from models.reasons.rules import RULES, Rank
from models.reasons.sentences import NO_CONTEXT, ReasonContext, Statement
from models.reasons.texts import capitalize, get_template, load_text_table

MANY_SMALL = "many_small"
MISSING = THEMES.index("missing")
LATE = ("last", "context")
CHECKED, CHECKS = ("goods", "value", "route"), ("words", "contradiction", "vague")
"""Themes and ranks of what can be checked on a parcel itself."""
NO_TEXTS = DeclaredTexts()
TIES = {f"{side}_ties": f"linked to this {side}" for side in SIDES}
"""Words for ties of which no consignment is known."""


class ReasonFact(msgspec.Struct, frozen=True, gc=False):
    """One fact of a reason."""

    code: Annotated[str, about("what it says; GET /v1/reasons lists all codes")]
    text: str
    value: Annotated[float | None, about("null if it is missing or a code")] = None
    usual: Annotated[
        float | None, about("what is usual among consignments that are alike; null if it is not known")
    ] = None


class Reason(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One reason for a score: a theme, with up to three facts."""

    code: Annotated[str, about("the theme; GET /v1/reasons lists all")]
    text: Annotated[str, about("the strongest fact, for an officer")]
    value: Annotated[float | None, about("value of the strongest fact")] = None
    usual: Annotated[float | None, about("usual value of the strongest fact")] = None
    contribution: Annotated[float, about("of the theme to the raw score, in log-odds")]
    direction: Annotated[Literal["raises", "lowers"], about("whether it raises or lowers the score")] = (
        "raises"
    )
    facts: Annotated[list[ReasonFact], about("the strongest first; none is given twice")] = []


class FeatureTexts(msgspec.Struct, frozen=True):
    """Texts of one feature: case to template, `{value}` stands for its value."""

    name: str
    fact: str
    unit: str
    texts: dict[str, str]


class ReasonCode(msgspec.Struct, frozen=True):
    """One theme of reasons, with its name and its features."""

    code: str
    name: str
    features: list[FeatureTexts]


class _Theme(NamedTuple):
    """One theme of a row, with its facts that are said."""

    code: str
    contribution: float
    facts: list[ReasonFact]
    rank: Rank

    @property
    def stands_out(self) -> bool:
        """Check if the theme is a reason of its own."""
        least = RULES.min_last if self.rank == "last" else RULES.min_contribution
        return bool(self.facts) and self.rank != "context" and self.contribution >= least

    def get_weight(self) -> tuple[bool, float]:
        """Return what orders it: first what stands out."""
        early = self.rank in ("find", "link") and self.contribution < RULES.min_first
        head_start = 0.0 if self.contribution <= 0 or early else RULES.head_starts[self.rank]
        return self.stands_out, self.contribution + head_start


class ReasonRanker:
    """Turn contributions into reasons."""

    def __init__(self, spec: Spec, context: ReasonContext = NO_CONTEXT) -> None:
        self.context, self._spec = context, spec
        self._tables = FactTables(spec, context)
        companions = self._tables.list_companions()
        self._companions, self._may_lack = np.maximum(companions, 0), companions >= 0
        self._theme = np.array([THEMES.index(feature.theme) for feature in spec], dtype=np.int64)
        self._fact = np.empty(len(spec), dtype=np.int64)
        self._facts: list[list[tuple[int, Fact]]] = [[] for _ in THEMES]
        self._checks: list[tuple[int, Fact]] = []
        for number, fact in enumerate(self._tables.facts):
            self._fact[list(fact.columns.values())] = number
            self._facts[THEMES.index(fact.theme)].append((number, fact))
            names = fact.columns if fact.theme in CHECKED else ()
            if any(self._tables.templates[name].rank in CHECKS for name in names):
                self._checks.append((number, fact))

    def rank(
        self,
        row: Rows,
        contributions: Floats,
        top: int,
        *,
        lowering: bool = False,
        declared: DeclaredTexts = NO_TEXTS,
    ) -> list[Reason]:
        """Return the `top` themes that raise the score and stand out, else one reason `many_small`; with `lowering` all themes."""
        shares = contributions[: len(self._spec)]
        # What is missing in the declaration counts under `missing`.
        absent = np.isnan(row[self._companions]) & self._may_lack
        sums = np.bincount(np.where(absent, MISSING, self._theme), weights=shares, minlength=len(THEMES))
        own = np.where(absent, 0.0, shares)
        by_fact = np.bincount(self._fact, weights=own, minlength=len(self._tables.facts)).tolist()
        view = RowView(row, declared, self._tables.sentences, self.context)
        weights = dict(zip(self._spec.names, own.tolist(), strict=True))
        themes = [
            self._describe_theme(place, total, view, weights, by_fact)
            for place, total in enumerate(sums.tolist())
            if lowering or total >= RULES.min_contribution
        ]
        themes.sort(key=_Theme.get_weight, reverse=True)
        if lowering:
            return list(map(_build_reason, themes[:top]))
        outstanding = [each for each in themes if each.facts]
        if any(each.stands_out for each in outstanding):
            return list(map(_build_reason, outstanding[:top]))
        check = self._find_check(view, by_fact, is_missing=bool(sums[MISSING] >= 0))
        return [_join_small(themes, check)] if themes and top else []

    def _find_check(self, view: RowView, by_fact: list[float], *, is_missing: bool) -> ReasonFact | None:
        """Find what can be checked on the parcel itself, else a gap of the declaration; None if there is nothing."""
        notable: list[tuple[float, ReasonFact]] = []
        for number, fact in self._checks:
            if by_fact[number] >= 0:
                view.start_over()
                found = fact.describe(view, list(fact.columns))
                if found and found.notable and found.rank in CHECKS:
                    notable.append((RULES.head_starts[found.rank], _build_fact(fact.code, found)))
        if notable:
            return max(notable, key=itemgetter(0))[1]
        gap = self._tables.describe_gap(view) if is_missing else None
        return _build_fact("missing", gap) if gap else None

    def list_codes(self) -> list[ReasonCode]:
        """List all themes with the texts of their features."""
        features, names = self._spec.features, load_text_table().theme
        listed: dict[str, list[FeatureTexts]] = {code: [] for code in THEMES}
        for fact in self._tables.facts:
            for feature in map(features.__getitem__, fact.columns.values()):
                texts = get_template(feature).fill(TIES).list_texts()
                listed[fact.theme].append(FeatureTexts(feature.name, fact.code, feature.unit, texts))
        return [ReasonCode(code, names[code], texts) for code, texts in listed.items()]

    def _describe_theme(
        self, place: int, total: float, view: RowView, weights: Mapping[str, float], by_fact: list[float]
    ) -> _Theme:
        """Describe the facts of a theme in the direction of its contribution, the strongest first."""
        view.raises, sign = total > 0, 1.0 if total > 0 else -1.0
        own, least = self._facts[place], RULES.min_fact
        weighed = [(sign * (total if place == MISSING else by_fact[number]), fact) for number, fact in own]
        ranked = [each for each in weighed if each[0] >= least]
        # The words of the goods come last: they are not said if others quote them.
        ranked.sort(key=lambda each: (each[1].code == "wording", -each[0]))
        said: dict[str, tuple[float, Rank, ReasonFact]] = {}
        for weight, fact in ranked:
            if weight < least or len(said) == RULES.max_said:
                continue
            lower = [] if view.raises else [name for name in fact.columns if weights[name] < 0]
            names = sorted(lower or fact.columns, key=weights.__getitem__, reverse=view.raises)
            found = fact.describe(view, names)
            is_repeated = fact.code == "wording" and found is not None and bool(said) and found.rank in LATE
            if found is not None and (found.notable or not view.raises) and not is_repeated:
                order = weight + RULES.head_starts[found.rank] - RULES.vague_lag * (found.rank == "vague")
                said.setdefault(found.text, (order, found.rank, _build_fact(fact.code, found)))
                least = max(least, RULES.min_fact_share * weight)
        facts = sorted(said.values(), key=lambda each: -each[0])
        rank = facts[0][1] if facts else "last"
        return _Theme(THEMES[place], total, [shown for _, _, shown in facts[: RULES.max_facts]], rank)


def _build_fact(code: str, found: Statement) -> ReasonFact:
    return ReasonFact(code, found.text, found.value, found.usual)


def _build_reason(theme: _Theme) -> Reason:
    table = load_text_table()
    text = table.say("nothing", Theme=capitalize(table.theme[theme.code]))
    first = theme.facts[0] if theme.facts else ReasonFact(theme.code, text)
    return Reason(
        code=theme.code,
        text=first.text,
        value=first.value,
        usual=first.usual,
        contribution=theme.contribution,
        direction="raises" if theme.contribution > 0 else "lowers",
        facts=theme.facts,
    )


def _join_small(themes: list[_Theme], check: ReasonFact | None) -> Reason:
    """Join what raises a score a little to one reason; first what can be checked on the parcel."""
    table, ordered = load_text_table(), sorted(themes, key=lambda each: -each.contribution)
    names = ", ".join(table.theme[each.code] for each in ordered[: RULES.max_facts])
    text = table.say("many_small", themes=names)
    facts = {each.facts[0].text: each.facts[0] for each in ordered if each.facts}
    if check is not None:
        text, facts = table.say("many_small_check", check=check.text), {check.text: check} | facts
    total, shown = math.fsum(each.contribution for each in themes), [*facts.values()][: RULES.max_facts]
    return Reason(code=MANY_SMALL, text=text, contribution=total, facts=shown)
