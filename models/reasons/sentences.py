"""One sentence for each feature: what does not depend on a row is prepared once."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from features.spec import Feature
from models.formats import format_number, format_percent
from models.reasons.rules import RULES, Rank
from models.reasons.texts import COLUMN_CODES, capitalize, find_template, get_template, load_text_table
from models.reasons.usual import CHANNEL, SERVICE, Usual, find_like

WIDE = (CHANNEL, SERVICE)
UNITS_OF_USUAL = {"USD": " USD", "USD/kg": " USD", "USD/piece": " USD", "kg": " kg", "days": " days"}
NOTHING_KNOWN: Mapping[str, Any] = MappingProxyType({})


class ReasonContext(NamedTuple):
    """Knowledge of a model beyond its spec: what is usual, and values by code (their place, from 1)."""

    usual: Mapping[str, Mapping[str, list[float]]] = NOTHING_KNOWN
    vocabularies: Mapping[str, Sequence[str]] = NOTHING_KNOWN

    def name_code(self, feature: str, code: float, codes: str = COLUMN_CODES) -> str:
        """Return the name of a code of a feature; '' if it has none."""
        if codes == COLUMN_CODES:
            names = self.vocabularies.get(feature.partition(".")[2], ())
        else:
            names = load_text_table().list_code_words(codes)
        if not 1 <= code <= len(names):
            return ""
        value = names[int(code) - 1]  # a learnt one is in small letters
        is_code = len(value) <= RULES.max_code_letters and value != "ems"
        return value.upper() if is_code else value.replace("_", " ")

    def name_like(self, usual: Usual) -> str:
        """Return the words for those among which it is usual."""
        name, table = usual.like.partition(".")[2], load_text_table().like
        template, code = find_template(usual.like), f"{usual.value:g}"
        if template is not None and template.codes:
            code = self.name_code(usual.like, usual.value, template.codes)
        text = table.get(f"{name}_{code.replace(' ', '_')}") or table.get(name, "")
        goods = load_text_table().name_hs_goods(code)
        return text.replace("{value}", code).replace("{hs_goods}", goods) if code else ""


NO_CONTEXT = ReasonContext()


class Statement(NamedTuple):
    """A text about a value, and whether it stands out; `value` and `usual` are as an answer gives them."""

    text: str
    value: float | None = None
    usual: float | None = None
    notable: bool = False
    rank: Rank = ""


class Sentence:
    """Texts of one feature at any value."""

    def __init__(self, feature: Feature, context: ReasonContext) -> None:
        self.name, self.unit, self.template = feature.name, feature.unit, get_template(feature)
        self.like, self._context = find_like(feature) or (), context
        self._format = FORMATTERS.get(feature.unit, format_number)

    @cached_property
    def _parts(self) -> dict[str, list[str]]:
        """The texts around their values, split at the first use: most features are never said."""
        return {name: text.split("{value}") for name, text in self.template.list_texts().items()}

    def describe(self, value: float, usual: Usual | None = None) -> Statement:
        """Describe a value, compared with what is usual."""
        if math.isnan(value):
            return Statement(capitalize(self.template.missing))
        middle = None if usual is None or self.unit == "flag" else usual.middle
        shown = None if self.unit == "code" or math.isinf(value) else float(str(np.float32(value)))
        is_vague = self.template.rank == "value" and (usual is None or usual.like in WIDE)
        rank = "last" if is_vague else self.template.rank
        return Statement(capitalize(self._say(value, usual)), shown, middle, rank=rank)

    def stands_out(self, value: float, usual: Usual | None) -> bool:
        """Check if a value is worth saying: a flag that holds, or a number that is not usual."""
        template = self.template
        if math.isnan(value) or template.notable == "never":
            return False
        if template.steps:
            return value > template.steps[0][0]
        if template.codes:
            return bool(self.name_code(value)) != (template.codes == COLUMN_CODES)
        if template.notable == "rare":
            return value != 0 and (usual is None or usual.high != value)
        if self.unit == "flag" and template.true:
            return (usual is None or usual.middle != value) and (value != 0) != (template.notable == "false")
        if template.true:
            return value > (usual.high if usual else 0.0)
        if usual is None or not template.compare:
            return value > 0 and not (self.unit == "ratio" and template.compare)
        if self.unit == "count" and usual.middle == 0 < value:
            return value > 2 * usual.high
        if template.notable in ("low", "high") and (value < usual.middle) != (template.notable == "low"):
            return False
        added = 1.0 if self.unit in ("count", "days") else 0.0
        ratio = (value + added) / (usual.middle + added) if usual.middle + added > 0 else math.inf
        least = RULES.min_ratio
        if template.rank == "value":
            if self.unit == "kg" and usual.like in WIDE:
                return False
            is_wide = usual.like in (*WIDE, "goods.text_family")
            least = RULES.min_ratio_of_channel if is_wide else RULES.min_ratio_of_value
        return not usual.low <= value <= usual.high and not 1 / least < ratio < least

    def _say(self, value: float, usual: Usual | None) -> str:
        template = self.template
        if template.steps:
            return next(text for bound, text in template.steps if value <= bound)
        if template.codes:
            name = self.name_code(value)
            return name.join(self._parts["other"]) if name else template.zero
        if not template.true:
            return self._say_number(value, usual)
        least = usual.middle if usual and self.unit != "flag" else 0.0
        return template.true if value > least else template.false

    def _say_number(self, value: float, usual: Usual | None) -> str:
        shown = self._show(value)
        case = "zero" if value == 0 else "one" if shown == "1" else "under_one" if 0 < value < 1 else "other"
        text = shown.join(self._parts.get(case) or self._parts["other"])
        if usual is None or not self.template.compare:
            return text
        middle, say = self._show(usual.middle), load_text_table().say
        if self.unit == "count" and usual.middle == 0 < value:
            case = "usual_at_most" if usual.high > 0 else "usual_none"
            return text + say(case, like=self._context.name_like(usual), high=self._show(usual.high))
        if middle == shown or math.isclose(value, usual.middle, rel_tol=RULES.small_difference):
            return text + say("as_usual", like=self._context.name_like(usual))
        unit = UNITS_OF_USUAL.get(self.unit, "")
        if self.unit == "ratio" and max(value, usual.middle) >= 1:
            middle, unit = format_number(usual.middle), " times"
        unit = unit.rstrip("s") if middle == "1" else unit
        return text + say("usual", like=self._context.name_like(usual), usual=middle + unit)

    def name_code(self, value: float) -> str:
        """Name the code that a value is; '' if it has no name."""
        return self._context.name_code(self.name, value, self.template.codes)

    def _show(self, value: float) -> str:
        phrases = load_text_table().phrases
        if abs(value) > RULES.huge:
            return phrases["huge"]
        if value >= self.template.cap:
            return phrases["at_least"].replace("{value}", self._format(self.template.cap))
        return self._format(value)


def format_amount(value: float) -> str:
    """Format an amount of money, with cents below 1,000."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.2f}"


FORMATTERS: dict[str, Callable[[float], str]] = {
    "share": format_percent,
    "ratio": lambda value: format_percent(value) if 0 < value < 1 else format_number(value),
    **dict.fromkeys(("USD", "USD/kg", "USD/piece"), format_amount),
}
