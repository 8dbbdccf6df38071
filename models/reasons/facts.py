"""Facts: features that mean the same to an officer, and the one sentence that describes them for a row."""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from operator import itemgetter
from typing import NamedTuple

import numpy as np

from features.history.kernels import ADDED_ARRIVALS
from features.history.keys import COMMON_KINDS
from features.history.readings import NETWORK_SIDES, NETWORKS, READINGS
from features.spec import Spec
from features.table import SIDES
from models.arrays import Ints
from models.formats import format_count, format_number, format_rate
from models.reasons.row_view import RowView
from models.reasons.rules import RULES, Rank
from models.reasons.sentences import ReasonContext, Sentence, Statement
from models.reasons.texts import join_words, load_text_table
from models.reasons.usual import Usual

TARGETS = ("nps", "controlled_drug", "any_offence")  # targets of detections, the gravest first
OTHER, FIRST = TARGETS[-1], 2
MEANINGS = {reading.name: reading.meaning for reading in READINGS}
KINDS = {kind.name: kind for kind in COMMON_KINDS}
PAIRS, OF_GOODS = ("pair", "address_pair"), ("product", "product_route")
OF_PARTIES = [kind.name for kind in COMMON_KINDS if kind.read and (kind.side or kind.name in PAIRS)]
OF_PARTIES += NETWORKS
SIDE_OF = {name: KINDS[name].side or "" for name in OF_PARTIES if name in KINDS and KINDS[name].side}
SIDE_OF |= NETWORK_SIDES
"""The side of each key of one party."""
Describe = Callable[[RowView, Sequence[str]], Statement | None]


class Fact(NamedTuple):
    """A code, its features with their columns, and what describes it: of a row and the features, the strongest first."""

    code: str
    theme: str
    columns: dict[str, int]
    describe: Describe


class KeyFinds(NamedTuple):
    """Numbers of finds, inspections and earlier consignments of a key of the parties."""

    kind: str
    target: str
    finds: float
    inspected: float
    arrivals: float

    @property
    def share(self) -> float:
        """The share of finds among the inspections, but among all earlier consignments of a name, which others may have too."""
        is_of_inspected = self.kind not in SIDES and self.inspected >= self.finds
        return self.finds / (self.inspected if is_of_inspected else self.arrivals)


