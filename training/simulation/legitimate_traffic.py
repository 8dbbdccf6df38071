"""Honest mail and cargo of a simulated world, including prohibited goods other than drugs."""

from typing import NamedTuple

import numpy as np

from training.simulation.context import CalendarDay, SimulationContext
from training.simulation.parties import KIND, MAX_AGE_DAYS, Ids
from training.simulation.shipments import (
    ADMIN,
    CLEAR,
    CONCEALMENTS,
    CUE,
    NO_INDEX,
    OTHER,
    PLAIN,
    VAGUE,
    Draws,
    Numbers,
    Shipments,
    Values,
    draw_flags,
    draw_indices,
    draw_timestamps,
)

MAX_OFFENCE_PROBABILITY = 0.6
"""Maximum probability of prohibited goods in a consignment (assumed)."""
OUT_OF_CLASS_LOG_RANGE = (1.2, 2.6)
"""Range of the log factor of a value out of its class, up or down (assumed)."""
MAX_PREMIUM_USD = 8.0
"""Maximum declared value for the sign of a premium service with low value (assumed)."""
PREMIUM_SERVICES = ("ems", "express")
MIN_PARCEL_KG = 0.02


NEGATIVE, POSITIVE = 1, 0
"""Positions in a pair of `SignRates`."""


class ShipmentOrder(NamedTuple):
    """Sender, consignee, goods and service of shipments: int64 arrays, (n,).

    `other` are parties whose name may replace the consignee's.
    """

    sender: Ids
    consignee: Ids
    other: Ids
    ware: Ids
    service: Numbers


class ShipmentBuilder:
    """Builder of shipments from orders: weight, value, route, wording, and the signs of their side."""

    def __init__(self, stage: SimulationContext) -> None:
        world, parties, catalogue = stage.world, stage.parties, stage.catalogue
        self._parties, self._catalogue = parties, catalogue
        self._tells, self._manner = world.tells, world.declarations
        self._heaviest = np.array([held.heaviest_kg for held in world.services.values()])
        self._cargo = np.array([held.channel == "air_cargo" for held in world.services.values()])
        self._hubs = np.array([parties.countries.index(name) for name in world.tells.hubs])
        self._has_cues = np.array([bool(held.cues) for held in catalogue.wares])

    def build_shipments(self, draws: Draws, day: int, errand: ShipmentOrder, side: int) -> Shipments:
        """Build the shipments of a day, without prohibited contents.

        Parameters
        ----------
        draws : Generator
        day : int
            UTC days since the epoch.
        errand : ShipmentOrder
        side : {NEGATIVE, POSITIVE}
            Which probability of each sign applies.
        """
        sender, consignee, other, ware, service = errand
        count, tells = len(sender), self._tells
        kg = self._catalogue.draw_weights(draws, ware, self._manner.weight_spread)
        kg = np.clip(kg, MIN_PARCEL_KG, self._heaviest[service])
        postal = ~self._cargo[service]
        return Shipments(
            received_us=draw_timestamps(draws, day, count),
            service=service,
            departure=self._parties.country[sender].copy(),
            hub=np.where(
                draw_flags(draws, tells.detour[side], count), draws.choice(self._hubs, count), NO_INDEX
            ),
            sender=sender,
            consignee=consignee,
            named=np.where(draw_flags(draws, tells.name_mismatch[side], count), other, consignee),
            ware=ware,
            hs_ware=self._hs_wares(draws, ware, tells.hs_mismatch[side]),
            wording=self._wordings(draws, ware, tells.cues[side]),
            habit=np.zeros(count, dtype=np.int64),
            kg=kg,
            usd=self._values(draws, ware, kg, tells.value_out_of_class[side]),
            gift=(draw_flags(draws, tells.gift[side], count) & postal).astype(np.int64),
            crypto=draw_flags(draws, tells.crypto[side], count).astype(np.int64),
            master=np.full(count, NO_INDEX),
            result=np.full(count, CLEAR),
            substance=np.full(count, NO_INDEX),
            grams=np.full(count, np.nan),
            hidden=np.full(count, CONCEALMENTS.index("concealed_in_goods")),
            network=np.full(count, NO_INDEX),
        )

    def _values(self, draws: Draws, ware: Ids, kg: Values, out_of_class: float) -> Values:
        usd = self._catalogue.draw_values(draws, ware, kg, self._manner.value_spread)
        wrong = np.flatnonzero(draw_flags(draws, out_of_class, len(ware)))
        direction = draws.choice([-1.0, -1.0, 1.0], len(wrong))
        usd[wrong] *= np.exp(direction * draws.uniform(*OUT_OF_CLASS_LOG_RANGE, len(wrong)))
        return usd

    def _hs_wares(self, draws: Draws, ware: Ids, chance: float) -> Ids:
        ordinary = draws.integers(0, int((~self._catalogue.hard).sum()), len(ware))
        return np.where(draw_flags(draws, chance, len(ware)), ordinary, ware)

    def _wordings(self, draws: Draws, ware: Ids, cues: float) -> Numbers:
        wording = np.full(len(ware), PLAIN)
        wording[self._has_cues[ware] & draw_flags(draws, cues, len(ware))] = CUE
        draw = draws.random(len(ware))
        wording[draw < self._manner.vague + self._manner.admin] = ADMIN
        wording[draw < self._manner.vague] = VAGUE
        return wording


