"""History from its definition, in plain Python: lists of events, sorted and counted. Slow, obvious, and no kernel's child.

It reads the same worlds as the product (rows of arrivals and outcomes) and knows nothing of tiles, tables or steps.
"""

from collections import Counter
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from features.history.readings import READINGS

US_PER_DAY = 86_400_000_000
REMEMBERED_DAYS = 366
FINDS = {"nps", "controlled_drug", "other_offence"}
FINAL = FINDS | {"clear"}
EVERYBODY = ("everybody", 0)
MOST_ARRIVALS = 50
"""A key of more arrivals joins no network."""
LARGEST_NETWORK = 1000
NAMES = tuple(reading.name for reading in READINGS)
TARGETS = ({"nps"}, {"controlled_drug"}, FINDS)


@dataclass(frozen=True)
class Arrival:
    name: str
    received_us: int
    keys: tuple[int, ...]
    counterparts: tuple[int, ...]
    sequence: int | None = None
    cancelled_us: int | None = None
    cancelled_sequence: int | None = None
    issued_us: int | None = None


@dataclass(frozen=True)
class Outcome:
    name: str
    known_us: int | None
    result: str | None
    recorded_us: int | None = None
    sequence: int | None = None
    opened_us: int = 0

    @property
    def visible_us(self) -> int:
        known = self.opened_us if self.known_us is None else self.known_us
        return max(known, known if self.recorded_us is None else self.recorded_us)

    @property
    def rank(self) -> tuple[Any, ...]:
        """The last by (known, recorded, sequence) stands; what is missing comes before everything."""
        parts = (self.known_us, self.recorded_us, self.sequence)
        classes = ["nps", "controlled_drug", "other_offence", "clear"]
        last = classes.index(self.result) if self.result in FINAL else -1
        return (*((part is not None, part or 0) for part in parts), last)


@dataclass(frozen=True)
class Cancelled:
    name: str


Event = Arrival | Outcome | Cancelled


def in_order(arrivals: list[Arrival], outcomes: list[Outcome], as_of_us: int | None = None) -> list[Event]:
    """Sort events as INTERFACES orders them."""
    last = as_of_us if as_of_us is not None else 10**18
    shown = [outcome for outcome in outcomes if outcome.visible_us <= last]
    dropped = [a for a in arrivals if a.cancelled_us is not None and a.cancelled_us <= last]
    if all(event.sequence is not None for event in [*arrivals, *shown]):
        return _in_sequence(arrivals, shown, dropped)
    events: list[tuple[Any, ...]] = [(o.visible_us, 0, o.name, 0, o.rank, o) for o in shown]
    events += [(a.received_us, 1, a.name, 0, (), a) for a in arrivals]
    # Among the results of its instant or, if it was cancelled before it came, just after it came.
    for each in dropped:
        when, never = max(each.cancelled_us, each.received_us), int(each.cancelled_us <= each.received_us)
        events.append((when, never, each.name, 1, (), Cancelled(each.name)))
    return [event[-1] for event in sorted(events, key=lambda event: event[:-1])]


def _in_sequence(arrivals: list[Arrival], outcomes: list[Outcome], dropped: list[Arrival]) -> list[Event]:
    logged = [arrival for arrival in dropped if arrival.cancelled_sequence is not None]
    line: list[tuple[Any, Any, Any]] = [(o.sequence, o.visible_us, o) for o in outcomes]
    line += [(a.sequence, a.received_us, a) for a in arrivals]
    line += [(a.cancelled_sequence, a.cancelled_us, Cancelled(a.name)) for a in logged]
    result: list[Event] = []
    ends = set(dropped) - set(logged)
    waiting: list[tuple[int, int, Arrival]] = []
    clock = -(10**18)
    for _, moment_us, event in sorted(line, key=lambda each: (each[0], each[-1].name)):
        clock = max(clock, moment_us)
        due: list[str] = []
        while waiting and waiting[0][0] <= clock:
            due.append(heappop(waiting)[-1].name)
        result += [Cancelled(name) for name in sorted(due)]
        result.append(event)
        if event in ends:
            heappush(waiting, (event.cancelled_us, len(result), event))
    return result + [Cancelled(name) for name in sorted(arrival.name for *_, arrival in waiting)]


EventName = tuple[str, int, int, str]
"""Consignment, number of its version, day, and "arrival" or the result: what can be taken out again."""
Events = dict[EventName, tuple[int, str]]


