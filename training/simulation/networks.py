"""Networks of a simulated world: they send drugs, have habits, and change them after a seizure.

For example, after a seizure on 5 March with a lag of 9 days, a network changes cover, origin, service, size or names from 14
March on. Names change more easily than phones and addresses, so history can detect the latter. In a hard world each network draws
once what it keeps for life (`kept`), so that no single key joins all of them; there new fronts are new parties.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from models.arrays import Bools, Ints
from training.simulation.context import SimulationContext
from training.simulation.legitimate_traffic import (
    NEGATIVE,
    POSITIVE,
    LegitimateTraffic,
    ShipmentBuilder,
    ShipmentOrder,
)
from training.simulation.parameters import Parameters
from training.simulation.parties import FRONT, KIND, NAME_COLUMNS, PLACE_COLUMNS
from training.simulation.shipments import (
    CONCEALMENTS,
    KG_PER_GRAM,
    NO_INDEX,
    CalendarDay,
    Contents,
    Draws,
    Shipments,
    Wording,
    draw_chance,
    draw_flags,
    draw_indices,
    draw_name,
)

SMUGGLER = "smuggler"  # kind of network that sends other drugs; the truth does not count it as a network
CONSOLIDATOR = "consolidator"
CHANGEABLE_HABITS = ("cover", "origin", "service", "split", "senders", "customers", "weight")
ALL_HABITS = ("cover", "origin", "service", "senders", "customers")
REACTIONS = {"everything": ALL_HABITS, "goods": ("cover", "weight"), "route": ("origin", "service")}
"""Habits that change in a reaction of a hard world; other reactions are one habit, or the spelling."""
DAYS_PER_WEEK, DAYS_PER_MONTH = 7, 30
MASTERS_PER_NETWORK = 1_000_000
HOUSE_INTERVAL_US = 1_000_000
FACTS_OF_NETWORK = ("result", "substance", "grams", "hidden", "network")
"""Facts of a consignment that stay when all signs are removed."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass
class Network:
    """A network and its current habits; what it keeps for life is empty except in hard worlds."""

    number: int
    kind: str
    habits: Parameters
    drops_per_day: float  # sending days a day
    drop: float  # mean parcels on each
    origin: int = 0
    service: int = 0
    cover: str = ""
    wording: int = 0  # the number of its own wording
    families: list[str] = field(default_factory=list)
    senders: list[int] = field(default_factory=list)
    customers: list[int] = field(default_factory=list)
    size: float = 1.0  # factor of the usual quantity
    changes: list[float] = field(default_factory=list)  # days of the pending changes
    silent_until: float = 0.0
    kept: set[str] = field(default_factory=set)  # identifiers kept through every change
    stem: str = ""  # of the phone numbers that it buys
    domain: str = ""
    building: int = 0
    unit: int = 0
    lasting_wording: int = 0
    figures: list[tuple[float, float]] = field(default_factory=list)  # pairs of kg and USD
    first_parties: dict[str, int] = field(default_factory=dict)  # by role, whose identifiers are kept
    waves: set[int] = field(default_factory=set)  # that have reached it


