"""Honest mail and cargo of a simulated world, including prohibited goods other than drugs."""

from typing import NamedTuple

import numpy as np

from models.arrays import Floats, Ints
from training.simulation.context import SimulationContext
from training.simulation.parties import KIND, SELLERS
from training.simulation.shipments import (
    CONCEALMENTS,
    NO_INDEX,
    CalendarDay,
    Contents,
    Draws,
    Shipments,
    Wording,
    draw_flags,
    draw_indices,
    draw_timestamps,
)
from training.simulation.spelling import draw_lasting

NEGATIVE, POSITIVE = 1, 0  # positions in a pair of probabilities of a sign
WORDING_WAY, WORDING_NUMBER_WAY, PRICE_WAY, WEIGHT_WAY = 61, 1061, 62, 63
"""Keys of the lasting random numbers of a sender, by what they decide."""


class ShipmentOrder(NamedTuple):
    """Sender, consignee, goods and service of shipments; `other` are parties whose name may replace the consignee's."""

    sender: Ints
    consignee: Ints
    other: Ints
    ware: Ints
    service: Ints


class ShipmentBuilder:
    """Builder of shipments from orders: weight, value, route, wording, and the signs of their side."""

    def __init__(self, context: SimulationContext) -> None:
        world, parties = context.world, context.parties
        self._parties, self._catalogue = parties, context.catalogue
        self._signs, self._manner = world.tells, world.declarations
        self._postal = np.array([held.channel == "postal" for held in world.services.values()])
        self._hubs = np.array([parties.countries.index(name) for name in world.tells.hubs])

    def build_shipments(self, draws: Draws, day: int, order: ShipmentOrder, side: int) -> Shipments:
        """Build the shipments of a UTC day, without prohibited contents; the side decides the probability of each sign."""
        sender, consignee, other, ware, service = order
        count, signs, catalogue = len(sender), self._signs, self._catalogue
        kg = catalogue.kg[ware] * np.exp(draws.normal(0.0, self._manner.weight_spread, count))
        kg = np.clip(kg, self._manner.min_kg, catalogue.heaviest[service])
        nothing = np.full(count, NO_INDEX)
        return Shipments(
            received_us=draw_timestamps(draws, day, count),
            service=service,
            departure=self._parties.country[sender].copy(),
            hub=np.where(
                draw_flags(draws, signs.detour[side], count), draws.choice(self._hubs, count), NO_INDEX
            ),
            sender=sender,
            consignee=consignee,
            named=np.where(draw_flags(draws, signs.name_mismatch[side], count), other, consignee),
            ware=ware,
            hs_ware=self._draw_hs_wares(draws, ware, signs.hs_mismatch[side]),
            wording=self._draw_wordings(draws, ware, signs.cues[side]),
            habit=np.zeros(count, dtype=np.int64),
            kg=kg,
            usd=self._draw_values(draws, ware, kg, signs.value_out_of_class[side]),
            gift=(draw_flags(draws, signs.gift[side], count) & self._postal[service]).astype(np.int64),
            crypto=draw_flags(draws, signs.crypto[side], count).astype(np.int64),
            master=nothing.copy(),
            result=np.full(count, Contents.CLEAR),
            substance=nothing.copy(),
            grams=np.full(count, np.nan),
            hidden=np.full(count, CONCEALMENTS.index("concealed_in_goods")),
            network=nothing.copy(),
        )

    def _draw_values(self, draws: Draws, ware: Ints, kg: Floats, out_of_class: float) -> Floats:
        spread = np.exp(draws.normal(0.0, self._manner.value_spread, len(ware)))
        usd: Floats = self._catalogue.usd_per_kg[ware] * kg * spread
        wrong = np.flatnonzero(draw_flags(draws, out_of_class, len(ware)))
        direction = draws.choice([-1.0, -1.0, 1.0], len(wrong))
        low, high = self._signs.out_of_class_log
        usd[wrong] *= np.exp(direction * draws.uniform(low, high, len(wrong)))
        return usd

    def _draw_hs_wares(self, draws: Draws, ware: Ints, chance: float) -> Ints:
        ordinary = draws.integers(0, int((~self._catalogue.hard).sum()), len(ware))
        return np.where(draw_flags(draws, chance, len(ware)), ordinary, ware)

    def _draw_wordings(self, draws: Draws, ware: Ints, cues: float) -> Ints:
        wording = np.full(len(ware), Wording.PLAIN)
        wording[self._catalogue.has_cues[ware] & draw_flags(draws, cues, len(ware))] = Wording.CUE
        draw = draws.random(len(ware))
        wording[draw < self._manner.vague + self._manner.admin] = Wording.ADMIN
        wording[draw < self._manner.vague] = Wording.VAGUE
        return wording