@dataclass
class Known:
    """What is known of one consignment."""

    arrival: Arrival | None = None
    version: int = 0
    cancelled: bool = False
    outcomes: list[Outcome] = field(default_factory=list)
    days: list[int] = field(default_factory=list)


class Network:
    """The parties that share keys one after the other: what is counted of them by day, and into which network it was merged."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[int, str]] = Counter()
        self.members = 0
        self.into: Network | None = None

    @property
    def events(self) -> "Events":
        return {("", number, *event): event for number, event in enumerate(self.counts.elements())}

    @property
    def counterparts(self) -> set[int]:
        return set(range(self.members))

    def count(self, *finds: str) -> int:
        return sum(count for (_, what), count in self.counts.items() if what in finds)

    @property
    def rank(self) -> tuple[int, ...]:
        return tuple(self.count(what) for what in ("nps", "controlled_drug", "other_offence", "arrival"))


@dataclass
class Life:
    """One key from its first event on: what stands of it."""

    events: Events = field(default_factory=dict)
    """-> (day, "arrival" or the result)."""
    counterparts: set[int] = field(default_factory=set)
    network: Network | None = None


class PlainHistory:
    """Fold events one by one; each kind of key has a side, and may join the network of a side."""

    def __init__(self, sides: tuple[str | None, ...], joins: tuple[str | None, ...]) -> None:
        self.sides, self.joins = sides, joins
        self.lives: dict[tuple[Any, int], Life] = {}
        self.consignments: dict[str, Known] = {}
        self.today = -(10**9)
        self.versions = 0
        self.read: list[tuple[Arrival, list[float]]] = []

    def fold(self, events: Iterable[Event]) -> list[tuple[Arrival, list[float]]]:
        for event in events:
            if isinstance(event, Arrival):
                self.arrive(event)
            elif isinstance(event, Outcome):
                self.conclude(event)
            else:
                self.cancel(event)
        return self.read

    def arrive(self, arrival: Arrival) -> None:
        day = arrival.received_us // US_PER_DAY
        self.today = max(self.today, day)
        known = self.known(arrival.name)
        before = deepcopy(self.lives) if is_late(arrival, known) else None
        self.take_out(self.standing(known), known)
        self.read.append((arrival, self.readings(arrival, day)))
        if before is not None:
            self.lives = before
            return
        self.versions += 1
        known.arrival, known.version, known.cancelled = arrival, self.versions, False
        known.days.append(day)
        self.put_in(self.standing(known), known)
        if day >= self.today - REMEMBERED_DAYS:
            for kind, (key, counterpart) in enumerate(zip(arrival.keys, arrival.counterparts, strict=True)):
                if key and counterpart:
                    self.life((kind, key)).counterparts.add(counterpart)

    def conclude(self, outcome: Outcome) -> None:
        day = outcome.visible_us // US_PER_DAY
        self.today = max(self.today, day)
        known = self.known(outcome.name)
        known.days.append(day)
        before = self.standing(known)
        known.outcomes.append(outcome)
        self.change(before, known)

    def cancel(self, event: Cancelled) -> None:
        known = self.known(event.name)
        before = self.standing(known)
        known.cancelled = known.arrival is not None
        self.change(before, known)

    def known(self, name: str) -> Known:
        known = self.consignments.get(name)
        if known is None or max(known.days, default=-(10**9)) < self.today - REMEMBERED_DAYS:
            known = self.consignments[name] = Known()
        return known

    def standing(self, known: Known) -> Events:
        """What a consignment contributes to the lives of its keys."""
        if known.arrival is None or known.cancelled:
            return {}
        name = known.arrival.name
        arrived = (known.arrival.received_us // US_PER_DAY, "arrival")
        events: Events = {(name, known.version, *arrived): arrived}
        if known.outcomes:
            last = max(known.outcomes, key=lambda outcome: outcome.rank)
            if last.result in FINAL:
                first_seen = min(o.visible_us for o in known.outcomes if o.rank == last.rank)
                concluded = (first_seen // US_PER_DAY, str(last.result))
                events[name, known.version, *concluded] = concluded
        return events

    def change(self, before: Events, known: Known) -> None:
        after = self.standing(known)
        assert known.arrival is not None or before == after
        self.take_out({what: event for what, event in before.items() if after.get(what) != event}, known)
        self.put_in({what: event for what, event in after.items() if before.get(what) != event}, known)

    def put_in(self, events: Events, known: Known) -> None:
        for what, event in self.remembered(events, known):
            networks = self.networks_of(known)
            for key in self.keys_of(known, what):
                self.life(key).events[what] = event
            if what[-1] == "arrival":
                for side in ("sender", "consignee"):
                    self.join(self.joining(known.arrival, side), event)
            else:
                for network in networks:
                    network.counts[event] += 1

    def take_out(self, events: Events, known: Known) -> None:
        for what, event in reversed(self.remembered(events, known)):
            for network in self.networks_of(known):
                network.counts[event] = max(network.counts[event] - 1, 0)
            for key in self.keys_of(known, what):
                assert self.life(key).events.pop(what) == event

    def remembered(self, events: Events, known: Known) -> list[tuple[EventName, tuple[int, str]]]:
        assert known.arrival is not None or not events
        return [(what, event) for what, event in events.items() if event[0] >= self.today - REMEMBERED_DAYS]

    def joining(self, arrival: Arrival | None, side: str) -> list[tuple[Any, int]]:
        """The keys of a consignment that join the network of a side, if few share them."""
        keys = () if arrival is None else arrival.keys
        return [each for each in enumerate(keys) if each[1] and self.joins[each[0] : each[0] + 1] == (side,)]

    def networks_of(self, known: Known) -> list[Network]:
        keys = [key for side in ("sender", "consignee") for key in self.joining(known.arrival, side)]
        return list(dict.fromkeys(network for key in keys if (network := self.network_of(key))))

    def shares_with_few(self, key: tuple[Any, int]) -> bool:
        life = self.lives.get(key, Life())
        arrivals = sum(what == "arrival" for _, what in life.events.values())
        return self.is_remembered(life) and arrivals <= MOST_ARRIVALS

    def network_of(self, key: tuple[Any, int]) -> Network | None:
        if not self.shares_with_few(key):
            return None
        network = self.lives[key].network
        while network is not None and self.is_remembered(network):
            if network.into is None:
                return network
            network = network.into
        return None

    def join(self, keys: list[tuple[Any, int]], event: tuple[int, str]) -> None:
        """Count an arrival in the networks of its keys of a side, which become one, and link its other keys to it."""
        keys = [key for key in keys if self.shares_with_few(key)]
        root = None
        for key in keys:
            root = merge(root, self.network_of(key))
        if not keys:
            return
        root = root or Network()
        root.counts[event] += 1
        counted = {root}
        for key in keys:
            network = self.network_of(key)
            if network is None:
                root.members = min(root.members + 1, 9)
            network = self.lives[key].network = network or root
            if network not in counted:
                network.counts[event] += 1
                counted.add(network)

    def keys_of(self, known: Known, what: EventName) -> list[tuple[Any, int]]:
        keys: list[tuple[Any, int]] = [(kind, key) for kind, key in enumerate(known.arrival.keys) if key]
        return keys if what[-1] == "arrival" else [*keys, EVERYBODY]

    def life(self, key: tuple[Any, int]) -> Life:
        """A key lives as long as a remembered day holds an event of it."""
        life = self.lives.get(key)
        if life is None or not self.is_remembered(life):
            life = self.lives[key] = Life()
        return life

    def is_remembered(self, life: "Life | Network") -> bool:
        oldest = self.today - REMEMBERED_DAYS
        return any(day >= oldest for day, _ in reversed(life.events.values()))

    def readings(self, arrival: Arrival, day: int) -> list[float]:
        common = self.shares(self.counted(self.life(EVERYBODY), day), (0.01, 0.01, 0.05), 100.0)
        values: list[float] = []
        for kind, key in enumerate(arrival.keys):
            if key:
                reading = self.reading(self.life((kind, key)), day, common)
                values += [reading[name] for name in NAMES]
            else:
                values += [float("nan")] * len(NAMES)
        for side in ("sender", "consignee"):
            joining = self.joining(arrival, side)
            networks = [network for key in joining if (network := self.network_of(key))]
            found = max(networks, key=lambda network: network.rank, default=Life())
            reading = self.reading(found, day, common)
            values += [reading[name] if joining else float("nan") for name in NAMES]
        for sides in ({"sender"}, {"consignee"}, {"sender", "consignee"}):
            mine = [place for place in enumerate(arrival.keys) if place[1] and self.sides[place[0]] in sides]
            lives = [[what for _, what in self.life(place).events.values()] for place in mine]
            for finds in TARGETS:
                values.append(max((share(events, finds) for events in lives), default=float("nan")))
        return values

    def counted(self, life: Life | Network, day: int) -> list[str]:
        """The results known in the last 365 days."""
        oldest = max(self.today - REMEMBERED_DAYS, day - 364)
        return [what for when, what in life.events.values() if what != "arrival" and when >= oldest]

    def shares(self, results: list[str], common: tuple[float, ...], strength: float) -> tuple[float, ...]:
        finds = [sum(result in target for result in results) for target in TARGETS]
        pairs = zip(finds, common, strict=True)
        return tuple((find + strength * share) / (len(results) + strength) for find, share in pairs)

    def reading(self, life: Life | Network, day: int, common: tuple[float, ...]) -> dict[str, float]:
        oldest = self.today - REMEMBERED_DAYS
        ever = list(life.events.values())
        remembered = [event for event in ever if event[0] >= oldest]
        arrivals = sorted((when for when, what in remembered if what == "arrival"), reverse=True)
        ages = [max(day - when, 0) for when in arrivals]
        arrivals_ever = [when for when, what in ever if what == "arrival"]
        finds = [when for when, what in remembered if what in FINDS]
        results = self.counted(life, day)
        results_ever = [what for _, what in ever if what != "arrival"]
        values: dict[str, float] = {
            "new": float(not arrivals_ever),
            "arrivals_ever": len(arrivals_ever),
            "days_since_first": since(min(arrivals_ever, default=None), day),
            "days_since_last": since(max(arrivals, default=None), day),
            "decayed_7d": decayed(ages, 0.9057236642639067),
            "decayed_30d": decayed(ages, 0.977159968434245),
            "counterparts": min(len(life.counterparts), 9),
            "inspections_365d": len(results),
            "inspections_ever": len(results_ever),
            "nps_365d": results.count("nps"),
            "nps_ever": results_ever.count("nps"),
            "controlled_drug_365d": results.count("controlled_drug"),
            "controlled_drug_ever": results_ever.count("controlled_drug"),
            "any_offence_365d": sum(what in FINDS for what in results),
            "any_offence_ever": sum(what in FINDS for what in results_ever),
            "days_since_find": since(max(finds, default=None), day),
        }
        for days in (1, 7, 30, 90, 365):
            values[f"arrivals_{days}d"] = sum(age < days for age in ages)
        known_days = min(max(day - min(arrivals_ever, default=day) + 1, 7), 90)
        usual_week = values["arrivals_90d"] * 7 / known_days
        values["velocity"] = (values["arrivals_7d"] + 1) / (usual_week + 1)
        shares = self.shares(results, common, 10.0)
        values |= zip(("nps_rate", "controlled_drug_rate", "any_offence_rate"), shares, strict=True)
        return values


def merge(root: Network | None, other: Network | None) -> Network | None:
    """Add the counts of the smaller of two networks to the larger one, unless they are too large together."""
    if root is None or other is None or root is other:
        return root or other
    small, large = sorted((other, root), key=lambda network: network.count("arrival"))
    if small.count("arrival") + large.count("arrival") <= LARGEST_NETWORK:
        large.counts.update(small.counts)
        large.members, small.into = min(large.members + small.members, 9), large
    return large


def is_late(arrival: Arrival, known: Known) -> bool:
    """A version issued before the one that counts is read, and changes nothing."""
    if known.arrival is None or None in (arrival.issued_us, known.arrival.issued_us):
        return False
    return (arrival.issued_us or 0) < (known.arrival.issued_us or 0)


def share(events: list[str], finds: set[str]) -> float:
    """Finds for each arrival, with five arrivals more."""
    return sum(what in finds for what in events) / (events.count("arrival") + 5)


def since(past: int | None, day: int) -> float:
    return float("nan") if past is None else max(day - past, 0)


def decayed(ages: list[int], daily: float) -> float:
    """Sum from the newest day to the oldest; the weight of a day is the daily decay, multiplied once for each day."""
    total = 0.0
    for age, count in sorted(Counter(ages).items()):
        weight = 1.0
        for _ in range(age):
            weight *= daily
        if age < 365:
            total += weight * count
    return total