class Networks:
    """All networks of a world; honest consignees order from them too, and they borrow names of honest sellers."""

    def __init__(self, context: SimulationContext, traffic: LegitimateTraffic, draws: Draws) -> None:
        world = context.world
        self._world, self._traffic, self._parties = world, traffic, context.parties
        self._catalogue, self._substances = context.catalogue, context.substances
        self._habits, self._adversary, self._hard = world.trafficking, world.adversary, world.hard
        self._keeps = bool(world.hard.identifiers.kept)
        self._builder = ShipmentBuilder(context)
        self._services = list(world.services)
        self._usual_services = {name: one.share for name, one in world.services.items() if name != "general"}
        shown = world.tells.split_same_day[POSITIVE]
        self._split = shown / (2.0 - shown)
        later = {world.events.new_substance.name, world.events.class_control.substitute}
        held = list(zip(self._substances.names, self._substances.families, strict=True))
        self._by_family = {
            family: [n for n, (name, own) in enumerate(held) if own == family and name not in later]
            for family in self._substances.families
        }
        self.networks: list[Network] = []
        for kind, habits in world.networks.items():
            share = context.prevalence.controlled_drugs if kind == SMUGGLER else context.prevalence.nps
            self._create_networks(draws, kind, habits, share * context.per_day * habits.share)

    def get_label(self, number: int) -> str | None:
        """Return the label of a network in the truth table: its kind, and in a hard world its number, which never changes."""
        if number == NO_INDEX or self.networks[number].kind == SMUGGLER:
            return None
        return f"{self.networks[number].kind}-{number}" if self._keeps else self.networks[number].kind

    def draw_day(self, draws_of: Callable[[int], Draws], day: CalendarDay) -> list[Shipments]:
        """Draw what each network sends on a day, with a random generator of its own, so that networks do not influence each other."""
        sent = []
        for network in self.networks:
            draws = draws_of(network.number)
            self._apply_events(draws, network, day.since_start)
            self._update_habits(draws, network, day.since_start)
            parcels = self._draw_parcel_count(draws, network, day)
            if parcels and day.since_start >= network.silent_until:
                sent.append(self._send(draws, network, day, parcels))
        return sent

    def record_seizure(self, draws: Draws, number: int, since_start: int) -> None:
        """Record a seizure: with some probability the network changes its habits some days later."""
        if draws.random() < self._adversary.p_change:
            lag_days = draws.lognormal(*self._adversary.log_lag_days)
            self.networks[number].changes.append(since_start + lag_days)

    def draw_substance(self, draws: Draws, family: str, since_start: int) -> str:
        """Draw a substance of a family by the market of a day, including new substances and substitutes."""
        new, control = self._world.events.new_substance, self._world.events.class_control
        if family == new.family and draws.random() < new.share * _ramp(since_start - new.day, new.over):
            return str(new.name)
        lost = (1.0 - control.volume) * _ramp(since_start - control.day, control.over)
        if family == control.family and draws.random() < lost:
            return str(control.substitute)
        return self._substances.names[int(draws.choice(self._by_family[family]))]

    def _create_networks(self, draws: Draws, kind: str, habits: Parameters, daily: float) -> None:
        """Create the networks of a kind, as many as its volume supports; `daily`: their mean positives a day in total."""
        most = max(1.3, 6.0 * daily / habits.share)
        drop = min(habits.drop, most) if habits.drop > DAYS_PER_WEEK else habits.drop
        feeds = daily * habits.repeat_days / (drop * (1 - habits.clean))
        count = int(np.clip(round(feeds), min(self._habits.min_networks, habits.n), habits.n))
        split = 0.0 if kind == CONSOLIDATOR else self._split
        for _ in range(count):
            drops_per_day = daily / count / (drop * (1 + split) * (1 - habits.clean))
            network = Network(len(self.networks), kind, habits, drops_per_day, drop)
            network.families = self._draw_families(draws, kind, habits.families)
            network.wording = self._draw_wording(draws)
            if self._keeps:
                self._draw_identifiers(draws, network)
            self._change_habits(draws, network, ("cover", "origin", "service"), 0)
            identities = 1 + draws.poisson(self._habits.identities - 1)
            network.senders = [self._add_sender(draws, network, 0) for _ in range(identities)]
            self.networks.append(network)

    def _draw_wording(self, draws: Draws) -> int:
        return 1 + int(draws.integers(0, self._world.declarations.wordings))

    def _draw_families(self, draws: Draws, kind: str, count: int) -> list[str]:
        if kind == "khat_network":
            return ["plant_based"]
        held = self._world.goods.controlled_drugs if kind == SMUGGLER else self._world.goods.substances
        shares = {name: family.share for name, family in held.items() if name != "plant_based"}
        return list(dict.fromkeys(list(shares)[place] for place in draw_indices(draws, shares, count)))

    def _draw_identifiers(self, draws: Draws, network: Network) -> None:
        """Draw what a network of a hard world has for life, and what of it is kept."""
        identifiers, addresses = self._hard.identifiers, self._hard.addresses
        if draws.random() < identifiers.late:
            network.silent_until = float(draws.uniform(*identifiers.late_days))
        low, high = np.log([identifiers.figures_kg, identifiers.figures_usd]).T
        figures = np.exp(draws.uniform(low, high, (identifiers.figure_pairs, 2)))
        network.kept = self._draw_kept(draws, identifiers.kept)
        network.stem = str(draws.integers(10**5, 10**6))
        network.domain = f"{LETTERS[draws.integers(0, 26)]}{draws.integers(100, 9999)}shop.example"
        network.building = int(draws.integers(0, addresses.buildings))
        network.unit = 1 + int(draws.integers(0, addresses.units))
        network.lasting_wording = self._draw_wording(draws)
        network.figures = [(round(kg, 3), round(usd, 2)) for kg, usd in figures.tolist()]

    def _draw_kept(self, draws: Draws, chances: Parameters) -> set[str]:
        picks = draws.random(len(chances))
        traceable = draws.random() >= self._hard.identifiers.untraceable
        kept = zip(chances.items(), picks, strict=True)
        return {name for (name, chance), share in kept if traceable and share < chance}

    def _apply_events(self, draws: Draws, network: Network, since_start: int) -> None:
        """Apply the trend events to a network: producers move, a cover is no longer used, waves of changes come."""
        events, countries = self._world.events, self._parties.countries
        if since_start == events.origin_shift.day:
            places = {countries[place] for place in (network.origin, *self._parties.country[network.senders])}
            if any(self._move_origin(network, place, since_start) != place for place in places):
                self._change_origin(draws, network, countries[network.origin], since_start)
        network.cover = self._shift_cover(network.cover, since_start)
        for number, wave in enumerate(self._hard.waves):
            reaches = draw_chance(draws, wave.share / max(wave.over, 1))
            if wave.day <= since_start < wave.day + wave.over and reaches and number not in network.waves:
                network.waves.add(number)
                self._apply_wave(draws, network, wave, since_start)

    def _apply_wave(self, draws: Draws, network: Network, wave: Parameters, since_start: int) -> None:
        names = ("origins", "covers") if network.kind == CONSOLIDATOR else ("origins", "services", "covers")
        network.habits = Parameters(network.habits | {name: wave[name] for name in names if wave.get(name)})
        if network.kind != SMUGGLER:
            network.families = list(wave.get("families") or network.families)
        network.kept = self._draw_kept(draws, wave.kept) if wave.get("kept") else network.kept
        self._change_habits(draws, network, ALL_HABITS, since_start)

    def _change_origin(self, draws: Draws, network: Network, origin: str, since_start: int) -> None:
        """Set the country from which a network sends, under other names; in a hard world its fronts stay."""
        moved = self._move_origin(network, origin, since_start)
        network.origin = self._parties.countries.index(moved)
        if not self._keeps:
            network.senders = [self._add_sender(draws, network, since_start) for _ in network.senders]

    def _move_origin(self, network: Network, origin: str, since_start: int) -> str:
        """Return the origin, or the country to which the producers of the network's family have moved."""
        shift = self._world.events.origin_shift
        return _shift_name(shift, origin, since_start) if shift.family in network.families else origin

    def _shift_cover(self, cover: str, since_start: int) -> str:
        return _shift_name(self._world.events.cover_shift, cover, since_start)

    def _update_habits(self, draws: Draws, network: Network, since_start: int) -> None:
        """Apply the changes that are due, at random or after seizures, and in a hard world end and start again."""
        pending = [day for day in network.changes if day > since_start]
        due, network.changes = len(network.changes) - len(pending), pending
        identifiers = self._hard.identifiers
        if self._keeps:
            for place in draw_indices(draws, identifiers.changed, due):
                reaction = list(identifiers.changed)[place]
                if reaction == "spelling":
                    self._parties.respell(draws, network.senders + network.customers)
                else:
                    self._change_habits(draws, network, REACTIONS.get(reaction, (reaction,)), since_start)
        else:
            explores = draws.random() < self._adversary.exploration / DAYS_PER_WEEK
            pulls = draws.integers(0, len(CHANGEABLE_HABITS), 2 * due + int(explores))
            self._change_habits(draws, network, [CHANGEABLE_HABITS[place] for place in pulls], since_start)
        if draws.random() < self._adversary.rotation / DAYS_PER_WEEK:
            at = int(draws.integers(0, len(network.senders)))
            [network.senders[at]] = self._renew_senders(draws, network, [network.senders[at]], since_start)
        if draw_chance(draws, identifiers.reborn / DAYS_PER_MONTH):
            pause = float(draws.uniform(*identifiers.pause_days))
            network.silent_until = max(network.silent_until, since_start + pause)
            self._change_habits(draws, network, ALL_HABITS, since_start)

    def _change_habits(self, draws: Draws, network: Network, habits: Sequence[str], since_start: int) -> None:
        """Change habits of a network, one after the other, unless the network keeps them."""
        keeps_route = "route" in network.kept and bool(network.senders)
        for habit in habits:
            if habit == "cover":
                network.cover = self._shift_cover(draw_name(draws, network.habits.covers), since_start)
                network.wording = self._draw_wording(draws)
            elif habit == "senders" or (habit == "origin" and keeps_route):
                network.senders = self._renew_senders(draws, network, network.senders, since_start)
            elif habit == "origin":
                self._change_origin(draws, network, draw_name(draws, network.habits.origins), since_start)
            elif habit == "service":
                if not keeps_route:
                    network.service = self._draw_service(draws, network)
            elif habit in ("split", "weight"):
                split, lighter = self._adversary.split_factor, self._adversary.lighter_factor
                network.size = max(network.size * (split if habit == "split" else lighter), split**2)
            elif self._keeps:
                network.customers = []
            elif network.customers:
                network.customers = self._rename(draws, network.customers, since_start)
            if "wording" in network.kept:
                network.wording = network.lasting_wording

    def _renew_senders(self, draws: Draws, network: Network, old: list[int], since_start: int) -> list[int]:
        """Replace front names by others; in a hard world they are new parties, with what the network keeps."""
        if self._keeps:
            return [self._add_sender(draws, network, since_start) for _ in old]
        return self._rename(draws, old, since_start)

    def _rename(self, draws: Draws, old: list[int], since_start: int) -> list[int]:
        renamed = self._parties.rename(draws, np.array(old), since_start, self._adversary.keep_contact)
        return [int(party) for party in renamed]

    def _draw_service(self, draws: Draws, network: Network) -> int:
        shifts = draws.random() < self._adversary.channel_shift and network.kind != CONSOLIDATOR
        services = self._usual_services if shifts else network.habits.services
        return self._services.index(draw_name(draws, services))

    def _add_sender(self, draws: Draws, network: Network, since_start: int) -> int:
        """Create a front: a new account, or a bought one; sometimes with a name or contacts of another."""
        parties, habits = self._parties, self._habits
        young = draws.random() < habits.young_account
        max_age = self._world.entities.max_age_days
        born = since_start - (0 if young and since_start else int(draws.integers(30, max_age)))
        kind = np.array([KIND[network.habits.sender]])
        country = network.origin
        if draws.random() < habits.foreign_front:
            place = parties.countries[int(self._traffic.draw_countries(draws, 1)[0])]
            country = parties.countries.index(self._move_origin(network, place, since_start))
        fresh = parties.add(draws, kind, np.array([country]), np.array([born]))
        if draws.random() < habits.borrowed_name:
            parties.copy_columns(fresh, draws.choice(self._traffic.sellers, 1), NAME_COLUMNS)
        if network.senders and draws.random() < habits.shared_contact:
            parties.copy_contacts(draws, fresh, draws.choice(network.senders, 1))
        self._equip(draws, network, int(fresh[0]), "sender", network.origin, self._traffic.sellers)
        return int(fresh[0])

    def _equip(
        self, draws: Draws, network: Network, party: int, role: str, country: int, lenders: Ints
    ) -> None:
        """Assign a new party of a hard world the names that a network borrows, and the identifiers that it keeps."""
        parties, kept = self._parties, network.kept
        if draw_chance(draws, self._hard.borrowed[role]):
            parties.copy_columns(party, int(draws.choice(lenders)), NAME_COLUMNS + PLACE_COLUMNS)
        if role == "sender" and "email_domain" in kept:
            parties.move_to_domain(party, network.domain)
        if role == "customer" and kept & {"drop_address", "drop_building"}:
            unit = network.unit if "drop_address" in kept else 0
            parties.move_to_building(draws, party, network.building, unit)
        if f"{role}_phone_block" in kept:
            parties.move_to_block(draws, party, country, network.stem)
        first = network.first_parties.setdefault(role, party)
        for name, column in ((f"{role}_phone", "phone"), ("account", "account")):
            if name in kept:
                parties.copy_columns(party, first, (column,))

    def _draw_parcel_count(self, draws: Draws, network: Network, day: CalendarDay) -> int:
        """Draw the number of parcels that a network sends on a day."""
        rate = network.drops_per_day * day.height
        if network.drop > DAYS_PER_WEEK:  # consolidations come one at a time
            is_sent = draws.random() < rate
            return max(2, round(network.drop * draws.uniform(0.4, 1.6))) if is_sent else 0
        drops = draws.poisson(rate)
        return int(drops + draws.poisson(network.drop - 1, drops).sum())

    def _send(self, draws: Draws, network: Network, day: CalendarDay, parcels: int) -> Shipments:
        consolidates, shares = network.kind == CONSOLIDATOR, self._habits.consolidation_positive
        clean = 1.0 - draws.uniform(*shares) if consolidates else network.habits.clean
        sender, consignee = self._draw_pairs(draws, network, day.since_start, parcels)
        parcels = len(sender)
        positive = draws.random(parcels) >= clean
        covers = self._draw_covers(draws, network, parcels, day.since_start)
        order = self._build_order(draws, network, covers, sender, consignee)
        shipments = self._builder.build_shipments(draws, day.utc, order, POSITIVE)
        honest = self._builder.build_shipments(draws, day.utc, order, NEGATIVE)
        clear = np.flatnonzero(~positive)
        shipments.overwrite(clear, honest.select_rows(clear))
        shipments.network[:] = network.number
        self._set_wording(draws, network, shipments, covers, positive)
        shipments.hidden = np.array([CONCEALMENTS.index(self._world.goods.covers[c].hidden) for c in covers])
        self._add_substances(draws, network, shipments, positive, day.since_start)
        self._make_premium(draws, network, shipments, positive)
        if consolidates:
            self._consolidate(network, shipments, day.since_start)
        if "figures" in network.kept:
            self._set_figures(draws, network, shipments)
        if self._hard.unbetrayed and not consolidates:
            unbetrayed = draw_flags(draws, self._hard.unbetrayed, parcels)
            if unbetrayed.any():
                self._remove_signs(draws, shipments, day, np.flatnonzero(unbetrayed))
        return shipments

    def _consolidate(self, network: Network, shipments: Shipments, since_start: int) -> None:
        """Assign all parcels to one master waybill, announced together, house after house."""
        shipments.master[:] = network.number * MASTERS_PER_NETWORK + since_start
        shipments.received_us = shipments.received_us.min() + np.arange(len(shipments)) * HOUSE_INTERVAL_US
        shipments.departure[:], shipments.service[:] = network.origin, network.service

    def _set_figures(self, draws: Draws, network: Network, shipments: Shipments) -> None:
        """Set weight and value of some consignments to one of the network's pairs."""
        identifiers = self._hard.identifiers
        at = np.flatnonzero(draw_flags(draws, identifiers.figures_share, len(shipments)))
        kg, usd = np.array(network.figures)[draws.integers(0, identifiers.figure_pairs, len(at))].T
        shipments.kg[at] = kg * np.exp(draws.normal(0.0, identifiers.figures_jitter, len(at)))
        shipments.usd[at] = usd

    def _remove_signs(self, draws: Draws, shipments: Shipments, day: CalendarDay, at: Ints) -> None:
        """Replace all but the contents of some consignments by those of honest ones, without any sign."""
        parties, count, born = self._parties, len(at), np.full(len(at), day.since_start)
        places = np.concatenate([self._traffic.draw_countries(draws, 1) for _ in at])
        sender = parties.add(draws, np.full(count, KIND["private"]), places, born)
        consignee = parties.add(draws, np.full(count, KIND["person"]), np.full(count, parties.home), born)
        ware = self._catalogue.draw_wares(draws, count)
        numbers = np.array([self._services.index(name) for name in self._usual_services])
        service = numbers[draw_indices(draws, self._usual_services, count)]
        other = draws.choice(self._traffic.consignees, count)
        order = ShipmentOrder(sender, consignee, other, ware, service)
        plain = self._builder.build_shipments(draws, day.utc, order, NEGATIVE)
        needed = 1.2 * np.nan_to_num(shipments.grams[at]) * KG_PER_GRAM
        plain.kg = np.minimum(np.maximum(plain.kg, needed), self._catalogue.heaviest[service])
        shipments.overwrite(at, plain, keep=FACTS_OF_NETWORK)

    def _draw_pairs(
        self, draws: Draws, network: Network, since_start: int, parcels: int
    ) -> tuple[Ints, Ints]:
        """Draw senders and consignees; split parcels have the same parties on one day."""
        habits = self._habits
        consignee = self._draw_customers(draws, network, since_start, parcels)
        senders, usual = np.array(network.senders), draw_flags(draws, habits.usual_sender, parcels)
        front = (self._parties.traits[consignee, FRONT] * len(senders)).astype(np.int64)
        sender = np.where(usual, senders[front], draws.choice(senders, parcels))
        renamed = draw_flags(draws, habits.shared_contact, parcels)
        if network.habits.sender == "private" and renamed.any():
            sender[renamed] = self._parties.rename(draws, sender[renamed], since_start, 1.0)
        through = draw_flags(draws, habits.through_sellers, parcels)
        sender[through] = self._traffic.draw_sellers(draws, int(through.sum()))
        if network.kind == CONSOLIDATOR:
            return sender, consignee
        times = 1 + draw_flags(draws, self._split, parcels)
        return np.repeat(sender, times), np.repeat(consignee, times)

    def _build_order(
        self, draws: Draws, network: Network, covers: list[str], sender: Ints, consignee: Ints
    ) -> ShipmentOrder:
        parcels, choices = len(covers), [self._world.goods.covers[cover].wares for cover in covers]
        wares = [each[int(draws.integers(0, len(each)))] for each in choices]
        ware = np.array([self._catalogue.number[name] for name in wares])
        other = np.array([self._draw_service(draws, network) for _ in range(parcels)])
        service = np.where(draw_flags(draws, self._habits.usual_service, parcels), network.service, other)
        named = draws.choice(self._traffic.consignees, parcels)
        return ShipmentOrder(sender, consignee, named, ware, service)

    def _draw_covers(self, draws: Draws, network: Network, parcels: int, since_start: int) -> list[str]:
        other = draw_flags(draws, self._habits.other_cover, parcels)
        names = [self._shift_cover(name, since_start) for name in network.habits.covers]
        picks = draw_indices(draws, network.habits.covers, parcels)
        return [names[at] if is_other else network.cover for at, is_other in zip(picks, other, strict=True)]

    def _draw_customers(self, draws: Draws, network: Network, since_start: int, parcels: int) -> Ints:
        """Draw the consignees: old customers, the first of them most often, and new ones."""
        out, loyalty = np.empty(parcels, dtype=np.int64), self._habits.loyalty_exponent
        for at in range(parcels):
            if network.customers and draws.random() < network.habits.regulars:
                out[at] = network.customers[int(draws.random() ** loyalty * len(network.customers))]
            else:
                out[at] = self._add_customer(draws, network, since_start)
                network.customers.append(int(out[at]))
        return out

    def _add_customer(self, draws: Draws, network: Network, since_start: int) -> int:
        """Create a consignee, or take an honest one; sometimes with contacts or the name of another."""
        habits, parties = self._habits, self._parties
        if network.habits.customers == "person" and draws.random() < habits.known_customers:
            return int(draws.choice(self._traffic.consignees))
        place = int(np.searchsorted(np.cumsum(list(habits.customer_types.values())), draws.random()))
        kind = [*habits.customer_types, network.habits.customers][place]
        fresh = parties.add(draws, np.array([KIND[kind]]), np.array([parties.home]), np.array([since_start]))
        if network.customers and draws.random() < habits.shared_contact:
            parties.copy_contacts(draws, fresh, draws.choice(network.customers, 1))
        self._equip(draws, network, int(fresh[0]), "customer", parties.home, self._traffic.consignees)
        return int(fresh[0])

    def _set_wording(
        self, draws: Draws, network: Network, shipments: Shipments, covers: list[str], positive: Bools
    ) -> None:
        """Set the wording of the declarations: as the cover requires, and often in the network's own style."""
        cover = np.array(covers)
        habit = draw_flags(draws, self._habits.repeat_habit, len(positive))
        shipments.habit[habit] = network.wording
        shipments.wording[habit & (shipments.wording == Wording.PLAIN)] = Wording.HABIT
        shipments.wording[cover == "generic_vague"] = Wording.VAGUE
        shipments.wording[(cover == "true_name_or_code") & positive] = Wording.SUBSTANCE

    def _add_substances(
        self, draws: Draws, network: Network, shipments: Shipments, positive: Bools, since_start: int
    ) -> None:
        """Add the drugs to the shipments."""
        count, heaviest = len(positive), self._catalogue.heaviest[shipments.service]
        mean, spread = network.habits.log_grams
        grams = draws.lognormal(mean, spread, count) * network.size
        grams = np.minimum(grams, 0.9 * heaviest / KG_PER_GRAM)
        substance = self._draw_substances(draws, network, since_start, count)
        drug = Contents.CONTROLLED if network.kind == SMUGGLER else Contents.NPS
        shipments.result = np.where(positive, drug, Contents.CLEAR)
        shipments.substance = np.where(positive, substance, NO_INDEX)
        shipments.grams = np.where(positive, grams, np.nan)
        powder = positive & (shipments.hidden != CONCEALMENTS.index("concealed_in_goods"))
        lightest, thickest = self._habits.cover_kg
        wrapping = draws.uniform(lightest, thickest, count)
        own, kg = shipments.kg.copy(), grams * KG_PER_GRAM
        shipments.kg = np.where(powder, kg + wrapping, own + np.where(positive, kg, 0))
        shipments.kg = np.minimum(shipments.kg, heaviest)
        shipments.usd = np.where(powder, shipments.usd * shipments.kg / own, shipments.usd)

    def _draw_substances(self, draws: Draws, network: Network, since_start: int, count: int) -> Ints:
        first = draws.random(count) < self._habits.first_family
        other = draws.integers(0, len(network.families), count)
        families = [network.families[at] for at in np.where(first, 0, other)]
        names = [self.draw_substance(draws, family, since_start) for family in families]
        return np.array([self._substances.names.index(name) for name in names])

    def _make_premium(self, draws: Draws, network: Network, shipments: Shipments, positive: Bools) -> None:
        """Set a low value for some shipments by premium services, so that enough of all show both signs."""
        signs, services = self._world.tells, network.habits.services
        by_premium = sum(services[name] for name in services if name in signs.premium_services)
        chance = signs.premium_for_low_value / max(by_premium, 1e-9)
        cheap = positive & np.isin(self._services, signs.premium_services)[shipments.service]
        cheap &= draw_flags(draws, chance, len(shipments))
        shipments.usd[cheap] = draws.uniform(1.0, signs.max_premium_usd, int(cheap.sum()))


def _shift_name(shift: Parameters, name: str, since_start: int) -> str:
    return str(shift.to) if since_start >= shift.day and name == shift["from"] else name


def _ramp(days: int, over: int) -> float:
    return float(np.clip(days / over, 0.0, 1.0))
