"""One row as its facts read it: values, what is usual, and words of the declaration, each quoted once."""

import math
import re
from collections.abc import Mapping, Sequence
from functools import cached_property

from features.goods.hs import FAMILIES
from features.goods.kernels import HS_DIGITS_READ, MAX_HS_DIGITS, ODD_HS_DIGITS
from features.goods.naming import GoodsWords, shorten_text
from features.history.readings import NETWORK_SIDES
from features.normalization.normal_forms import TEXT_SEPARATOR, DeclaredTexts
from features.parties import resembles_firm
from features.route import list_hubs
from features.table import SIDES
from models.arrays import Rows
from models.formats import format_number
from models.reasons.rules import RULES, Rank
from models.reasons.sentences import ReasonContext, Sentence, Statement, format_amount
from models.reasons.texts import ReasonTemplate, find_vague_meaning, join_words, load_text_table
from models.reasons.usual import MISMATCH, Usual, find_usual, list_groups

CONTACTS = {"address": "address", "phone": "telephone number"}
_PLACES = {name: at for at, name in enumerate(FAMILIES, start=1)}
ORDINARY_GOODS = {at for name, at in _PLACES.items() if name not in RULES.not_ordinary}
LARGE_GOODS = {at for name, at in _PLACES.items() if name not in RULES.small}
PLANT = _PLACES["plant"]
SUPPLEMENTS = {_PLACES[name] for name in RULES.supplements}
COVERS = tuple(f"goods.cover_{kind}" for kind in ("industrial", "cosmetic", "supplement", "plant", "feed"))
WORD = re.compile(r"\{(\w+)\}")
CODES = ("text_family", "name_tier")  # words that name the code of a feature of the goods
COUNTED_PIECES = re.compile(RULES.counted_pieces, re.IGNORECASE)
MEASURE = re.compile(RULES.measure, re.IGNORECASE)
MADE_OF = re.compile(RULES.made_of, re.IGNORECASE)


