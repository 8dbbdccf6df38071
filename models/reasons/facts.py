"""Facts: features that mean the same to an officer, and the one sentence that describes them for a row."""

import math
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.history.kernels import ADDED_ARRIVALS
from features.history.keys import COMMON_KINDS
from features.history.readings import NETWORKS, READINGS
from features.spec import Spec
from models.formats import format_number, format_rate
from models.reasons.row_view import RowView, SpecTables
from models.reasons.sentences import ReasonContext, Sentence, Statement
from models.reasons.texts import load_text_table
from models.reasons.usual import Usual, UsualLookup

TARGETS = ("nps", "controlled_drug", "any_offence")
"""Targets of detections, the gravest first."""
MEANINGS = {reading.name: reading.meaning for reading in READINGS}
KINDS = {kind.name: kind for kind in COMMON_KINDS}
PAIRS = ("pair", "address_pair")
OF_PARTIES = [kind.name for kind in COMMON_KINDS if kind.read and (kind.side or kind.name in PAIRS)]
OF_PARTIES += NETWORKS
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
PARTY_DETAILS = ("address", "city", "postcode", "name", "phone")

Describe = Callable[[RowView, Sequence[int]], Statement | None]


class Fact(NamedTuple):
    """A code, the columns of its features, and what describes it: of a row and the columns, the strongest first."""

    code: str
    theme: str
    columns: list[int]
    describe: Describe


