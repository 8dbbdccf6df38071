"""One row as its facts read it: values, what is usual, and words of the declaration, each quoted once."""

import math
import re
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.goods.hs import FAMILIES
from features.goods.kernels import HS_DIGITS_READ, MAX_HS_DIGITS, ODD_HS_DIGITS
from features.goods.naming import QUOTED_FEATURES, GoodsWords, shorten_text
from features.history.readings import NETWORK_SIDES
from features.normalization.normal_forms import TEXT_SEPARATOR, DeclaredTexts
from features.parties import resembles_firm
from features.route import list_hubs
from features.table import SIDES
from models.formats import format_number
from models.reasons.rules import RULES, Rank
from models.reasons.sentences import ReasonContext, Sentence, Statement, format_amount
from models.reasons.texts import find_vague_meaning, join_words, load_text_table
from models.reasons.usual import MISMATCH, Usual, UsualLookup

CONTACTS = {"address": "address", "phone": "telephone number"}
_PLACES = {name: at for at, name in enumerate(FAMILIES, start=1)}
ORDINARY_GOODS, LARGE_GOODS = (
    {at for name, at in _PLACES.items() if name not in kinds} for kinds in (RULES.not_ordinary, RULES.small)
)
PLANT = _PLACES["plant"]
SUPPLEMENTS = {_PLACES[name] for name in RULES.supplements}
COVERS = tuple(f"goods.cover_{kind}" for kind in ("industrial", "cosmetic", "supplement", "plant", "feed"))
WORD = re.compile(r"\{(\w+)\}")
CODES = {"text_family": "goods", "name_tier": "tier"}
"""Words that name the code of a feature of the goods, with the table of codes."""
COUNTED_PIECES, MEASURE, MADE_OF = (
    re.compile(pattern, re.IGNORECASE) for pattern in (RULES.counted_pieces, RULES.measure, RULES.made_of)
)


class SpecTables(NamedTuple):
    """Everything about the features of a spec that does not depend on a row."""

    places: dict[str, int]
    sentences: Sequence[Sentence]
    usual: UsualLookup
    context: ReasonContext


