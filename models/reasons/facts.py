"""Facts: features that mean the same to an officer, and the one sentence that describes them for a row."""

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.goods.naming import QUOTED_FEATURES, GoodsWords, shorten_text
from features.history.kernels import ADDED_ARRIVALS
from features.history.keys import COMMON_KINDS
from features.history.readings import READINGS
from features.normalization.normal_forms import DeclaredTexts
from features.route import list_hubs
from features.spec import Spec
from models.formats import format_number, format_rate
from models.reasons.sentences import ReasonContext, Sentence, Statement
from models.reasons.texts import load_text_table
from models.reasons.usual import Usual, UsualLookup

TARGETS = ("nps", "controlled_drug", "any_offence")
"""Targets of detections, the gravest first."""
MEANINGS = {reading.name: reading.meaning for reading in READINGS}
KINDS = {kind.name: kind for kind in COMMON_KINDS}
PAIRS = ("pair", "address_pair")
OF_PARTIES = [kind.name for kind in COMMON_KINDS if kind.side or kind.name in PAIRS]
NEVER_ABSENT = (
    *("alerts.", "quality.", "route.identifier", "route.check_digit", "route.master_differs"),
    *("goods.name_family", "goods.text_family", "goods.hs_family"),
)
"""Features whose missing value does not say that a detail of the declaration is missing."""
OF_KNOWN_KEYS = ("days_since_first", "days_since_last", "days_since_find", "velocity")
"""Readings that are missing if the key is new."""
MIN_REPEATS = 2
"""Consignments of a pair, or of the same weight and value, in 30 days that stand out."""
BUSY_WEEK, BUSY_ROUTE = 3, "history.route.arrivals_30d"
MIN_RATE_RATIO = 2.0
"""A product or route has known finds if its share of detections is so many times the usual one."""
MIN_SHARE_OF_FINDS = 0.05
"""Smallest share of detections among the consignments of a party that comes first, if it is also MIN_RATE_RATIO times the usual one."""
MIN_INSPECTIONS = 10
"""A product or route has known finds only after so many inspections."""
MANY_OF_NAME = 50
"""A name without a mark of a firm that so many earlier consignments have is that of many persons."""
MAX_DETAILS = 5
SAYS_MORE = ("goods.names_", "goods.name_tier", "goods.context_", "goods.pretext_")
"""Features that say more of a word than that the description has it: given even if the word was quoted."""
SAMPLES = "amostra"
"""A word for a sample that `goods.sample_words` does not count."""


class Fact(NamedTuple):
    """A code, the columns of its features, and what describes it: of a row and the columns, the strongest first."""

    code: str
    theme: str
    columns: list[int]
    describe: Callable[["RowView", Sequence[int]], Statement | None]