class FactTables:
    """All facts of a spec, and what their sentences need; prepared when a model is loaded."""

    def __init__(self, spec: Spec, context: ReasonContext) -> None:
        self._texts = load_text_table()
        self.places = {name: at for at, name in enumerate(spec.names)}
        self.sentences = [Sentence(feature, context) for feature in spec]
        usual = UsualLookup(spec, context.usual)
        self.of_spec = SpecTables(self.places, self.sentences, usual, context)
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

    def _choose(self, code: str, columns: list[int]) -> Describe:
        own: dict[str, Describe] = {
            "missing": self._describe_missing,
            "party_finds": self._describe_party_finds,
            "detour": self._describe_detour,
            **dict.fromkeys(("wording", "value_for_product", "weight_for_product"), self._describe_pieces),
        }
        if code in own or not self.sentences[columns[0]].name.startswith("history."):
            return own.get(code, self._describe_plain)
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
            if view.raises and not view.may_be_said(at):
                continue
            found = view.describe(at)
            if found.notable:
                return found
            if first is None and not math.isnan(view.values[at]):
                first = found
        return None if view.raises else first

    def _describe_pieces(self, view: RowView, columns: Sequence[int]) -> Statement | None:
        """Describe what a counted piece weighs and is worth if that is too little, in place of weight and value; else the feature."""
        if view.raises and "pieces" in view.told:
            return None
        return (view.describe_pieces() if view.raises else None) or self._describe_plain(view, columns)

    def _describe_detour(self, view: RowView, columns: Sequence[int]) -> Statement | None:
        """Describe a detour; on a route that is as busy as others from its country it is never first."""
        found, usual = self._describe_plain(view, columns), view.find_usual_of(BUSY_ROUTE)
        is_busy = usual is not None and view.get(BUSY_ROUTE) >= max(usual.middle, 1.0)
        return found._replace(rank="context") if found and is_busy else found

    def _describe_activity(self, view: RowView, columns: Sequence[int]) -> Statement | None:
        """Describe how new or how busy the key is that weighs most."""
        key, kind = self._find_key(columns)
        if view.raises and kind in NETWORKS and not view.tells_more_than_keys(kind):
            return None
        is_link = kind in PAIRS or kind == "figures"
        if view.get(f"{key}.new") == 1:
            found = None if is_link and view.raises else view.describe_feature(f"{key}.new")
            return found and found._replace(rank="context")
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
            rank="" if is_busy and of_party and kind not in NETWORKS else "last",
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
        ranked = (self._rank_finds(view, kind, target) for target in TARGETS for kind in OF_PARTIES)
        strongest = max(filter(None, ranked), default=None, key=itemgetter(slice(3)))
        if strongest:
            is_first, _, _, kind, target = strongest
            view.told.add(f"history.{kind}")
            return self._describe_finds_of_party(view, kind, target)._replace(
                rank="find" if is_first else "last"
            )
        for at in columns:
            if self.sentences[at].name.endswith("_a_consignment") and view.values[at] > 0:
                return view.describe(at)._replace(notable=True, rank="find")
        return None if view.raises else self._describe_plain(view, columns)

    def _rank_finds(self, view: RowView, kind: str, target: str) -> tuple[bool, int, float, str, str] | None:
        """Return what orders the detections of a key of a party: whether they come first, gravity and share; then the key and what was found."""
        finds, arrivals = (view.get(f"history.{kind}.{name}_ever") for name in (target, "arrivals"))
        if not 0 < finds <= arrivals:
            return None
        usual, least = view.find_usual_of(f"history.{kind}.{target}_rate"), MIN_SHARE_OF_FINDS
        if usual:
            least = max(least, MIN_RATE_RATIO * usual.middle)
        is_doubtful = view.is_common_name(kind) or view.has_other_contacts(kind, target)
        is_first = not is_doubtful and finds / arrivals >= least
        return is_first, -TARGETS.index(target), finds / (arrivals + ADDED_ARRIVALS), kind, target

    def _describe_finds_of_party(self, view: RowView, kind: str, target: str) -> Statement:
        """Describe the detections of a key of a party, compared with inspections if it is known how many there were."""
        key, names = (
            f"history.{kind}",
            (f"{target}_ever", "inspections_ever", "arrivals_ever", "days_since_find"),
        )
        finds, inspected, arrivals, days = (view.get(f"{key}.{name}") for name in names)
        usual = view.find_usual_of(f"{key}.{target}_rate") if inspected >= finds and arrivals > 1 else None
        phrase = "found_once" if arrivals == 1 else "found"
        if finds <= inspected < arrivals:
            phrase = "found_at_once" if inspected == 1 else "found_of_inspected"
        text = self._say_finds(phrase, target, kind, finds, arrivals, inspected)
        if finds == view.get(f"{key}.any_offence_ever") and days > 1:
            text += self._texts.say("one_find" if finds == 1 else "last_find", days=format_number(days))
        text += self._texts.say("other_contacts") if view.has_other_contacts(kind, target) else ""
        text += self._texts.say("common_name") if view.is_common_name(kind) else ""
        text += self._say_usual_rate(usual) if usual else ""
        return Statement(text, finds, usual and usual.middle, not usual or finds / arrivals > usual.middle)

    def _say_finds(
        self, phrase: str, target: str, kind: str, finds: float, among: float, inspected: float = math.nan
    ) -> str:
        words = {"What": self._texts.target[target], **self._texts.describe_key(kind)}
        numbers = {"finds": finds, "among": among, "inspected": inspected}
        words |= {name: format_number(value) for name, value in numbers.items()}
        return self._texts.say(phrase, **words)

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
        """List once which details are missing that others give, with the goods if nothing quoted them."""
        lacking = {at: view.find_usual(at) for at in self._details if self._lacks(at, view.values[at])}
        unusual = {at: each for at, each in lacking.items() if not each or not self._lacks(at, each.middle)}
        named = {self.sentences[at].name: self.sentences[at].template.lacks for at in unusual}
        for side in ("sender", "consignee"):
            parts = [f"parties.{side}_{part}_missing" for part in PARTY_DETAILS]
            for phrase, number in (("whole_party", 5), ("address", 3)):
                if named.keys() >= set(parts[:number]):
                    named[parts[0]] = self._texts.say(phrase, side=side)
                    for each in parts[1:number]:
                        del named[each]
        listed = [named[name] for name in sorted(named, key=lambda name: name.startswith("parties."))]
        if not listed:
            return None
        *others, last = listed
        details = ", ".join(others) + self._texts.say("and") + last if others else last
        usual = [each for each in unusual.values() if each]
        like = self.sentences[self._details[0]].name_like(usual[0]) if len(usual) == len(unusual) else ""
        text = self._texts.say("not_given_like" if like else "not_given", like=like, details=details)
        if view.raises and (goods := view.quote_goods_once()):
            text += self._texts.say("described", goods=goods)
        return Statement(text, float(len(named)), None, True, "last")

    def _lacks(self, at: int, value: float) -> bool:
        return value == (1.0 if self.sentences[at].name.endswith("missing") else 0.0)

    def _find_key(self, columns: Sequence[int]) -> tuple[str, str]:
        """Return the part of the names of the strongest feature before its reading, and the kind of its key."""
        key = self.sentences[columns[0]].name.rpartition(".")[0]
        return key, key.removeprefix("history.")