class RowView:
    """One row, with all that its facts need; `raises` says whether the theme that is described raises the score."""

    def __init__(self, row: NDArray[np.float32], declared: DeclaredTexts, tables: SpecTables) -> None:
        self.values: list[float] = row.tolist()
        self.raises = True
        self._declared, self._tables = declared, tables
        for side in SIDES:
            place = tables.places.get(f"parties.{side}_business")
            if place is not None and resembles_firm(getattr(declared, f"{side}_name")):
                self.values[place] = 1.0
        self._goods, self._quoted = shorten_text(declared.goods), list[str]()
        self.told: set[str] = set()
        self.counted: dict[str, float | None] = {}

    def get(self, name: str) -> float:
        """Return the value of a feature, NaN if the spec lacks it."""
        at = self._tables.places.get(name)
        return math.nan if at is None else self.values[at]

    def find_usual(self, at: int) -> Usual | None:
        """Find what is usual for a feature of this row."""
        return self._tables.usual.find(at, self.values)

    def find_usual_of(self, name: str) -> Usual | None:
        """Find what is usual for a feature; None if the spec lacks it."""
        return self.find_usual(self._tables.places[name]) if name in self._tables.places else None

    def is_common_name(self, kind: str) -> bool:
        """Check if a key is a name that so many consignments have that it is that of many persons."""
        return (
            self.get(f"parties.{kind}_business") == 0
            and self.get(f"history.{kind}.arrivals_ever") >= RULES.many_of_name
        )

    def count_month(self, kind: str) -> float:
        """Return the consignments of a key in 30 days; 0 if it is not given."""
        return max(0.0, self.get(f"history.{kind}.arrivals_30d"))

    def has_counted(self, kind: str) -> bool:
        """Check if the consignments of a key, all of 30 days, were counted next to its finds."""
        key = f"history.{kind}"
        return key in self.told and self.count_month(kind) == self.get(f"{key}.arrivals_ever")

    def doubt_find(self, kind: str, target: str) -> str:
        """Return why what was found with a key may be another's: a common name, a name with other contacts, a building of many; '' if nothing does."""
        say = load_text_table().say
        if self.is_common_name(kind):
            return say("common_name")
        if kind in NETWORK_SIDES:
            is_busy = self.get(f"history.{kind}.arrivals_ever") > RULES.many_in_building
            return say("large_building") if is_busy and not self.list_ties(NETWORK_SIDES[kind]) else ""
        if kind not in SIDES:
            return ""
        finds = {noun: self.get(f"history.{kind}_{part}.{target}_ever") for part, noun in CONTACTS.items()}
        if any(number > 0 for number in finds.values()):
            return ""
        others = [noun for noun, number in finds.items() if number == 0]
        return say("other_contacts", contacts=join_words(others)) if others else say("name_alone")

    def name_ties(self, side: str) -> str:
        """Name what links other consignments to a side: what it shares with them itself, else its building."""
        say, shared = load_text_table().say, self.list_ties(side)
        ties = say("ties", side=side, ties=join_words(shared)) if shared else say("building", side=side)
        return say("other_names", ties=ties) if self.get(f"history.{side}.new") == 1 else ties

    def list_ties(self, side: str) -> list[str]:
        """List what other consignments share with a side itself; nothing if they share no more than the building."""
        return [
            noun for key, noun in RULES.ties[side].items() if self.get(f"history.{key}.arrivals_ever") > 0
        ]

    def describe_feature(self, name: str) -> Statement | None:
        """Describe the value of a feature; None if the spec lacks it."""
        at = self._tables.places.get(name)
        return None if at is None else self.describe(at)

    def may_be_said(self, at: int) -> bool:
        """Check if a feature stands out and no other explains it, or is said in any case."""
        sentence = self._tables.sentences[at]
        template = sentence.template
        if any(self.get(name) >= least for name, least in template.unless.items()):
            return False
        if self._is_ordinary_case(sentence.name):
            return False
        if template.together and all(self.get(name) >= least for name, least in template.together.items()):
            return True
        return bool(template.otherwise) or sentence.stands_out(self.values[at], self.find_usual(at))

    def _is_ordinary_case(self, name: str) -> bool:
        """Check if what a feature says is ordinary here: one of several goods, vitamins and herbs as supplements, papers, goods made of plastic, China by way of Hong Kong."""
        declared = self._declared
        if name == MISMATCH:
            if (TEXT_SEPARATOR in declared.goods) != (self.get("goods.text_families") > 1):
                return True
            return (
                declared.hs.startswith(RULES.supplement_headings)
                and self.get("goods.text_family") in SUPPLEMENTS
            )
        if name == "route.departure_not_sender":
            return {declared.departure_country, declared.sender_country} <= set(RULES.china)
        goods = declared.goods.casefold()
        if name == "goods.cover_industrial":
            return MADE_OF.search(goods) is not None
        return name.startswith("value.") and any(word in goods for word in RULES.papers)

    def describe(self, at: int) -> Statement:
        """Describe the value of a feature by its sentence, with words of the declaration."""
        sentence = self._tables.sentences[at]
        found = sentence.describe(self.values[at], self.find_usual(at))
        found = found._replace(notable=self.may_be_said(at))
        words = self._find_words(sentence.name, found)
        fresh = [word for word in words if not any(word in text for text in self._quoted)]
        if sentence.name in RULES.hints and self._is_ordinary(words):
            found = found._replace(notable=False)
        if sentence.name == "goods.hs_typical" and self.get("goods.hs_family") == PLANT:
            found = found._replace(rank="context")
        if sentence.template.otherwise:
            shown, rank = self._choose_wording(sentence)
            quotation = self._quote(shown)
            is_telling = rank != "context" or not self.raises
            found = found._replace(notable=bool(quotation) and is_telling, rank=rank)
        else:
            quotation = self._quote_goods(sentence, found, words)
            is_repeated = words and not fresh and not sentence.name.startswith(RULES.says_more)
            found = found._replace(notable=found.notable and not is_repeated)
        text = self._add_words(quotation or found.text, fresh)
        if found.notable and "hs" not in self.told:
            text += self._quote(sentence.template.also)
        return found._replace(text=self.fill(text))

    def _is_ordinary(self, words: Sequence[str]) -> bool:
        """Check if words that also stand for a drug are plain words in the description of one ordinary product."""
        is_one = TEXT_SEPARATOR not in self._declared.goods
        return is_one and "".join(words).isalpha() and self.get("goods.text_family") in ORDINARY_GOODS

    def _find_words(self, name: str, found: Statement) -> list[str]:
        """Find the words of the goods on which a feature rests, if they are to be quoted."""
        if name not in QUOTED_FEATURES or not found.notable or found.rank == "last":
            return []
        return GoodsWords(self._declared.goods).list_words(name)

    def _quote_goods(self, sentence: Sentence, found: Statement, words: Sequence[str]) -> str:
        """Quote the declaration as the template of a feature does; '' if it does not, or the words are not in what is quoted."""
        template = sentence.template
        if not found.notable or any(word not in self._goods for word in words):
            return ""
        is_of_none = sentence.name == MISMATCH and TEXT_SEPARATOR in self._declared.goods
        return self._quote(load_text_table().phrases["hs_of_none"] if is_of_none else template.shown)

    def _choose_wording(self, sentence: Sentence) -> tuple[str, Rank]:
        """Choose what is said of the goods as a whole, and its rank."""
        if find_vague_meaning(self._goods):
            return load_text_table().phrases["vague"], "vague"
        for name in COVERS:
            is_told = self.get(MISMATCH) > 0 and not self._is_ordinary_case(MISMATCH)
            if self.get(name) > 0 and not is_told and not self._is_ordinary_case(name):
                template = self._tables.sentences[self._tables.places[name]].template
                return template.shown, template.rank
        return sentence.template.otherwise, "context"

    def _add_words(self, text: str, fresh: Sequence[str]) -> str:
        """Add words of the goods to a text that does not quote the goods as a whole."""
        if not fresh or self._goods in text:
            return text
        self._quoted += fresh
        say = load_text_table().say
        return text + say("words", words=", ".join(say("quote", word=word) for word in fresh))

    def describe_amounts(self) -> Statement | None:
        """Describe a weight in the description that is more than the gross weight, or what a counted piece weighs and is worth if that is too little."""
        goods, weight, say = self._declared.goods, self.get("value.gross_weight_kg"), load_text_table().say
        if TEXT_SEPARATOR in goods:
            return None
        text = ""
        for number, unit in MEASURE.findall(goods):
            if 0 < weight < float(number) * RULES.kilograms[unit.lower()] / RULES.max_excess:
                text = say("measure", measure=f"{number} {unit}", weight=format_number(weight))
        if not text and (counted := COUNTED_PIECES.search(goods)):
            count = int(counted[1] or counted[2])
            known = [(1000 * weight / count, "g"), (self.get("value.usd") / count, "USD")]
            is_large = self.get("goods.text_family") in LARGE_GOODS
            limits = (
                RULES.min_grams_a_piece if is_large else RULES.min_grams_of_small,
                RULES.min_dollars_a_piece,
            )
            if any(0 < value < least for (value, _), least in zip(known, limits, strict=True)):
                each = say("and").join(f"{format_number(value)} {unit}" for value, unit in known if value > 0)
                text = say("pieces", count=format_number(count), each=each)
        if not text:
            return None
        self.told.add("amounts")
        text = text.replace("{quoted}", self._quote(" ({goods})"))
        return Statement(text, None, None, notable=True, rank="words")

    def fill(self, text: str) -> str:
        """Fill currency, declared amount and links into a text; they have words even if they are not given."""
        if "{" not in text:
            return text
        say, currency = load_text_table().say, self._declared.currency
        is_foreign = self.amount and currency not in ("", "USD")
        text = text.replace("{currency}", currency or say("currency"))
        text = text.replace("{in_currency}", say("in_currency", declared=self.amount) if is_foreign else "")
        for side in SIDES:
            if (place := f"{{{side}_ties}}") in text:
                text = text.replace(place, self.name_ties(side))
        return text

    @cached_property
    def amount(self) -> str:
        """The declared value with its currency; '' if none is given."""
        value = self.get("value.declared")
        if math.isnan(value):
            return ""
        if value > RULES.huge:
            return load_text_table().phrases["huge"]
        shown = f"{value:,.0f}" if value.is_integer() else format_amount(value)
        return f"{shown} {self._declared.currency}".rstrip()

    @cached_property
    def route(self) -> str:
        """The places of the route."""
        return " > ".join(filter(None, map(str.strip, self._declared.route.split(">"))))

    def _quote(self, text: str) -> str:
        """Fill words of the declaration into a text; '' if one is not given, or the goods are quoted already."""
        names = [name for name in WORD.findall(text) if name in CODES or name in DECLARED]
        words = {name: self._find_word(name) for name in names}
        if not all(words.values()):
            return ""
        for name, word in words.items():
            text = text.replace(f"{{{name}}}", word)
        if "hs" in words:
            self.told.add("hs")
        if "goods" in words:
            self._quoted.append(self._goods)
        return text

    def _find_word(self, name: str) -> str:
        """Find what the declaration says; '' if it is not given."""
        declared, say = self._declared, load_text_table().say
        if name in CODES:
            return self._tables.context.name_code(name, self.get(f"goods.{name}"), CODES[name])
        if name == "hs_goods":
            return load_text_table().name_hs_goods(declared.hs)
        if name == "goods":
            meaning = find_vague_meaning(self._goods)
            is_translated = meaning not in ("", self._goods.casefold())
            quotation = say("translated" if is_translated else "quote", word=self._goods, meaning=meaning)
            return quotation if self._goods and not self._quoted else ""
        if name == "hub":
            ends = declared.departure_country, declared.destination_country
            return say("and").join(list_hubs(declared.route, *ends))
        if name == "token":
            shown = say("only", declared=self.amount) if self.get("value.declared") > 0 else say("zero")
            return self.amount and shown
        if name == "support":
            return self._find_support()
        if name == "hs_fault":
            return say(self._find_hs_fault())
        if name in ("route", "declared"):
            return self.route if name == "route" else self.amount
        return str(getattr(declared, name))

    def _find_support(self) -> str:
        """Return next to what a code or street name stands."""
        say = load_text_table().say
        if any(self.get(f"goods.{name}") > 0 for name in ("powder_words", "crystal_words")):
            return say("powder")
        if any(self.get(f"goods.{name}") > 0 for name in ("chemistry_words", "locants", "cas_numbers")):
            return say("chemical_words")
        return say("chemical_code", hs=self._declared.hs) if self._declared.hs else ""

    def _find_hs_fault(self) -> str:
        digits = self.get("goods.hs_digits")
        if digits < HS_DIGITS_READ:
            return "hs_short"
        is_odd = digits % 2 == 1 and digits != ODD_HS_DIGITS
        return "hs_count" if is_odd or digits > MAX_HS_DIGITS else "hs_heading"


DECLARED = {*DeclaredTexts._fields, "hub", "declared", "hs_fault", "hs_goods", "support", "token"}
DECLARED -= {f"{side}_name" for side in SIDES}
"""Words that the declaration has; names of parties are not said."""