class LegitimateTraffic:
    """Honest consignments, with some prohibited goods among them; its senders and consignees join the parties of the world."""

    def __init__(self, context: SimulationContext, draws: Draws) -> None:
        world, per_day = context.world, context.per_day
        self._world, self._parties, self._catalogue = world, context.parties, context.catalogue
        names = context.substances.names
        self._offences = np.array([names.index(name) for name in world.goods.offences.names])
        self._per_day, self._other_prohibited = per_day, context.prevalence.other_prohibited
        self._builder = ShipmentBuilder(context)
        entities, thousands = world.entities, per_day / 1000
        self._origins = np.array([self._parties.countries.index(name) for name in entities.origins])
        oldest, sellers = entities.max_age_days, max(12, round(entities.shippers_per_1k * thousands))
        self.sellers = self._add_sellers(draws, -draws.integers(0, oldest, sellers))
        consignees = max(60, round(entities.consignees_per_1k * thousands))
        self.consignees = self._add_consignees(draws, -draws.integers(0, oldest, consignees))
        private = max(10, round(per_day * entities.private_known))
        self._private = self._add_private_senders(draws, np.full(private, -oldest))
        weights = np.arange(1, len(self.sellers) + 1) ** -entities.shipper_zipf
        self._edges = np.cumsum(weights) / weights.sum()

    def draw_sellers(self, draws: Draws, count: int) -> Ints:
        """Draw honest sellers with probability by their volume."""
        return self.sellers[np.searchsorted(self._edges, draws.random(count))]

    def draw_countries(self, draws: Draws, count: int) -> Ints:
        """Draw countries of dispatch by the shares of honest mail; returns their positions in the world's countries."""
        return self._origins[draw_indices(draws, self._world.entities.origins, count)]

    def draw_day(self, draws: Draws, day: CalendarDay) -> Shipments:
        """Draw the consignments of one day, one or more."""
        count = max(1, int(draws.poisson(self._per_day * day.height)))
        sender, consignee = self._draw_pairs(draws, day.since_start, count)
        ware = self._catalogue.draw_wares(draws, count)
        other = draws.permutation(consignee)
        order = ShipmentOrder(sender, consignee, other, ware, self._draw_services(draws, sender, ware))
        shipments = self._builder.build_shipments(draws, day.utc, order, NEGATIVE)
        self._add_offences(draws, shipments)
        self._set_habits(draws, shipments)
        return shipments

    def _add_sellers(self, draws: Draws, born: Ints) -> Ints:
        shares = self._world.entities.shipper_types
        types = {name: share for name, share in shares.items() if name != "private"}
        kinds = np.array([KIND[name] for name in types])
        origins = self.draw_countries(draws, len(born))
        return self._parties.add(draws, kinds[draw_indices(draws, types, len(born))], origins, born)

    def _add_consignees(self, draws: Draws, born: Ints) -> Ints:
        types, count = self._world.entities.consignee_types, len(born)
        kinds = np.array([KIND[name] for name in types])[draw_indices(draws, types, count)]
        abroad = draw_flags(draws, self._world.declarations.abroad, count)
        country = np.where(abroad, self.draw_countries(draws, count), self._parties.home)
        fresh = self._parties.add(draws, kinds, country, born)
        shares = draw_flags(draws, self._world.entities.shared_contact, count)
        self._parties.copy_contacts(draws, fresh[shares], draws.permutation(fresh)[shares])
        return fresh

    def _add_private_senders(self, draws: Draws, born: Ints) -> Ints:
        kind = np.full(len(born), KIND["private"])
        return self._parties.add(draws, kind, self.draw_countries(draws, len(born)), born)

    def _draw_pairs(self, draws: Draws, since_start: int, count: int) -> tuple[Ints, Ints]:
        """Draw senders and consignees: sellers by Zipf, private persons mostly once, consignees old and new."""
        entities = self._world.entities
        leave = np.flatnonzero(draw_flags(draws, entities.shipper_turnover, len(self.sellers)))
        self.sellers[leave] = self._add_sellers(draws, np.full(len(leave), since_start))
        sender = self.draw_sellers(draws, count)
        private = np.flatnonzero(draw_flags(draws, entities.shipper_types["private"], count))
        sender[private] = self._draw_private(draws, since_start, len(private))
        rank = draws.random(count) ** (1.0 / (1.0 - entities.consignee_zipf))
        consignee = self.consignees[(rank * len(self.consignees)).astype(np.int64)]
        new = np.flatnonzero(draw_flags(draws, entities.new_consignees, count))
        consignee[new] = fresh = self._add_consignees(draws, np.full(len(new), since_start))
        stay = fresh[draw_flags(draws, entities.newcomers_stay, len(fresh))]
        self.consignees[draws.integers(0, len(self.consignees), len(stay))] = stay
        return self._split_same_day(draws, sender, consignee)

    def _draw_private(self, draws: Draws, since_start: int, count: int) -> Ints:
        fresh = self._add_private_senders(draws, np.full(count, since_start))
        again = draw_flags(draws, self._world.entities.private_again, count)
        fresh[again] = draws.choice(self._private, int(again.sum()))
        self._private[draws.integers(0, len(self._private), count)] = fresh
        return fresh

    def _split_same_day(self, draws: Draws, sender: Ints, consignee: Ints) -> tuple[Ints, Ints]:
        """Set the parties of some consignments to those of another one of the day."""
        chance = self._world.tells.split_same_day[NEGATIVE] / 2
        split = np.flatnonzero(draw_flags(draws, chance, len(sender)))
        source = draws.integers(0, len(sender), len(split))
        sender[split], consignee[split] = sender[source], consignee[source]
        return sender, consignee

    def _draw_services(self, draws: Draws, sender: Ints, ware: Ints) -> Ints:
        """Draw the service of each consignment; documents go as letters or express, heavy goods as cargo."""
        services = self._world.services
        number = {name: at for at, name in enumerate(services)}
        service = draw_indices(draws, {name: held.share for name, held in services.items()}, len(ware))
        for goods, usual in (("documents", "letter"), ("machine", "general")):
            rows = (ware == self._catalogue.number[goods]) & draw_flags(draws, 0.4, len(ware))
            service[rows] = number[usual]
        private = self._parties.kind[sender] == KIND["private"]
        service[private & (service == number["ecommerce"])] = number["small_packet"]
        return service

    def _add_offences(self, draws: Draws, shipments: Shipments) -> None:
        """Add other prohibited goods, depending on the goods and on their senders."""
        weight = self._catalogue.offence[shipments.ware] * (0.15 + self._parties.leaning[shipments.sender])
        weight *= np.where(shipments.gift > 0, 1.5, 1.0)
        chance = np.minimum(self._other_prohibited * weight / weight.mean(), self._world.entities.max_offence)
        held = np.flatnonzero(draws.random(len(shipments)) < chance)
        shipments.result[held] = Contents.OTHER
        shipments.substance[held] = draws.choice(self._offences, len(held))

    def _set_habits(self, draws: Draws, shipments: Shipments) -> None:
        """Set the own wordings and prices of senders, as networks have them too."""
        honest, sender = self._world.hard.honest, shipments.sender
        sells = SELLERS[self._parties.kind[sender]]
        if honest.wording:
            worded = draw_flags(draws, honest.wording, len(shipments)) & (shipments.wording == Wording.PLAIN)
            worded &= sells & (draw_lasting(sender, WORDING_WAY) < honest.wording)
            numbers = draw_lasting(sender[worded], WORDING_NUMBER_WAY) * self._world.declarations.wordings
            shipments.habit[worded] = 1 + numbers.astype(np.int64)
            shipments.wording[worded] = Wording.HABIT
        if honest.price_points:
            rows = np.flatnonzero(sells & draw_flags(draws, honest.price_points, len(shipments)))
            self._set_prices(draws, shipments, rows)

    def _set_prices(self, draws: Draws, shipments: Shipments, at: Ints) -> None:
        """Set weight and value of some rows to one of the few pairs of their sender and goods."""
        honest, ware, catalogue = self._world.hard.honest, shipments.ware[at], self._catalogue
        pair = (shipments.sender[at] * 1000 + ware) * honest.prices
        pair += draws.integers(0, honest.prices, len(at))
        spreads = (WEIGHT_WAY, honest.weight_spread), (PRICE_WAY, honest.price_spread)
        weight, price = (np.exp((draw_lasting(pair, way) - 0.5) * 2 * spread) for way, spread in spreads)
        kg = np.minimum(catalogue.kg[ware] * weight, catalogue.heaviest[shipments.service[at]])
        shipments.kg[at] = np.maximum(np.round(kg, 2), self._world.declarations.min_kg)
        shipments.usd[at] = np.round(catalogue.usd_per_kg[ware] * kg * price, 0) + 0.9