class FactTables:
    """All facts of a spec, and what their sentences need; prepared when a model is loaded."""

    def __init__(self, spec: Spec, context: ReasonContext) -> None:
        self._texts, self._context = load_text_table(), context
        self.sentences = {feature.name: Sentence(feature, context) for feature in spec}
        self.templates = {name: sentence.template for name, sentence in self.sentences.items()}
        own = self.templates
        self._told_by = {name: each.told_by if each.told_by in own else name for name, each in own.items()}
        self._if_lacking = {name: float(name.endswith("missing")) for name, each in own.items() if each.lacks}
        self._finds = {each.name for each in spec if each.theme == "finds" and "inspections" not in each.name}
        facts: dict[tuple[str, str], dict[str, int]] = {("missing", "missing"): {}}
        for at, feature in enumerate(spec):
            facts.setdefault((feature.theme, self._name_fact(feature.name)), {})[feature.name] = at
        self.facts = [Fact(code, theme, at, self._choose(code, at)) for (theme, code), at in facts.items()]

    def list_companions(self) -> Ints:
        """List, for each feature, the column that is missing if the detail that it reads is not given; -1 if there is none."""
        places = {name: at for at, name in enumerate(self.templates)}
        found = np.arange(len(places))
        for name, at in places.items():
            key, _, reading = name.rpartition(".")
            if name.startswith(RULES.never_absent) or key.endswith("_side"):
                found[at] = -1
            elif reading in RULES.of_known_keys:
                found[at] = places.get(f"{key}.new", -1)
        return found

    def _name_fact(self, name: str) -> str:
        """Return the code of the fact of a feature; the keys of a party share theirs."""
        if not name.startswith("history."):
            return self.templates[name].fact or name.replace(".", "_")
        kind, _, reading = name.removeprefix("history.").rpartition(".")
        meaning = MEANINGS.get(reading, "finds")
        if meaning == "finds" and (kind in OF_PARTIES or kind.endswith("_side")):
            return "party_finds"
        side = KINDS[kind].side if kind in KINDS else None
        return f"{side or ('pair' if kind in PAIRS else kind.replace('+', '_'))}_{meaning}"

    def _choose(self, code: str, names: Iterable[str]) -> Describe:
        own: dict[str, Describe] = {
            "missing": self._describe_missing,
            "party_finds": self._describe_party_finds,
            **dict.fromkeys(("wording", "value_for_product", "weight_for_product"), self._describe_pieces),
        }
        if code in own or not next(iter(names)).startswith("history."):
            return own.get(code, self._describe_plain)
        return {
            "finds": self._describe_finds,
            "activity": self._describe_activity,
            "counterparts": self._describe_counterparts,
        }[code.rpartition("_")[2]]

    def _describe_plain(self, view: RowView, names: Sequence[str]) -> Statement | None:
        """Describe the strongest feature that stands out; of what lowers, the strongest that has a value and tells of no find."""
        first = None
        leading = (name for name in names if self.templates[name].leads and view.values[name] >= 1)
        for name in dict.fromkeys((*leading, *(self._told_by[each] for each in names))):
            if not view.may_be_said(name) if view.raises else self._tells_of_find(view, name):
                continue
            found = view.describe(name)
            if found.notable:
                return found
            if first is None and not math.isnan(view.values[name]):
                first = found
        return None if view.raises else first

    def _tells_of_find(self, view: RowView, name: str) -> bool:
        """Check if a feature tells of a detection or an alert, of a share only if it is above the usual one: it explains no lower score."""
        usual = view.find_usual(name)
        least = -1.0 if self.sentences[name].unit == "days" else usual.middle if usual else 0.0
        return name in self._finds and view.values[name] > least

    def _describe_pieces(self, view: RowView, names: Sequence[str]) -> Statement | None:
        """Describe what a counted piece weighs and is worth if that is too little, in place of weight and value; else the feature."""
        if view.raises and "amounts" in view.told:
            return None
        return (view.describe_amounts() if view.raises else None) or self._describe_plain(view, names)

    def _describe_activity(self, view: RowView, names: Sequence[str]) -> Statement | None:
        """Describe how new or how busy the key is that weighs most."""
        key, kind = _find_key(names)
        if view.get(f"{key}.new") == 1:
            if kind == "route" and view.get("route.transit_countries") >= 1:
                return view.describe_feature("route.transit_countries")
            is_link = kind in PAIRS or kind == "figures"
            is_known = kind in SIDE_OF and view.get(f"history.{SIDE_OF[kind]}_network.arrivals_ever") > 0
            hidden = view.raises and (is_link or is_known)
            found = None if hidden else view.describe_feature(f"{key}.new")
            return found and found._replace(rank="context")
        if view.raises and kind in OF_PARTIES:
            return self._describe_busy_party(view, kind)
        found = view.describe_feature(f"{key}.arrivals_30d") or self._describe_plain(view, names)
        if found is None or not view.raises:
            return found
        if kind == "figures":
            return found._replace(notable=view.get(f"{key}.arrivals_30d") >= RULES.min_repeats)
        return found._replace(notable=False)

    def _describe_busy_party(self, view: RowView, kind: str) -> Statement | None:
        """Describe once for each side how many consignments came, by its key that has most; those of one pair as such."""
        sides = {SIDE_OF[kind]} if kind in SIDE_OF else set(SIDES)
        if sides & view.counted.keys():
            return None
        if kind in SIDE_OF:
            own = [each for each, side in SIDE_OF.items() if {side} == sides and each not in NETWORKS]
            if view.get(f"parties.{SIDE_OF[kind]}_business") != 1:
                own = [each for each in own if each not in SIDES and view.count_month(each)] or own
            most = max(own, key=view.count_month)
            if kind in NETWORKS and view.count_month(kind) <= view.count_month(most):
                return None
            kind = kind if kind in NETWORKS else most
            pair = max(PAIRS, key=view.count_month)
            if view.count_month(pair) >= max(view.count_month(kind), RULES.min_repeats):
                kind, sides = pair, set(SIDES)
        found = self._describe_count(view, kind)
        if not found or not found.notable or found.value in view.counted.values():
            return None
        view.counted.update(dict.fromkeys(sides, found.value))
        return found

    def _describe_count(self, view: RowView, kind: str) -> Statement | None:
        """Describe the consignments of a key of parties in 7 or 30 days."""
        month, week = (view.describe_feature(f"history.{kind}.arrivals_{days}d") for days in (30, 7))
        firms = {side for side in SIDES if view.get(f"parties.{side}_business") == 1}
        if month is None or week is None or kind in PAIRS:
            return month and month._replace(notable=view.count_month(kind) >= RULES.min_repeats + bool(firms))
        side = SIDE_OF[kind]
        is_shown = week.notable and view.get(f"history.{kind}.arrivals_7d") >= RULES.busy_week
        found, is_network = week if is_shown else month, kind in NETWORKS
        least = RULES.min_busy_firm if side in firms else RULES.min_busy
        is_busy = found.notable and view.count_month(kind) >= least
        is_of_others = view.is_common_name(kind) or (is_network and not view.list_ties(side))
        is_new = is_busy and not is_of_others and not view.has_counted(kind)
        rank: Rank = "link" if is_network and view.get(f"history.{side}.new") == 1 else "count"
        return found._replace(notable=is_new, rank="last" if side in firms else rank)

    def _describe_counterparts(self, view: RowView, names: Sequence[str]) -> Statement | None:
        """Describe with how many others a key came, or that a new name uses a known key."""
        key, name = _find_key(names)
        found, number, kind = view.describe(names[0]), view.values[names[0]], KINDS.get(name)
        least = RULES.min_repeats if name in PAIRS else 0
        if number <= least or (view.raises and name in NETWORKS):
            return None
        if kind is None or kind.side is None or kind.counterpart != kind.side:
            return found._replace(rank="context")
        earlier = view.get(f"{key}.arrivals_ever")
        if view.get(f"history.{kind.side}.new") != 1 or not earlier > 0:
            return found._replace(notable=found.notable and number > 1, rank="link")
        words = self._texts.party[kind.side] | self._texts.key[name] | {"count": format_number(earlier)}
        if view.counted.get(kind.side) == view.get(f"history.{kind.side}_network.arrivals_30d"):
            return None
        is_known = key in view.told or kind.side in view.counted
        view.counted.setdefault(kind.side, earlier)
        phrase = "renamed_again" if is_known else "renamed_once" if earlier == 1 else "renamed"
        return Statement(self._texts.say(phrase, **words), earlier, None, True, "link")

    def _describe_party_finds(self, view: RowView, names: Sequence[str]) -> Statement | None:
        """Describe the gravest detection of a key of the parties, by the key that had the largest share."""
        if not view.raises:
            return self._describe_plain(view, names)
        read = (_read_finds(view, kind, target) for target in TARGETS for kind in OF_PARTIES)
        ranked = [(self._rank_finds(view, each), each) for each in read if each]
        if ranked:
            (place, *_), strongest = max(ranked, key=itemgetter(0))
            kind = strongest.kind
            view.told.add(f"history.{kind}")
            days = view.get(f"history.{kind}.days_since_find")
            is_old = days > RULES.old_find_days and not view.count_month(kind)
            is_person = kind in SIDES and view.get(f"parties.{kind}_business") != 1
            found = self._describe_finds_of_party(view, strongest)
            if not place:
                return found._replace(rank="context" if is_person else "last")
            is_plain = place < FIRST or is_old or strongest.target == OTHER
            return found if is_plain else found._replace(rank="find")
        for name in names:
            if view.values[name] > 0 and name.endswith("_a_consignment"):
                return view.describe(name)._replace(notable=True, rank="find")
        return None

    def _rank_finds(self, view: RowView, found: KeyFinds) -> tuple[int, int, float]:
        """Return what orders detections of a key of a party."""
        usual = view.find_usual(f"history.{found.kind}.{found.target}_rate")
        is_many = found.finds / found.arrivals >= RULES.min_share_of_finds
        is_rare = usual is None or found.share >= RULES.min_rate_ratio * usual.middle
        is_own = is_rare and not view.doubt_find(found.kind, found.target)
        place = (FIRST if is_many else 1) if is_own else 0
        return place, -TARGETS.index(found.target), found.finds / (found.arrivals + ADDED_ARRIVALS)

    def _describe_finds_of_party(self, view: RowView, found: KeyFinds) -> Statement:
        """Describe the detections of a key of a party, compared with inspections if it is known how many there were."""
        kind, target, finds, inspected, arrivals = found
        key, days = f"history.{kind}", view.get(f"history.{kind}.days_since_find")
        usual = view.find_usual(f"{key}.{target}_rate") if inspected >= finds and arrivals > 1 else None
        phrase = "found_once" if arrivals == 1 else "found"
        if finds <= inspected < arrivals:
            phrase = "found_at_once" if inspected == 1 else "found_of_inspected"
        numbers = {"finds": finds, "among": arrivals, "inspected": inspected}
        text = self._say_finds(view, phrase, target, kind, **numbers)
        if finds == view.get(f"{key}.any_offence_ever") and days >= 0:
            when = self._texts.say("ago" if days >= 1 else "same_day", days=format_count(days, "day"))
            text += self._texts.say("one_find" if finds == 1 else "last_find", when=when)
        text += view.doubt_find(kind, target)
        text += self._say_usual_rate(usual) if usual else ""
        is_notable = not usual or found.share > usual.middle
        return Statement(text, finds, usual and usual.middle, is_notable)

    def _say_finds(self, view: RowView, phrase: str, target: str, kind: str, **numbers: float) -> str:
        drugs = sum(view.get(f"history.{kind}.{name}_ever") for name in TARGETS[:2])
        what = "other_offence" if target == OTHER and drugs == 0 else target
        words = {"What": self._texts.target[what], **self._texts.describe_key(kind)}
        words |= {name: format_number(value) for name, value in numbers.items()}
        return view.fill(self._texts.say(phrase, **words))

    def _say_usual_rate(self, usual: Usual) -> str:
        """Return the words for a usual share of finds, as one in a whole number."""
        share = 1 / round(1 / usual.middle) if usual.middle > 0 else 0.0
        return self._texts.say("usual", like="", usual=format_rate(share))

    def _describe_finds(self, view: RowView, names: Sequence[str]) -> Statement | None:
        """Describe the detections of a product, a route or another key of many parties, if they are more than usual."""
        if not view.raises:
            return self._describe_plain(view, names)
        key, kind = _find_key(names)
        for target in TARGETS if kind != "declarant" else ():
            finds, inspections = view.get(f"{key}.{target}_ever"), view.get(f"{key}.inspections_ever")
            usual = view.find_usual(f"{key}.{target}_rate")
            if usual is None or inspections < RULES.min_inspections or not 1 < finds <= inspections:
                continue
            if view.get(f"{key}.{target}_rate") >= RULES.min_rate_ratio * usual.middle:
                numbers = {"finds": finds, "among": inspections}
                text = self._say_finds(view, "found_inspected", target, kind, **numbers)
                text += self._say_usual_rate(usual)
                share = float(f"{finds / inspections:.4g}")
                return Statement(text, share, usual.middle, True, "" if kind in OF_GOODS else "context")
        return None

    def _describe_missing(self, view: RowView, _names: Sequence[str]) -> Statement | None:
        """List once which details are missing, if fewer than one in ten alike lack one of them."""
        usual, values = {name: view.find_usual(name) for name in self._list_lacking(view)}, self._if_lacking
        rare = [name for name, each in usual.items() if not each or values[name] not in (each.low, each.high)]
        if not rare:
            return None
        found = self._name_missing((*rare, *usual), rare)
        if compared := next(filter(None, map(usual.get, rare)), None):
            like = self._context.name_like(compared)
            found = found._replace(text=found.text + self._texts.say("rarely_lacking", like=like))
        return found

    def describe_gap(self, view: RowView) -> Statement | None:
        """List what is missing if it is the description of the goods or a whole party, however usual that is."""
        lacking, parts = self._list_lacking(view), RULES.joined["whole_party"]
        parties = ({f"parties.{side}_{part}_missing" for part in parts} for side in SIDES)
        is_gap = "goods.described" in lacking or any(party <= set(lacking) for party in parties)
        return self._name_missing(lacking, ()) if is_gap else None

    def _list_lacking(self, view: RowView) -> list[str]:
        return [name for name, value in self._if_lacking.items() if view.values[name] == value]

    def _name_missing(self, names: Iterable[str], also: Collection[str]) -> Statement:
        """Name details that are missing, in one phrase if they are a whole party; minor ones only if they are also to be named."""
        wanted = [name for name in names if name in also or not name.endswith(RULES.minor_details)]
        named = {name: self.templates[name].lacks for name in wanted}
        for side in SIDES:
            for phrase, parts in RULES.joined.items():
                needed = [f"parties.{side}_{part}_missing" for part in parts]
                if named.keys() >= set(needed):
                    for part in (*parts, "city", "postcode"):
                        named.pop(f"parties.{side}_{part}_missing", None)
                    named[needed[0]] = self._texts.say(phrase, side=side)
        major = [name for name in named if not name.endswith(RULES.minor_details)]
        shown = major if len(major) >= RULES.min_major_details else list(named)
        shown.sort(key=lambda name: name.startswith("parties."))
        text = self._texts.say("not_given", details=join_words([named[name] for name in shown]))
        return Statement(text, float(len(shown)), None, True, "last")


def _read_finds(view: RowView, kind: str, target: str) -> KeyFinds | None:
    """Read what was found with a key; None if nothing was."""
    finds = view.get(f"history.{kind}.{target}_ever")
    if not finds > 0:
        return None
    inspected, arrivals = (view.get(f"history.{kind}.{name}_ever") for name in ("inspections", "arrivals"))
    return KeyFinds(kind, target, finds, inspected, arrivals) if finds <= arrivals else None


def _find_key(names: Sequence[str]) -> tuple[str, str]:
    """Return the part of the name of the strongest feature before its reading, and the kind of its key."""
    key = names[0].rpartition(".")[0]
    return key, key.removeprefix("history.")