class RowView:
    """One row, with all that its facts need; `raises` says whether the theme that is described raises the score."""

    def __init__(self, row: NDArray[np.float32], declared: DeclaredTexts, tables: "FactTables") -> None:
        self.values: list[float] = row.tolist()
        self.raises = True
        self._declared, self._tables = declared, tables
        self.goods, self._quoted = shorten_text(declared.goods), list[str]()
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

    def describe_feature(self, name: str) -> Statement | None:
        """Describe the value of a feature; None if the spec lacks it."""
        at = self._tables.places.get(name)
        return None if at is None else self.describe(at)

    def describe(self, at: int) -> Statement:
        """Describe the value of a feature by its sentence, with words of the declaration."""
        sentence = self._tables.sentences[at]
        found, template = sentence.describe(self.values[at], self.find_usual(at)), sentence.template
        if any(self.get(name) >= least for name, least in template.unless.items()):
            found = found._replace(notable=False)
        shown, words, phrases = template.shown, list[str](), load_text_table()
        if sentence.name == "goods.vague_whole" and found.notable and self._is_sample():
            shown, found = phrases.phrases["sample"], found._replace(rank="words")
        if sentence.name in QUOTED_FEATURES and found.notable and found.rank != "last":
            words = self.words.list_words(sentence.name)
        fresh = [word for word in words if not any(word in text for text in self._quoted)]
        says_more, goods = sentence.name.startswith(SAYS_MORE), self.goods
        stands_out = found.notable and bool(words or not template.otherwise)
        if any(word not in goods for word in words):
            shown = ""
        text = self._quote_declaration(shown if stands_out else template.otherwise)
        if template.otherwise:
            found = found._replace(notable=bool(text), rank=found.rank if stands_out else "last")
        elif words and not fresh and not says_more:
            found = found._replace(notable=False)
        # A text that quotes the goods quotes words of them only if they explain it, and are few.
        is_few = (says_more or template.otherwise) and 2 * len(" ".join(fresh)) <= len(goods)
        found = found._replace(text=text or found.text)
        if fresh and (goods not in text or is_few):
            self._quoted += fresh
            quoted = ", ".join(phrases.say("quote", word=word) for word in fresh)
            found = found._replace(text=found.text + phrases.say("words", words=quoted))
        if found.notable and "hs" not in self.told:
            found = found._replace(text=found.text + self._quote_declaration(template.also))
        return found._replace(text=self.fill(found.text))

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

    def _is_sample(self) -> bool:
        return self.get("goods.sample_words") > 0 or SAMPLES in self._declared.goods.casefold()

    @cached_property
    def amount(self) -> str:
        """The declared value with its currency; '' if none is given."""
        value = self.get("value.declared")
        return "" if math.isnan(value) else f"{format_number(value)} {self._declared.currency}".rstrip()

    @cached_property
    def route(self) -> str:
        """The places of the route."""
        return " > ".join(filter(None, map(str.strip, self._declared.route.split(">"))))

    @cached_property
    def words(self) -> GoodsWords:
        """The words of the goods."""
        return GoodsWords(self._declared.goods, self._tables.context.text_weights)

    def _quote_declaration(self, text: str) -> str:
        """Fill the words of the declaration into a text; '' if one is not given, or the goods are quoted already."""
        if "{" not in text:
            return text
        goods, name_code, phrases = self.goods, self._tables.context.name_code, load_text_table()
        codes = (("hs_family", "goods"), ("text_family", "goods"), ("name_tier", "tier"))
        declared = self._declared
        ends = declared.departure_country, declared.destination_country
        words = {
            **declared._asdict(),
            **{name: name_code(name, self.get(f"goods.{name}"), table) for name, table in codes},
            "goods": phrases.say("quote", word=goods) if goods and not self._quoted else "",
            "route": self.route,
            "hub": phrases.say("and").join(list_hubs(declared.route, *ends)) if "{hub}" in text else "",
            "declared": self.amount,
        }
        used = [name for name in words if f"{{{name}}}" in text]
        if not all(words[name] for name in used):
            return ""
        for name in used:
            text = text.replace(f"{{{name}}}", words[name])
        if "hs" in used:
            self.told.add("hs")
        if "goods" in used:
            self._quoted.append(goods)
        return text


