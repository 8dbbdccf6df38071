"""Networks of a simulated world: they send drugs, have habits, and change them after a seizure.

For example, after a seizure on 5 March with a lag of 9 days, a network changes cover, origin, service, size or names from 14
March on. Names change more easily than phones and addresses, so history can detect the latter.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from training.simulation.context import CalendarDay, SimulationContext
from training.simulation.legitimate_traffic import (
    MAX_PREMIUM_USD,
    NEGATIVE,
    POSITIVE,
    PREMIUM_SERVICES,
    LegitimateTraffic,
    ShipmentBuilder,
    ShipmentOrder,
)
from training.simulation.parameters import NetworkKind
from training.simulation.parties import FRONT, KIND, MAX_AGE_DAYS, Ids
from training.simulation.shipments import (
    CLEAR,
    CONCEALMENTS,
    CONTROLLED,
    HABIT,
    KG_PER_GRAM,
    NO_INDEX,
    NPS,
    PLAIN,
    SUBSTANCE,
    VAGUE,
    Draws,
    Numbers,
    Shipments,
    draw_flags,
    draw_indices,
)

SMUGGLER = "smuggler"
"""Kind of network that sends other drugs; the truth does not count it as a network."""
CONSOLIDATOR = "consolidator"
CHANGEABLE_HABITS = ("cover", "origin", "service", "split", "senders", "customers", "weight")
SPLIT_FACTOR, LIGHTER_FACTOR = 0.5, 0.6
"""Factors of the size of a split and of a lighter parcel (assumed)."""
DAYS_PER_WEEK = 7
COVER_KG = (0.05, 0.4)
"""Weight of goods and wrapping around a powder, in kilograms (assumed)."""
Flags = NDArray[np.bool_]
CONSOLIDATION_POSITIVE_SHARE = (0.1, 0.5)
"""Share of a consolidation that contains drugs [S: simulator_spec.yaml, consolidator]."""
MIN_NETWORKS = 5
"""Minimum number of networks of a kind; in a small world each sends less often (assumed)."""
MASTERS_PER_NETWORK = 1_000_000
HOUSE_INTERVAL_US = 1_000_000
USUAL_SERVICE_SHARE = 0.7
"""Share of parcels sent by the network's current service (assumed)."""
NEW_SUBSTANCE_SHARE = 0.5
"""Final share of the unknown substance in its family (assumed)."""
LOYALTY_EXPONENT = 4
"""The larger, the more of the regular parcels go to a network's first customers (assumed)."""
FIRST_FAMILY_SHARE = 0.6
"""Share of a network's parcels with its first family (assumed)."""


@dataclass
class Network:
    """A network and its current habits.

    Attributes
    ----------
    number : int
    kind : str
    habits : NetworkKind
    drops_per_day, drop : float
        Number of sending days a day, and mean parcels on each.
    origin : int
        Position in the world's countries.
    service : int
    cover : str
    wording : int
        Number of the network's own wording.
    families : list of str
    senders, customers : list of int
        Numbers of parties.
    size : float
        Factor of the usual quantity.
    changes : list of float
        Days of the pending changes.
    """

    number: int
    kind: str
    habits: NetworkKind
    drops_per_day: float
    drop: float
    origin: int = 0
    service: int = 0
    cover: str = ""
    wording: int = 0
    families: list[str] = field(default_factory=list)
    senders: list[int] = field(default_factory=list)
    customers: list[int] = field(default_factory=list)
    size: float = 1.0
    changes: list[float] = field(default_factory=list)