class LegitimateTraffic:
    """Honest consignments, with some prohibited goods among them.

    Parameters
    ----------
    stage : SimulationContext
        Senders and consignees are added to its parties.
    draws : Generator
        For the parties that exist on the first day.
    """

    def __init__(self, stage: SimulationContext, draws: Draws) -> None:
        world, per_day = stage.world, stage.per_day
        self._world, self._parties, self._catalogue = world, stage.parties, stage.catalogue
        self._offences = np.array([stage.substances.get_number(name) for name in world.goods.offences.names])
        self._per_day, self._other_prohibited = per_day, stage.prevalence.other_prohibited
        self._packer = ShipmentBuilder(stage)
        entities, count = world.entities, per_day / 1000
        self._sellers = self._first_sellers(draws, max(12, round(entities.shippers_per_1k * count)))
        self._regulars = self._first_consignees(draws, max(60, round(entities.consignees_per_1k * count)))
        self._private = self._private_senders(
            draws, max(10, round(per_day * entities.private_known)), -MAX_AGE_DAYS
        )
        ranks = np.arange(1, len(self._sellers) + 1)
        weights = ranks**-entities.shipper_zipf
        self._edges = np.cumsum(weights) / weights.sum()

    @property
    def consignees(self) -> Ids:
        """Consignees of ordinary mail; some of them also order from networks."""
        return self._regulars

    @property
    def sellers(self) -> Ids:
        """Honest senders, whose names networks may borrow."""
        return self._sellers

    def draw_sellers(self, draws: Draws, count: int) -> Ids:
        """Draw honest sellers with probability by their volume."""
        return self._sellers[np.searchsorted(self._edges, draws.random(count))]

    def draw_country(self, draws: Draws) -> int:
        """Draw a country of dispatch by the shares of honest mail; returns its position in the world's countries."""
        return int(self._countries(draws, 1)[0])

    def draw_day(self, draws: Draws, day: CalendarDay) -> Shipments:
        """Draw the consignments of one day, one or more."""
        count = max(1, int(draws.poisson(self._per_day * day.height)))
        sender, consignee = self._draw_pairs(draws, day.since_start, count)
        ware = np.searchsorted(
            np.cumsum(self._catalogue.shares), draws.random(count) * 0.999_999, side="right"
        )
        other = draws.permutation(consignee)
        errand = ShipmentOrder(sender, consignee, other, ware, self._draw_services(draws, sender, ware))
        shipments = self._packer.build_shipments(draws, day.utc, errand, NEGATIVE)
        self._add_offences(draws, shipments)
        return shipments

    def _first_sellers(self, draws: Draws, count: int) -> Ids:
        return self._new_sellers(draws, count, -draws.integers(0, MAX_AGE_DAYS, count))

    def _new_sellers(self, draws: Draws, count: int, born: Ids) -> Ids:
        types = {
            name: share for name, share in self._world.entities.shipper_types.items() if name != "private"
        }
        kinds = np.array([KIND[name] for name in types])
        origins = self._countries(draws, count)
        return self._parties.add(draws, kinds[draw_indices(draws, types, count)], origins, born)

    def _countries(self, draws: Draws, count: int) -> Ids:
        origins = self._world.entities.origins
        places = np.array([self._parties.countries.index(name) for name in origins])
        return places[draw_indices(draws, origins, count)]

    def _first_consignees(self, draws: Draws, count: int) -> Ids:
        return self._new_consignees(draws, count, -draws.integers(0, MAX_AGE_DAYS, count))

    def _new_consignees(self, draws: Draws, count: int, born: Ids) -> Ids:
        types = self._world.entities.consignee_types
        kinds = np.array([KIND[name] for name in types])[draw_indices(draws, types, count)]
        home = self._parties.countries.index(self._world.destination)
        abroad = draw_flags(draws, self._world.declarations.abroad, count)
        country = np.where(abroad, self._countries(draws, count), home)
        fresh = self._parties.add(draws, kinds, country, born)
        shares = draw_flags(draws, self._world.entities.shared_contact, count)
        self._parties.copy_contacts(draws, fresh[shares], draws.permutation(fresh)[shares])
        return fresh

    def _private_senders(self, draws: Draws, count: int, born: int) -> Ids:
        kind = np.full(count, KIND["private"])
        return self._parties.add(draws, kind, self._countries(draws, count), np.full(count, born))

    def _draw_pairs(self, draws: Draws, since_start: int, count: int) -> tuple[Ids, Ids]:
        """Draw senders and consignees: sellers by Zipf, private persons mostly once, consignees old and new."""
        entities = self._world.entities
        self._replace_sellers(draws, since_start)
        sender = self.draw_sellers(draws, count)
        private = np.flatnonzero(draw_flags(draws, entities.shipper_types["private"], count))
        sender[private] = self._draw_private(draws, since_start, len(private))
        rank = draws.random(count) ** (1.0 / (1.0 - entities.consignee_zipf))
        consignee = self._regulars[(rank * len(self._regulars)).astype(np.int64)]
        new = np.flatnonzero(draw_flags(draws, entities.new_consignees, count))
        born = np.full(len(new), since_start)
        consignee[new] = fresh = self._new_consignees(draws, len(new), born)
        stay = fresh[draw_flags(draws, entities.newcomers_stay, len(fresh))]
        self._regulars[draws.integers(0, len(self._regulars), len(stay))] = stay
        return self._split_same_day(draws, sender, consignee)

    def _replace_sellers(self, draws: Draws, since_start: int) -> None:
        leave = np.flatnonzero(draw_flags(draws, self._world.entities.shipper_turnover, len(self._sellers)))
        self._sellers[leave] = self._new_sellers(draws, len(leave), np.full(len(leave), since_start))

    def _draw_private(self, draws: Draws, since_start: int, count: int) -> Ids:
        fresh = self._private_senders(draws, count, since_start)
        again = draw_flags(draws, self._world.entities.private_again, count)
        fresh[again] = draws.choice(self._private, int(again.sum()))
        self._private[draws.integers(0, len(self._private), count)] = fresh
        return fresh

    def _split_same_day(self, draws: Draws, sender: Ids, consignee: Ids) -> tuple[Ids, Ids]:
        """Set the parties of some consignments to those of another one of the day."""
        count = len(sender)
        split = np.flatnonzero(draw_flags(draws, self._world.tells.split_same_day[1] / 2, count))
        source = draws.integers(0, max(count, 1), len(split))
        sender[split], consignee[split] = sender[source], consignee[source]
        return sender, consignee

    def _draw_services(self, draws: Draws, sender: Ids, ware: Ids) -> Numbers:
        """Draw the service of each consignment; documents go as letters or express, heavy goods as cargo."""
        names = list(self._world.services)
        service = draw_indices(
            draws, {name: held.share for name, held in self._world.services.items()}, len(ware)
        )
        papers = (ware == self._catalogue.number["documents"]) & draw_flags(draws, 0.4, len(ware))
        service[papers] = names.index("letter")
        heavy = (ware == self._catalogue.number["machine"]) & draw_flags(draws, 0.4, len(ware))
        service[heavy] = names.index("general")
        private = self._parties.kind[sender] == KIND["private"]
        shop = private & (service == names.index("ecommerce"))
        service[shop] = names.index("small_packet")
        return service

    def _add_offences(self, draws: Draws, shipments: Shipments) -> None:
        """Add other prohibited goods, depending on the goods and on their senders."""
        weight = (
            self._catalogue.offence[shipments.ware]
            * (0.15 + self._parties.leaning[shipments.sender])
            * np.where(shipments.gift > 0, 1.5, 1.0)
        )
        chance = np.minimum(self._other_prohibited * weight / weight.mean(), MAX_OFFENCE_PROBABILITY)
        held = np.flatnonzero(draws.random(len(shipments)) < chance)
        shipments.result[held] = OTHER
        shipments.substance[held] = draws.choice(self._offences, len(held))