class FactTables:
    """All facts of a spec, and what their sentences need; prepared when a model is loaded."""

    def __init__(self, spec: Spec, context: ReasonContext) -> None:
        self.context, self._texts = context, load_text_table()
        self.places = {name: at for at, name in enumerate(spec.names)}
        self.sentences = [Sentence(feature, context) for feature in spec]
        self.usual = UsualLookup(spec, context.usual)
        told_by = (self.places.get(sentence.template.told_by) for sentence in self.sentences)
        self._told_by = [at if other is None else other for at, other in enumerate(told_by)]
        self._details = [at for at, sentence in enumerate(self.sentences) if sentence.template.lacks]
        members: dict[tuple[str, str], list[int]] = {("missing", "missing"): []}
        for at, feature in enumerate(spec):
            members.setdefault((feature.theme, self._name_fact(at)), []).append(at)
        self.facts = [
            Fact(code, theme, columns, self._choose(code, columns))
            for (theme, code), columns in members.items()
        ]

    def list_companions(self) -> NDArray[np.int64]:
        """List, for each feature, the column that is missing if the detail that it reads is not given; -1 if there is none."""
        found = np.arange(len(self.sentences))
        for name, at in self.places.items():
            key, _, reading = name.rpartition(".")
            if name.startswith(NEVER_ABSENT) or key.endswith("_side"):
                found[at] = -1
            elif reading in OF_KNOWN_KEYS:
                found[at] = self.places.get(f"{key}.new", -1)
        return found

    def _name_fact(self, at: int) -> str:
        """Return the code of the fact of a feature; the keys of a party share theirs."""
        name, template = self.sentences[at].name, self.sentences[at].template
        if not name.startswith("history."):
            return template.fact or name.replace(".", "_")
        kind, _, reading = name.removeprefix("history.").rpartition(".")
        meaning = MEANINGS.get(reading, "finds")
        if meaning == "finds" and (kind in OF_PARTIES or kind.endswith("_side")):
            return "party_finds"
        side = KINDS[kind].side if kind in KINDS else None
        return f"{side or ('pair' if kind in PAIRS else kind.replace('+', '_'))}_{meaning}"

    def _choose(self, code: str, columns: list[int]) -> Callable[[RowView, Sequence[int]], Statement | None]:
        if code in ("missing", "party_finds"):
            return self._describe_missing if code == "missing" else self._describe_party_finds
        if not self.sentences[columns[0]].name.startswith("history."):
            return self._describe_detour if code == "detour" else self._describe_plain
        return {
            "finds": self._describe_finds,
            "activity": self._describe_activity,
            "counterparts": self._describe_counterparts,
        }[code.rpartition("_")[2]]

    def _describe_plain(self, view: RowView, columns: Sequence[int]) -> Statement | None:
        """Describe the strongest feature that stands out; of what lowers, the strongest that has a value."""
        first = None
        leading = (at for at in columns if self.sentences[at].template.leads and view.values[at] >= 1)
        for at in dict.fromkeys((*leading, *(self._told_by[each] for each in columns))):
            found = view.describe(at)
            if found.notable:
                return found
            if first is None and not math.isnan(view.values[at]):
                first = found
        return None if view.raises else first

    def _describe_detour(self, view: RowView, columns: Sequence[int]) -> Statement | None:
        """Describe a detour; on a route that is as busy as others from its country it comes last."""
        found, usual = self._describe_plain(view, columns), view.find_usual_of(BUSY_ROUTE)
        is_busy = usual is not None and view.get(BUSY_ROUTE) >= max(usual.middle, 1.0)
        return found._replace(rank="last") if found and is_busy else found

    def _describe_activity(self, view: RowView, columns: Sequence[int]) -> Statement | None:
        """Describe how new or how busy the key is that weighs most."""
        key, kind = self._find_key(columns)
        is_link = kind in PAIRS or kind == "figures"
        if view.get(f"{key}.new") == 1:
            found = None if is_link and view.raises else view.describe_feature(f"{key}.new")
            return found and found._replace(rank="last")
        week, found = (view.describe_feature(f"{key}.arrivals_{days}d") for days in (7, 30))
        if found and is_link:
            return found._replace(notable=view.get(f"{key}.arrivals_30d") >= MIN_REPEATS)
        if week and (not found or (week.notable and view.get(f"{key}.arrivals_7d") >= BUSY_WEEK)):
            found = week
        if found is None:
            return self._describe_plain(view, columns)
        is_busy = found.value is not None and found.usual is not None and found.value > found.usual
        of_party = kind in OF_PARTIES and not view.is_common_name(kind)
        return found._replace(
            notable=found.notable and (of_party or (kind == "route" and not is_busy)),
            rank="" if is_busy and of_party else "last",
        )

    def _describe_counterparts(self, view: RowView, columns: Sequence[int]) -> Statement | None:
        """Describe with how many others a key came, or that a new name uses a known key."""
        key, name = self._find_key(columns)
        found, kind = view.describe(columns[0]), KINDS.get(name)
        if view.values[columns[0]] <= (1 if name in PAIRS else 0):
            return None
        if kind is None or kind.side is None or kind.counterpart != kind.side:
            return found._replace(rank="last")
        earlier = view.get(f"{key}.arrivals_ever")
        if view.get(f"history.{kind.side}.new") != 1 or not earlier > 0:
            return found._replace(notable=found.notable and view.values[columns[0]] > 1, rank="link")
        words = self._texts.party[kind.side] | self._texts.key[name] | {"count": format_number(earlier)}
        phrase = "renamed_again" if key in view.told else "renamed_once" if earlier == 1 else "renamed"
        return Statement(self._texts.say(phrase, **words), earlier, None, True, "link")

    def _describe_party_finds(self, view: RowView, columns: Sequence[int]) -> Statement | None:
        """Describe the gravest detection of a key of the parties, by the key that had the largest share."""
        found = [
            each
            for target in TARGETS
            for kind in OF_PARTIES
            if (each := self._describe_finds_of_party(view, kind, target))
        ]
        if found:
            *_, key, strongest = max(found, key=itemgetter(0, 1, 2))
            view.told.add(key)
            return strongest
        for at in columns:
            if self.sentences[at].name.endswith("_a_consignment") and view.values[at] > 0:
                return view.describe(at)._replace(notable=True, rank="find")
        return None if view.raises else self._describe_plain(view, columns)

    def _describe_finds_of_party(
        self, view: RowView, kind: str, target: str
    ) -> tuple[bool, int, float, str, Statement] | None:
        """Describe the detections of a key of a party; before it what orders them (whether they come first, gravity, share), and the key."""
        finds, arrivals = (view.get(f"history.{kind}.{name}_ever") for name in (target, "arrivals"))
        if not 0 < finds <= arrivals:
            return None
        text = self._say_finds("found_once" if arrivals == 1 else "found", target, kind, finds, arrivals)
        days, is_common = view.get(f"history.{kind}.days_since_find"), view.is_common_name(kind)
        if finds == view.get(f"history.{kind}.any_offence_ever") and days > 1:
            text += self._texts.say("one_find" if finds == 1 else "last_find", days=format_number(days))
        text += self._texts.say("common_name") if is_common else ""
        usual, least = view.find_usual_of(f"history.{kind}.{target}_rate"), MIN_SHARE_OF_FINDS
        if usual:
            least = max(least, MIN_RATE_RATIO * usual.middle)
            text += self._say_usual_rate(usual) if arrivals > 1 else ""
        is_first = not is_common and finds / arrivals >= least
        found = Statement(text, finds, usual and usual.middle, True, "find" if is_first else "last")
        share = finds / (arrivals + ADDED_ARRIVALS)
        return is_first, -TARGETS.index(target), share, f"history.{kind}", found

    def _say_finds(self, phrase: str, target: str, kind: str, finds: float, among: float) -> str:
        words = {"What": self._texts.target[target], **self._texts.describe_key(kind)}
        return self._texts.say(phrase, finds=format_number(finds), among=format_number(among), **words)

    def _say_usual_rate(self, usual: Usual) -> str:
        """Return the words for a usual share of finds, as one in a whole number."""
        share = 1 / round(1 / usual.middle) if usual.middle > 0 else 0.0
        return self._texts.say("usual", like="", usual=format_rate(share))

    def _describe_finds(self, view: RowView, columns: Sequence[int]) -> Statement | None:
        """Describe the detections of a product, a route or another key of many parties, if they are more than usual."""
        key, kind = self._find_key(columns)
        for target in TARGETS:
            finds, inspections = view.get(f"{key}.{target}_ever"), view.get(f"{key}.inspections_ever")
            usual = view.find_usual_of(f"{key}.{target}_rate")
            if usual is None or inspections < MIN_INSPECTIONS or not 1 < finds <= inspections:
                continue
            if view.get(f"{key}.{target}_rate") >= MIN_RATE_RATIO * usual.middle:
                text = view.fill(self._say_finds("found_inspected", target, kind, finds, inspections))
                text += self._say_usual_rate(usual)
                return Statement(text, float(f"{finds / inspections:.4g}"), usual.middle, True)
        return None if view.raises else self._describe_plain(view, columns)

    def _describe_missing(self, view: RowView, _columns: Sequence[int]) -> Statement | None:
        """List once which details are missing that others give."""
        named = {}
        for at in self._details:
            usual = view.find_usual(at) if self._lacks(at, view.values[at]) else None
            if self._lacks(at, view.values[at]) and (usual is None or not self._lacks(at, usual.middle)):
                named[self.sentences[at].name] = self.sentences[at].template.lacks
        for side in ("sender", "consignee"):
            address = [f"parties.{side}_{part}_missing" for part in ("address", "city", "postcode")]
            if named.keys() >= set(address):
                named[address[0]] = self._texts.say("address", side=side)
                del named[address[1]], named[address[2]]
        listed = [named[name] for name in sorted(named, key=lambda name: name.startswith("parties."))]
        if not listed:
            return None
        if len(listed) > MAX_DETAILS + 1:
            listed[MAX_DETAILS:] = [self._texts.say("more", count=str(len(listed) - MAX_DETAILS))]
        *others, last = listed
        text = ", ".join(others) + self._texts.say("and") + last if others else last
        return Statement(self._texts.say("not_given", details=text), float(len(named)), None, True, "last")

    def _lacks(self, at: int, value: float) -> bool:
        return value == (1.0 if self.sentences[at].name.endswith("missing") else 0.0)

    def _find_key(self, columns: Sequence[int]) -> tuple[str, str]:
        """Return the part of the names of the strongest feature before its reading, and the kind of its key."""
        key = self.sentences[columns[0]].name.rpartition(".")[0]
        return key, key.removeprefix("history.")
