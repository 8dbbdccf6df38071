"""One row as its facts read it: values, what is usual, and words of the declaration, each quoted once."""

import math
import re
from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.goods.kernels import HS_DIGITS_READ, MAX_HS_DIGITS, ODD_HS_DIGITS
from features.goods.naming import QUOTED_FEATURES, GoodsWords, shorten_text
from features.history.keys import COMMON_KINDS
from features.normalization.normal_forms import TEXT_SEPARATOR, DeclaredTexts
from features.route import list_hubs
from features.table import SIDES
from models.formats import format_number
from models.reasons.sentences import ReasonContext, Sentence, Statement
from models.reasons.texts import find_vague_meaning, load_text_table
from models.reasons.usual import Usual, UsualLookup

MANY_OF_NAME = 50
"""A name without a mark of a firm that so many earlier consignments have is that of many persons."""
SAYS_MORE = ("goods.names_", "goods.name_tier", "goods.context_", "goods.pretext_")
"""Features that say more of a word than that the description has it: given even if the word was quoted."""
COVERS = tuple(f"goods.cover_{kind}" for kind in ("industrial", "cosmetic", "supplement", "plant", "feed"))
WORD = re.compile(r"\{(\w+)\}")
CODES = {"hs_family": "goods", "text_family": "goods", "name_tier": "tier"}
"""Words that name the code of a feature of the goods, with the table of codes."""
COUNTED_PIECES = re.compile(
    r"(?<![\w.,])(?:x ?|set of |pack of )([1-9]\d{1,5})(?![\w.,]|\s?(?:[mk]?g|m?l|[cm]?m|w|v|%))"
    r"|(?<![\w.,-])([1-9]\d{1,5}) ?(?:pcs?|pieces|units|ea|st(?:ü|ue)ck|stk|stuks|piezas|unidades|[개個个件只])(?!\w)",
    re.IGNORECASE,
)
MIN_GRAMS_A_PIECE, MIN_DOLLARS_A_PIECE = 1.0, 0.02
"""A counted piece of goods that weighs or costs less stands out (assumed)."""


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
        self._goods, self._quoted = shorten_text(declared.goods), list[str]()
        self.told: set[str] = set()

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
            and self.get(f"history.{kind}.arrivals_ever") >= MANY_OF_NAME
        )

    def tells_more_than_keys(self, network: str) -> bool:
        """Check if a network of a side has more consignments in 30 days than any key of the side itself."""
        side = network.removesuffix("_network")
        own = (self.get(f"history.{kind.name}.arrivals_30d") for kind in COMMON_KINDS if kind.side == side)
        return not any(each >= self.get(f"history.{network}.arrivals_30d") for each in own)

    def has_other_contacts(self, kind: str, target: str) -> bool:
        """Check if what was found under a name was found with neither this address nor this telephone number."""
        finds = (f"history.{kind}_{part}.{target}_ever" for part in ("address", "phone"))
        return kind in SIDES and all(self.get(name) == 0 for name in finds)

    def describe_feature(self, name: str) -> Statement | None:
        """Describe the value of a feature; None if the spec lacks it."""
        at = self._tables.places.get(name)
        return None if at is None else self.describe(at)

    def may_be_said(self, at: int) -> bool:
        """Check if a feature stands out and no other explains it, or is said in any case."""
        sentence, template = self._tables.sentences[at], self._tables.sentences[at].template
        if any(self.get(name) >= least for name, least in template.unless.items()):
            return False
        return bool(template.otherwise) or sentence.stands_out(self.values[at], self.find_usual(at))

    def describe(self, at: int) -> Statement:
        """Describe the value of a feature by its sentence, with words of the declaration."""
        sentence = self._tables.sentences[at]
        found = sentence.describe(self.values[at], self.find_usual(at))
        found = found._replace(notable=found.notable and self.may_be_said(at))
        words = self._find_words(sentence.name, found)
        fresh = [word for word in words if not any(word in text for text in self._quoted)]
        if sentence.template.otherwise:
            shown, rank = self._choose_wording(sentence, found, words)
            quotation = self._quote(shown)
            found = found._replace(notable=bool(quotation), rank=rank)
        else:
            quotation = self._quote_goods(sentence, found, words)
            is_repeated = words and not fresh and not sentence.name.startswith(SAYS_MORE)
            found = found._replace(notable=found.notable and not is_repeated)
        text = self._add_words(sentence, quotation or found.text, fresh)
        if found.notable and "hs" not in self.told:
            text += self._quote(sentence.template.also)
        return found._replace(text=self.fill(text))

    def _find_words(self, name: str, found: Statement) -> list[str]:
        """Find the words of the goods on which a feature rests, if they are to be quoted."""
        if name not in QUOTED_FEATURES or not found.notable or found.rank == "last":
            return []
        return GoodsWords(self._declared.goods, self._tables.context.text_weights).list_words(name)

    def _quote_goods(self, sentence: Sentence, found: Statement, words: Sequence[str]) -> str:
        """Quote the declaration as the template of a feature does; '' if it does not, or the words are not in what is quoted."""
        template = sentence.template
        if not found.notable or any(word not in self._goods for word in words):
            return ""
        return self._quote(template.shown)

    def _choose_wording(self, sentence: Sentence, found: Statement, words: Sequence[str]) -> tuple[str, str]:
        """Choose what is said of the goods as a whole, and its rank: what they are comes before what their words are like."""
        if find_vague_meaning(self._goods):
            return load_text_table().phrases["vague"], "vague"
        for name in COVERS:
            if self.get(name) > 0:
                return self._tables.sentences[self._tables.places[name]].template.shown, ""
        if found.notable and words:
            return sentence.template.shown, found.rank
        return sentence.template.otherwise, "context"

    def _add_words(self, sentence: Sentence, text: str, fresh: Sequence[str]) -> str:
        """Add words of the goods; to a text that quotes the goods only if they explain it, and are few."""
        says_more = sentence.name.startswith(SAYS_MORE) or sentence.template.otherwise
        if not fresh or (
            self._goods in text and not (says_more and 2 * len(" ".join(fresh)) <= len(self._goods))
        ):
            return text
        self._quoted += fresh
        say = load_text_table().say
        return text + say("words", words=", ".join(say("quote", word=word) for word in fresh))

    def describe_pieces(self) -> Statement | None:
        """Describe weight and value of a piece if the description counts many, and they are too little for any goods."""
        counted = (
            None if TEXT_SEPARATOR in self._declared.goods else COUNTED_PIECES.search(self._declared.goods)
        )
        if counted is None:
            return None
        count = int(counted[1] or counted[2])
        grams, dollars = 1000 * self.get("value.gross_weight_kg") / count, self.get("value.usd") / count
        if not (0 < grams < MIN_GRAMS_A_PIECE or 0 < dollars < MIN_DOLLARS_A_PIECE):
            return None
        self.told.add("pieces")
        say, known = load_text_table().say, [(grams, "g"), (dollars, "USD")]
        each = say("and").join(f"{format_number(value)} {unit}" for value, unit in known if value > 0)
        text = say("pieces", count=format_number(count), each=each, goods=self._quote(" ({goods})"))
        return Statement(text, None, None, notable=True, rank="words")

    def quote_goods_once(self) -> str:
        """Quote the goods; '' if they are not given, or quoted already."""
        return self._quote("{goods}")

    def fill(self, text: str) -> str:
        """Fill currency, declared amount and route into a text; they have words even if they are not given."""
        if "{" not in text:
            return text
        say, currency = load_text_table().say, self._declared.currency
        is_foreign = self.amount and currency not in ("", "USD")
        text = text.replace("{currency}", currency or say("currency"))
        text = text.replace("{in_currency}", say("in_currency", declared=self.amount) if is_foreign else "")
        route = say("the_route", route=self.route) if self.route else say("this_route")
        return text.replace("{route}", route)

    def name_route_once(self, text: str) -> str:
        """Return a text without the places of the route if one before it has them."""
        if not self.route or self.route not in text:
            return text
        if "route" in self.told:
            phrases = load_text_table()
            return text.replace(phrases.say("the_route", route=self.route), phrases.say("this_route"))
        self.told.add("route")
        return text

    @cached_property
    def amount(self) -> str:
        """The declared value with its currency; '' if none is given."""
        value = self.get("value.declared")
        return "" if math.isnan(value) else f"{format_number(value)} {self._declared.currency}".rstrip()

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
        if name == "goods":
            meaning = find_vague_meaning(self._goods)
            quotation = say("translated" if meaning else "quote", word=self._goods, meaning=meaning)
            return quotation if self._goods and not self._quoted else ""
        if name == "hub":
            ends = declared.departure_country, declared.destination_country
            return say("and").join(list_hubs(declared.route, *ends))
        if name == "hs_fault":
            return say(self._find_hs_fault())
        if name in ("route", "declared"):
            return self.route if name == "route" else self.amount
        return str(getattr(declared, name))

    def _find_hs_fault(self) -> str:
        digits = self.get("goods.hs_digits")
        if digits < HS_DIGITS_READ:
            return "hs_short"
        is_odd = digits % 2 == 1 and digits != ODD_HS_DIGITS
        return "hs_count" if is_odd or digits > MAX_HS_DIGITS else "hs_heading"


DECLARED = {*DeclaredTexts._fields, "hub", "declared", "hs_fault"}
"""Words that the declaration has."""