class Networks:
    """All networks of a world.

    Parameters
    ----------
    stage : SimulationContext
    traffic : LegitimateTraffic
        Its consignees also order, and its sellers' names are borrowed.
    draws : Generator
        For the networks that exist on the first day.
    """

    def __init__(self, stage: SimulationContext, traffic: LegitimateTraffic, draws: Draws) -> None:
        world, self._traffic = stage.world, traffic
        self._world, self._parties, self._catalogue = world, stage.parties, stage.catalogue
        self._substances = stage.substances
        self._packer = ShipmentBuilder(stage)
        self._service_names = list(world.services)
        shown = world.tells.split_same_day[POSITIVE]
        self._split = shown / (2.0 - shown)
        self._by_family = self._first_substances()
        self.networks: list[Network] = []
        for kind, habits in world.networks.items():
            share = stage.prevalence.controlled_drugs if kind == SMUGGLER else stage.prevalence.nps
            self._create_networks(draws, kind, habits, share * stage.per_day * habits.share)

    def get_kind(self, number: int) -> str | None:
        """Return the kind of a network; None for senders of other drugs and for no network."""
        kind = self.networks[number].kind if number != NO_INDEX else SMUGGLER
        return None if kind == SMUGGLER else kind

    def get_label(self, number: int) -> str | None:
        """Return the label of a network in the truth table, which is its kind."""
        return self.get_kind(number)

    def draw_day(self, draws_of: Callable[[int], Draws], day: CalendarDay) -> list[Shipments]:
        """Draw what the networks send on a day; one entry for each network that sends.

        Parameters
        ----------
        draws_of : callable
            Returns the random generator of a network by its number, so that networks do not influence each other.
            day : CalendarDay
        """
        sent = []
        for network in self.networks:
            draws = draws_of(network.number)
            self._apply_events(draws, network, day.since_start)
            self._update_habits(draws, network, day.since_start)
            parcels = self._draw_parcel_count(draws, network, day)
            if parcels:
                sent.append(self._send(draws, network, day, parcels))
        return sent

    def record_seizure(self, draws: Draws, number: int, since_start: int) -> None:
        """Record a seizure: with some probability the network changes its habits some days later."""
        adversary = self._world.adversary
        if draws.random() < adversary.p_change:
            self.networks[number].changes.append(since_start + draws.lognormal(*adversary.log_lag_days))

    def _first_substances(self) -> dict[str, list[int]]:
        later = {self._world.events.new_substance.name, self._world.events.class_control.substitute}
        families = dict.fromkeys(self._substances.families)
        return {
            family: [
                n for n in self._substances.list_family(family) if self._substances.names[n] not in later
            ]
            for family in families
        }

    def _create_networks(self, draws: Draws, kind: str, habits: NetworkKind, daily: float) -> None:
        """Create the networks of a kind, as many as its volume supports; `daily`: their mean positives a day in total."""
        drop = (
            min(habits.drop, max(1.3, 6.0 * daily / habits.share))
            if habits.drop > DAYS_PER_WEEK
            else habits.drop
        )
        feeds = daily * habits.repeat_days / (drop * (1 - habits.clean))
        count = int(np.clip(round(feeds), min(MIN_NETWORKS, habits.n), habits.n))
        for _ in range(count):
            split = 0.0 if kind == CONSOLIDATOR else self._split
            drops_per_day = daily / count / (drop * (1 + split) * (1 - habits.clean))
            network = Network(len(self.networks), kind, habits, drops_per_day, drop)
            network.families = self._families(draws, kind, habits.families)
            network.wording = 1 + int(draws.integers(0, 10_000))
            for lever in ("cover", "origin", "service"):
                self._change_habit(draws, network, lever, 0)
            identities = 1 + draws.poisson(self._world.trafficking.identities - 1)
            network.senders = [self._new_sender(draws, network, 0) for _ in range(identities)]
            self.networks.append(network)

    def _families(self, draws: Draws, kind: str, count: int) -> list[str]:
        wares = self._world.goods
        if kind == "khat_network":
            return ["plant_based"]
        held = wares.controlled_drugs if kind == SMUGGLER else wares.substances
        shares = {name: family.share for name, family in held.items() if name != "plant_based"}
        names = list(shares)
        return list(dict.fromkeys(names[place] for place in draw_indices(draws, shares, count)))

    def _apply_events(self, draws: Draws, network: Network, since_start: int) -> None:
        """Apply the trend events to a network: producers move, a cover is no longer used."""
        events, countries = self._world.events, self._parties.countries
        if since_start == events.origin_shift.day:
            places = {countries[place] for place in (network.origin, *self._parties.country[network.senders])}
            if any(self._origin_now(network, place, since_start) != place for place in places):
                origin = self._origin_now(network, countries[network.origin], since_start)
                self._change_origin(draws, network, origin, since_start)
        if since_start == events.cover_shift.day:
            network.cover = self._cover_now(network.cover, since_start)

    def _change_origin(self, draws: Draws, network: Network, origin: str, since_start: int) -> None:
        """Set the country from which a network sends, under other names."""
        network.origin = self._parties.countries.index(origin)
        network.senders = [self._new_sender(draws, network, since_start) for _ in network.senders]

    def _origin_now(self, network: Network, origin: str, since_start: int) -> str:
        """Return the origin, or the country to which the producers of the network's family have moved."""
        shift = self._world.events.origin_shift
        moved = since_start >= shift.day and shift.family in network.families and origin == shift.source
        return shift.to if moved else origin

    def _cover_now(self, cover: str, since_start: int) -> str:
        """Return the cover, or the one that replaced it."""
        shift = self._world.events.cover_shift
        return shift.to if since_start >= shift.day and cover == shift.source else cover

    def _update_habits(self, draws: Draws, network: Network, since_start: int) -> None:
        due = [day for day in network.changes if day <= since_start]
        network.changes = [day for day in network.changes if day > since_start]
        explores = draws.random() < self._world.adversary.exploration / DAYS_PER_WEEK
        pulls = 2 * len(due) + int(explores)
        for place in draws.integers(0, len(CHANGEABLE_HABITS), pulls):
            self._change_habit(draws, network, CHANGEABLE_HABITS[place], since_start)
        if draws.random() < self._world.adversary.rotation / DAYS_PER_WEEK:
            self._rename_sender(draws, network, since_start)

    def _rename_sender(self, draws: Draws, network: Network, since_start: int) -> None:
        """Replace one front name by another."""
        place, keep = int(draws.integers(0, len(network.senders))), self._world.adversary.keep_contact
        old = np.array([network.senders[place]])
        network.senders[place] = int(self._parties.rename(draws, old, since_start, keep)[0])

    def _change_habit(self, draws: Draws, network: Network, lever: str, since_start: int) -> None:
        """Change one habit of a network."""
        habits, keep = network.habits, self._world.adversary.keep_contact
        if lever == "cover":
            cover = list(habits.covers)[int(draw_indices(draws, habits.covers, 1)[0])]
            network.cover = self._cover_now(cover, since_start)
            network.wording = 1 + int(draws.integers(0, 10_000))
        elif lever == "origin":
            name = list(habits.origins)[int(draw_indices(draws, habits.origins, 1)[0])]
            self._change_origin(draws, network, self._origin_now(network, name, since_start), since_start)
        elif lever == "service":
            network.service = self._draw_service(draws, network)
        elif lever in ("split", "weight"):
            network.size *= SPLIT_FACTOR if lever == "split" else LIGHTER_FACTOR
            network.size = max(network.size, SPLIT_FACTOR**2)
        elif lever == "senders":
            renamed = self._parties.rename(draws, np.array(network.senders), since_start, keep)
            network.senders = renamed.tolist()
        elif network.customers:
            renamed = self._parties.rename(draws, np.array(network.customers), since_start, keep)
            network.customers = renamed.tolist()

    def _draw_service(self, draws: Draws, network: Network) -> int:
        services = network.habits.services
        if draws.random() < self._world.adversary.channel_shift and network.kind != CONSOLIDATOR:
            services = {name: held.share for name, held in self._world.services.items() if name != "general"}
        return self._service_names.index(list(services)[int(draw_indices(draws, services, 1)[0])])

    def _new_sender(self, draws: Draws, network: Network, since_start: int) -> int:
        """Create a front: a new account, or a bought one; sometimes with an honest sender's name."""
        trafficking = self._world.trafficking
        young = draws.random() < trafficking.young_account
        born = since_start - (0 if young and since_start else int(draws.integers(30, MAX_AGE_DAYS)))
        kind = np.array([KIND[network.habits.sender]])
        country = network.origin
        if draws.random() < trafficking.foreign_front:
            place = self._parties.countries[self._traffic.draw_country(draws)]
            country = self._parties.countries.index(self._origin_now(network, place, since_start))
        fresh = self._parties.add(draws, kind, np.array([country]), np.array([born]))
        if draws.random() < trafficking.borrowed_name:
            self._parties.copy_name(fresh, draws.choice(self._traffic.sellers, 1))
        if network.senders and draws.random() < trafficking.shared_contact:
            self._parties.copy_contacts(draws, fresh, draws.choice(network.senders, 1))
        return int(fresh[0])

    def _draw_parcel_count(self, draws: Draws, network: Network, day: CalendarDay) -> int:
        """Draw the number of parcels that a network sends on a day."""
        rate = network.drops_per_day * day.height
        if network.drop > DAYS_PER_WEEK:  # consolidations come one at a time
            if draws.random() >= rate:
                return 0
            return max(2, round(network.drop * draws.uniform(0.4, 1.6)))
        drops = draws.poisson(rate)
        return int(drops + draws.poisson(network.drop - 1, drops).sum())

    def _send(self, draws: Draws, network: Network, day: CalendarDay, parcels: int) -> Shipments:
        clean = network.habits.clean
        if network.kind == CONSOLIDATOR:
            clean = 1.0 - draws.uniform(*CONSOLIDATION_POSITIVE_SHARE)
        sender, consignee = self._draw_pairs(draws, network, day.since_start, parcels)
        parcels = len(sender)
        positive = draws.random(parcels) >= clean
        covers = self._draw_covers(draws, network, parcels, day.since_start)
        errand = self._build_order(draws, network, covers, sender, consignee)
        shipments = self._packer.build_shipments(draws, day.utc, errand, POSITIVE)
        _copy_rows(shipments, self._packer.build_shipments(draws, day.utc, errand, NEGATIVE), ~positive)
        shipments.network = np.full(parcels, network.number)
        self._set_wording(draws, network, shipments, covers, positive)
        shipments.hidden = np.array([CONCEALMENTS.index(self._world.goods.covers[c].hidden) for c in covers])
        self._add_substances(draws, network, shipments, positive, day.since_start)
        self._make_premium(draws, network, shipments, positive)
        if network.kind == CONSOLIDATOR:
            self._consolidate(network, shipments, day.since_start)
        return shipments

    def _consolidate(self, network: Network, shipments: Shipments, since_start: int) -> None:
        """Assign all parcels to one master waybill, announced together, house after house."""
        shipments.master = np.full(len(shipments), network.number * MASTERS_PER_NETWORK + since_start)
        first = shipments.received_us.min()
        shipments.received_us = first + np.arange(len(shipments)) * HOUSE_INTERVAL_US
        shipments.departure = np.full(len(shipments), network.origin)
        shipments.service = np.full(len(shipments), network.service)

    def _draw_pairs(self, draws: Draws, network: Network, since_start: int, parcels: int) -> tuple[Ids, Ids]:
        """Draw senders and consignees; split parcels have the same parties on one day."""
        trafficking = self._world.trafficking
        consignee = self._draw_customers(draws, network, since_start, parcels)
        senders = np.array(network.senders)
        usual = draw_flags(draws, trafficking.usual_sender, parcels)
        front = (self._parties.traits[consignee, FRONT] * len(senders)).astype(np.int64)
        sender = np.where(usual, senders[front], draws.choice(senders, parcels))
        renamed = draw_flags(draws, trafficking.shared_contact, parcels)
        if network.habits.sender == "private" and renamed.any():
            sender[renamed] = self._parties.rename(draws, sender[renamed], since_start, 1.0)
        through = draw_flags(draws, trafficking.through_sellers, parcels)
        sender[through] = self._traffic.draw_sellers(draws, int(through.sum()))
        if network.kind == CONSOLIDATOR:
            return sender, consignee
        times = 1 + draw_flags(draws, self._split, parcels)
        return np.repeat(sender, times), np.repeat(consignee, times)

    def _build_order(
        self, draws: Draws, network: Network, covers: list[str], sender: Ids, consignee: Ids
    ) -> ShipmentOrder:
        parcels = len(covers)
        ware = np.array([self._draw_goods(draws, cover) for cover in covers])
        other = np.array([self._draw_service(draws, network) for _ in range(parcels)])
        service = np.where(draw_flags(draws, USUAL_SERVICE_SHARE, parcels), network.service, other)
        return ShipmentOrder(
            sender, consignee, draws.choice(self._traffic.consignees, parcels), ware, service
        )

    def _draw_covers(self, draws: Draws, network: Network, parcels: int, since_start: int) -> list[str]:
        other = draw_flags(draws, self._world.trafficking.other_cover, parcels)
        names = [self._cover_now(name, since_start) for name in network.habits.covers]
        picks = draw_indices(draws, network.habits.covers, parcels)
        return [
            names[pick] if is_other else network.cover for pick, is_other in zip(picks, other, strict=True)
        ]

    def _draw_goods(self, draws: Draws, cover: str) -> int:
        wares = self._world.goods.covers[cover].wares
        return self._catalogue.number[wares[int(draws.integers(0, len(wares)))]]

    def _draw_customers(self, draws: Draws, network: Network, since_start: int, parcels: int) -> Ids:
        """Draw the consignees: old customers, the first of them most often, and new ones."""
        out = np.empty(parcels, dtype=np.int64)
        for at in range(parcels):
            if network.customers and draws.random() < network.habits.regulars:
                out[at] = network.customers[int(draws.random() ** LOYALTY_EXPONENT * len(network.customers))]
            else:
                out[at] = self._new_customer(draws, network, since_start)
                network.customers.append(int(out[at]))
        return out

    def _new_customer(self, draws: Draws, network: Network, since_start: int) -> int:
        trafficking = self._world.trafficking
        if network.habits.customers == "person" and draws.random() < trafficking.known_customers:
            return int(draws.choice(self._traffic.consignees))
        types = trafficking.customer_types
        special = np.cumsum(list(types.values()))
        place = int(np.searchsorted(special, draws.random()))
        kind = list(types)[place] if place < len(types) else network.habits.customers
        home = np.array([self._parties.countries.index(self._world.destination)])
        fresh = self._parties.add(draws, np.array([KIND[kind]]), home, np.array([since_start]))
        if network.customers and draws.random() < trafficking.shared_contact:
            self._parties.copy_contacts(draws, fresh, draws.choice(network.customers, 1))
        return int(fresh[0])

    def _set_wording(
        self, draws: Draws, network: Network, shipments: Shipments, covers: list[str], positive: Flags
    ) -> None:
        """Set the wording of the declarations: as the cover requires, and often in the network's own style."""
        cover = np.array(covers)
        habit = draw_flags(draws, self._world.trafficking.repeat_habit, len(positive))
        shipments.habit[habit] = network.wording
        shipments.wording[habit & (shipments.wording == PLAIN)] = HABIT
        shipments.wording[cover == "generic_vague"] = VAGUE
        shipments.wording[(cover == "true_name_or_code") & positive] = SUBSTANCE

    def _add_substances(
        self, draws: Draws, network: Network, shipments: Shipments, positive: Flags, since_start: int
    ) -> None:
        """Add the drugs to the shipments."""
        count = len(positive)
        grams = draws.lognormal(*network.habits.log_grams, count) * network.size
        heaviest = np.array([held.heaviest_kg for held in self._world.services.values()])[shipments.service]
        grams = np.minimum(grams, 0.9 * heaviest / KG_PER_GRAM)
        substance = self._draw_substances(draws, network, since_start, count)
        shipments.result = np.where(positive, CONTROLLED if network.kind == SMUGGLER else NPS, CLEAR)
        shipments.substance = np.where(positive, substance, NO_INDEX)
        shipments.grams = np.where(positive, grams, np.nan)
        powder = positive & (shipments.hidden != CONCEALMENTS.index("concealed_in_goods"))
        wrapping = draws.uniform(*COVER_KG, count)
        own = shipments.kg.copy()
        shipments.kg = np.where(
            powder, grams * KG_PER_GRAM + wrapping, own + np.where(positive, grams * KG_PER_GRAM, 0)
        )
        shipments.kg = np.minimum(shipments.kg, heaviest)
        shipments.usd = np.where(powder, shipments.usd * shipments.kg / own, shipments.usd)

    def _draw_substances(self, draws: Draws, network: Network, since_start: int, count: int) -> Numbers:
        first = draws.random(count) < FIRST_FAMILY_SHARE
        other = draws.integers(0, len(network.families), count)
        families = [network.families[0 if f else int(o)] for f, o in zip(first, other, strict=True)]
        return np.array(
            [
                self._substances.get_number(self.draw_substance(draws, family, since_start))
                for family in families
            ]
        )

    def draw_substance(self, draws: Draws, family: str, since_start: int) -> str:
        """Draw a substance of a family by the market of a day, including new substances and substitutes."""
        new, control = self._world.events.new_substance, self._world.events.class_control
        if family == new.family and draws.random() < NEW_SUBSTANCE_SHARE * _ramp(
            since_start - new.day, new.over
        ):
            return new.name
        lost = (1.0 - control.volume) * _ramp(since_start - control.day, control.over)
        if family == control.family and draws.random() < lost:
            return control.substitute
        return self._substances.names[int(draws.choice(self._by_family[family]))]

    def _make_premium(self, draws: Draws, network: Network, shipments: Shipments, positive: Flags) -> None:
        """Set a low value for some shipments by premium services, so that enough of all show both signs."""
        services = network.habits.services
        by_premium = sum(share for name, share in services.items() if name in PREMIUM_SERVICES)
        chance = self._world.tells.premium_for_low_value / max(by_premium, 1e-9)
        cheap = positive & np.isin(self._service_names, PREMIUM_SERVICES)[shipments.service]
        cheap &= draw_flags(draws, chance, len(shipments))
        shipments.usd[cheap] = draws.uniform(1.0, MAX_PREMIUM_USD, int(cheap.sum()))


def _ramp(days: int, over: int) -> float:
    return float(np.clip(days / over, 0.0, 1.0))


def _copy_rows(shipments: Shipments, others: Shipments, rows: Flags) -> None:
    """Copy some rows from other shipments."""
    for name, values in vars(shipments).items():
        values[rows] = getattr(others, name)[rows]