class RowView:
    """One row, with all that its facts need; `raises` says whether the theme that is described raises the score."""

    def __init__(
        self, row: Rows, declared: DeclaredTexts, sentences: Mapping[str, Sentence], context: ReasonContext
    ) -> None:
        self.values: dict[str, float] = dict(zip(sentences, row.tolist(), strict=True))
        self._declared, self._sentences, self._texts = declared, sentences, load_text_table()
        for side in SIDES:
            is_business = f"parties.{side}_business"
            if self.get(is_business) == 0 and resembles_firm(getattr(declared, f"{side}_name")):
                self.values[is_business] = 1.0
        self._goods, self._words = shorten_text(declared.goods), GoodsWords(declared.goods)
        self._groups, self._usual = list_groups(context.usual, self.values), dict[str, Usual | None]()
        self.start_over()

    def start_over(self) -> None:
        """Forget what was said of the row."""
        self.raises = True
        self._quoted: list[str] = []
        self.told: set[str] = set()
        self.counted: dict[str, float | None] = {}

    def get(self, name: str) -> float:
        """Return the value of a feature, NaN if the spec lacks it."""
        return self.values.get(name, math.nan)

    def find_usual(self, name: str) -> Usual | None:
        """Find what is usual for a feature of this row; None if the spec lacks it."""
        if name not in self._usual:
            sentence = self._sentences.get(name)
            self._usual[name] = find_usual(self._groups, name, sentence.like) if sentence else None
        return self._usual[name]

    def is_common_name(self, kind: str) -> bool:
        """Check if a key is a name that so many consignments have that it is that of many persons."""
        is_frequent = self.get(f"history.{kind}.arrivals_ever") >= RULES.many_of_name
        return is_frequent and self.get(f"parties.{kind}_business") == 0

    def count_month(self, kind: str) -> float:
        """Return the consignments of a key in 30 days; 0 if it is not given."""
        return max(0.0, self.get(f"history.{kind}.arrivals_30d"))

    def has_counted(self, kind: str) -> bool:
        """Check if the consignments of a key, all of 30 days, were counted next to its finds."""
        key = f"history.{kind}"
        return key in self.told and self.count_month(kind) == self.get(f"{key}.arrivals_ever")

    def doubt_find(self, kind: str, target: str) -> str:
        """Return why what was found with a key may be another's; '' if nothing says so."""
        say = self._texts.say
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
        say, shared = self._texts.say, self.list_ties(side)
        ties = say("ties", side=side, ties=join_words(shared)) if shared else say("building", side=side)
        return say("other_names", ties=ties) if self.get(f"history.{side}.new") == 1 else ties

    def list_ties(self, side: str) -> list[str]:
        """List what other consignments share with a side itself; nothing if they share no more than the building."""
        nouns = RULES.ties[side].items()
        return [noun for key, noun in nouns if self.get(f"history.{key}.arrivals_ever") > 0]

    def describe_feature(self, name: str) -> Statement | None:
        """Describe the value of a feature; None if the spec lacks it."""
        return self.describe(name) if name in self.values else None

    def may_be_said(self, name: str) -> bool:
        """Check if a feature stands out and no other explains it, or is said in any case."""
        sentence = self._sentences[name]
        template = sentence.template
        if any(self.get(other) >= least for other, least in template.unless.items()):
            return False
        if self._is_ordinary_case(name):
            return False
        if template.together and all(self.get(each) >= least for each, least in template.together.items()):
            return True
        return bool(template.otherwise) or sentence.stands_out(self.values[name], self.find_usual(name))

    def _is_ordinary_case(self, name: str) -> bool:
        """Check if what a feature says is ordinary for these goods and this route."""
        declared, kind = self._declared, self.get("goods.text_family")
        if name == MISMATCH:
            kinds, parts = self.get("goods.text_families"), 1 + declared.goods.count(TEXT_SEPARATOR)
            if (parts > 1) != (kinds > 1) or kinds < parts:
                return True
            return kind in SUPPLEMENTS and declared.hs.startswith(RULES.supplement_headings)
        if name == "route.departure_not_sender":
            return {declared.departure_country, declared.sender_country} <= set(RULES.china)
        if name == "goods.cover_industrial":
            return kind in ORDINARY_GOODS or MADE_OF.search(declared.goods) is not None
        return name.startswith("value.") and any(word in declared.goods.casefold() for word in RULES.papers)

    def describe(self, name: str) -> Statement:
        """Describe the value of a feature by its sentence, with words of the declaration."""
        sentence = self._sentences[name]
        template, found = sentence.template, sentence.describe(self.values[name], self.find_usual(name))
        is_notable, rank = self.may_be_said(name), found.rank
        # Words of the goods on which the feature rests.
        words = self._words.list_words(name) if is_notable and rank != "last" else []
        fresh = [word for word in words if not any(word in text for text in self._quoted)]
        if name in RULES.hints and self._is_ordinary(words):
            is_notable = False
        if name == "goods.hs_typical" and self.get("goods.hs_family") == PLANT:
            rank = "context"
        quotation, is_code_told = "", "hs" in self.told
        if template.otherwise:
            shown, rank = self._choose_wording(template)
            quotation = self._quote(shown)
            is_notable = bool(quotation) and (rank != "context" or not self.raises)
        elif is_notable:
            # The goods are quoted if the words are in what is shown of them.
            if all(word in self._goods for word in words):
                is_of_none = name == MISMATCH and TEXT_SEPARATOR in self._declared.goods
                quotation = self._quote(self._texts.phrases["hs_of_none"] if is_of_none else template.shown)
            is_notable = not words or bool(fresh) or name.startswith(RULES.says_more)
        text = self._add_words(quotation or found.text, fresh)
        if is_notable and not is_code_told:
            text += self._quote(template.also)
        return found._replace(text=self.fill(text), notable=is_notable, rank=rank)

    def _is_ordinary(self, words: Sequence[str]) -> bool:
        """Check if words that also stand for a drug are plain words in the description of one ordinary product."""
        is_one = TEXT_SEPARATOR not in self._declared.goods
        return is_one and "".join(words).isalpha() and self.get("goods.text_family") in ORDINARY_GOODS

    def _choose_wording(self, template: ReasonTemplate) -> tuple[str, Rank]:
        """Choose what is said of the goods as a whole, and its rank."""
        if find_vague_meaning(self._goods):
            return self._texts.phrases["vague"], "vague"
        for name in COVERS:
            is_told = self.get(MISMATCH) > 0 and not self._is_ordinary_case(MISMATCH)
            if self.get(name) > 0 and not is_told and not self._is_ordinary_case(name):
                cover = self._sentences[name].template
                return cover.shown, cover.rank
        return template.otherwise, "context"

    def _add_words(self, text: str, fresh: Sequence[str]) -> str:
        """Add words of the goods to a text that does not quote the goods as a whole."""
        if not fresh or self._goods in text:
            return text
        self._quoted += fresh
        say = self._texts.say
        return text + say("words", words=", ".join(say("quote", word=word) for word in fresh))

    def describe_amounts(self) -> Statement | None:
        """Describe a stated weight above the gross weight, or what a counted piece weighs and is worth if that is too little."""
        goods, weight, say = self._declared.goods, self.get("value.gross_weight_kg"), self._texts.say
        if TEXT_SEPARATOR in goods:
            return None
        text = ""
        for number, unit in MEASURE.findall(goods):
            if 0 < weight < float(number) * RULES.kilograms[unit.lower()] / RULES.max_excess:
                text = say("measure", measure=f"{number} {unit}", weight=format_number(weight))
        if not text and (counted := COUNTED_PIECES.search(goods)):
            count = int(counted[1] or counted[2])
            grams, dollars = 1000 * weight / count, self.get("value.usd") / count
            is_large = self.get("goods.text_family") in LARGE_GOODS
            min_grams = RULES.min_grams_a_piece if is_large else RULES.min_grams_of_small
            if 0 < grams < min_grams or 0 < dollars < RULES.min_dollars_a_piece:
                known = [(grams, "g"), (dollars, "USD")]
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
        say, currency = self._texts.say, self._declared.currency
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
            return self._texts.phrases["huge"]
        shown = f"{value:,.0f}" if value.is_integer() else format_amount(value)
        return f"{shown} {self._declared.currency}".rstrip()

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
        declared, say = self._declared, self._texts.say
        if name in CODES:
            sentence = self._sentences.get(f"goods.{name}")
            return sentence.name_code(self.get(sentence.name)) if sentence else ""
        if name == "hs_goods":
            return self._texts.name_hs_goods(declared.hs)
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
        if name == "declared":
            return self.amount
        if name == "route":
            return " > ".join(filter(None, map(str.strip, declared.route.split(">"))))
        return str(getattr(declared, name))

    def _find_support(self) -> str:
        """Return next to what a code or street name stands."""
        say = self._texts.say
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
