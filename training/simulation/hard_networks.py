"""Networks of a hard world: identifiers that each keeps or changes, and ends with new starts.

Each network draws once which identifiers it keeps for life, so that no single key joins all of them. Its number in the truth
stays the same through every change; this is the link that a declaration may not show.
"""

from dataclasses import dataclass, field

import numpy as np

from training.simulation.context import CalendarDay, SimulationContext
from training.simulation.hard_parameters import HardParameters, Identifier, Wave
from training.simulation.hard_parties import (
    BLOCK_DIGITS,
    KEPT_COLUMNS,
    NAME_COLUMNS,
    PLACE_COLUMNS,
    HardParties,
)
from training.simulation.legitimate_traffic import NEGATIVE, LegitimateTraffic, ShipmentOrder
from training.simulation.networks import CONSOLIDATOR, SMUGGLER, Flags, Network, Networks
from training.simulation.parameters import SimulationParameters
from training.simulation.parties import KIND
from training.simulation.shipments import KG_PER_GRAM, Draws, Shipments, draw_flags, draw_indices

LEVERS_OF_ALL = ("cover", "origin", "service", "senders", "customers")
GOODS_LEVERS, ROUTE_LEVERS = ("cover", "weight"), ("origin", "service")
DAYS_PER_MONTH = 30
FIGURE_PAIRS = 3
"""Number of pairs of weight and value that a network keeps (assumed)."""
FIGURES_SHARE, WEIGHT_JITTER = 0.7, 0.004
"""Share of its consignments with one of these pairs, and log sd of their weights (assumed)."""
FIGURES_KG, FIGURES_USD = (0.15, 1.6), (8.0, 90.0)
"""Ranges of such pairs (assumed)."""
SENT_ASIDE = ("result", "substance", "grams", "hidden", "network")
"""Fields of a consignment that are kept when all signs are removed."""


@dataclass
class NetworkMemory:
    """Identifiers and other values that a network keeps.

    Attributes
    ----------
    kept : set of str
        Identifiers that are kept through every change.
    stem, domain : str
        Of the phone numbers and the mailboxes that it buys.
    building, unit : int
        Address at which its consignees receive.
    wording : int
    figures : list of (kg, usd)
    first_sender, first_customer : int or None
        Parties whose identifiers are kept unchanged.
    silent_until : float
        Day from the start before which it sends nothing.
    waves : set of int
        Waves that have reached it.
    """

    kept: set[Identifier]
    stem: str
    domain: str
    building: int
    unit: int
    wording: int
    figures: list[tuple[float, float]]
    silent_until: float
    first_sender: int | None = None
    first_customer: int | None = None
    waves: set[int] = field(default_factory=set)


class HardNetworks(Networks):
    """Networks that can be recognised by what they keep, if anything.

    Parameters
    ----------
    stage : SimulationContext
    traffic : LegitimateTraffic
    draws : Generator
    hard : HardParameters
    parties : HardParties
    """

    def __init__(
        self,
        stage: SimulationContext,
        traffic: LegitimateTraffic,
        draws: Draws,
        hard: HardParameters,
        parties: HardParties,
    ) -> None:
        self._hard, self._hard_parties = hard, parties
        self._memories: dict[int, NetworkMemory] = {}
        super().__init__(stage, traffic, draws)

    def get_label(self, number: int) -> str | None:
        """Return the label of a network in the truth table: its kind and its number, which never changes."""
        kind = self.get_kind(number)
        return None if kind is None else f"{kind}-{number}"

    def get_memory(self, draws: Draws, network: Network) -> NetworkMemory:
        """Return what a network keeps; it is drawn at the first call."""
        if network.number not in self._memories:
            self._memories[network.number] = self._create_memory(draws)
        return self._memories[network.number]

    def _create_memory(self, draws: Draws) -> NetworkMemory:
        identifiers, addresses = self._hard.identifiers, self._hard.addresses
        begins = draws.uniform(*identifiers.late_days) if draws.random() < identifiers.late else 0.0
        ends = np.log([FIGURES_KG, FIGURES_USD])
        figures = np.exp(draws.uniform(ends[:, 0], ends[:, 1], (FIGURE_PAIRS, 2)))
        return NetworkMemory(
            kept=self._draw_kept(draws, identifiers.kept),
            stem=str(draws.integers(10**5, 10**6)),
            domain=f"{'abcdefghijklmnopqrstuvwxyz'[draws.integers(0, 26)]}{draws.integers(100, 9999)}shop.example",
            building=int(draws.integers(0, addresses.buildings)),
            unit=1 + int(draws.integers(0, addresses.units)),
            wording=1 + int(draws.integers(0, 10_000)),
            figures=[(round(kg, 3), round(usd, 2)) for kg, usd in figures.tolist()],
            silent_until=float(begins),
        )

    def _draw_kept(self, draws: Draws, chances: dict[Identifier, float]) -> set[Identifier]:
        picks = draws.random(len(chances))
        traceable = draws.random() >= self._hard.identifiers.untraceable
        return {
            name
            for (name, chance), pick in zip(chances.items(), picks, strict=True)
            if traceable and pick < chance
        }

    def _new_sender(self, draws: Draws, network: Network, since_start: int) -> int:
        """Create a front with the identifiers that the network keeps or borrows."""
        memory, parties = self.get_memory(draws, network), self._hard_parties
        sender = super()._new_sender(draws, network, since_start)
        if draws.random() < self._hard.borrowed.firm:
            other = int(draws.choice(self._traffic.sellers))
            parties.copy_columns(sender, other, NAME_COLUMNS + PLACE_COLUMNS)
        if "email_domain" in memory.kept:
            parties.move_to_domain([sender], memory.domain)
        if "sender_phone_block" in memory.kept:
            parties.move_to_block(draws, sender, self._begin_number(network.origin, memory.stem))
        if memory.first_sender is None:
            memory.first_sender = sender
        for name in ("sender_phone", "account"):
            if name in memory.kept:
                parties.copy_columns(sender, memory.first_sender, KEPT_COLUMNS[name])
        return sender

    def _new_customer(self, draws: Draws, network: Network, since_start: int) -> int:
        """Create a consignee: an honest one, one with an honest one's name, or one at the network's address."""
        memory, parties, before = self.get_memory(draws, network), self._hard_parties, self._parties.size
        customer = super()._new_customer(draws, network, since_start)
        if customer < before:
            return customer
        if draws.random() < self._hard.borrowed.consignee:
            other = int(draws.choice(self._traffic.consignees))
            parties.copy_columns(customer, other, NAME_COLUMNS + PLACE_COLUMNS)
        if "drop_address" in memory.kept:
            parties.move_to_building(draws, customer, memory.building, memory.unit)
        elif "drop_building" in memory.kept:
            parties.move_to_building(draws, customer, memory.building)
        home = self._parties.countries.index(self._world.destination)
        if "customer_phone_block" in memory.kept:
            parties.move_to_block(draws, customer, self._begin_number(home, memory.stem))
        if memory.first_customer is None:
            memory.first_customer = customer
        if "customer_phone" in memory.kept:
            parties.copy_columns(customer, memory.first_customer, KEPT_COLUMNS["customer_phone"])
        return customer

    def _begin_number(self, country: int, stem: str) -> str:
        """Return the digits of a number before those that vary within a block."""
        world: SimulationParameters = self._world
        place = world.people.countries[self._parties.countries[country]]
        form = world.people.cultures[place.culture].mobile
        digits = iter(stem + stem)
        filled = "".join(next(digits) if sign == "#" else sign for sign in form)
        return f"+{place.dial} {filled[:-BLOCK_DIGITS]}"

    def _apply_events(self, draws: Draws, network: Network, since_start: int) -> None:
        """Apply the trend events and the waves to a network."""
        super()._apply_events(draws, network, since_start)
        memory = self.get_memory(draws, network)
        for number, wave in enumerate(self._hard.waves):
            reaches = draws.random() < wave.share / max(wave.over, 1)
            if wave.day <= since_start < wave.day + wave.over and reaches and number not in memory.waves:
                memory.waves.add(number)
                self._apply_wave(draws, network, wave, since_start)

    def _apply_wave(self, draws: Draws, network: Network, wave: Wave, since_start: int) -> None:
        memory, habits = self.get_memory(draws, network), network.habits
        services = {} if network.kind == CONSOLIDATOR else wave.services
        network.habits = habits.replace_tables(wave.origins, services, wave.covers)
        if wave.families and network.kind != SMUGGLER:
            network.families = list(wave.families)
        if wave.kept:
            memory.kept = self._draw_kept(draws, wave.kept)
        self._change_all(draws, network, since_start)

    def _change_all(self, draws: Draws, network: Network, since_start: int) -> None:
        for lever in LEVERS_OF_ALL:
            self._change_habit(draws, network, lever, since_start)

    def _update_habits(self, draws: Draws, network: Network, since_start: int) -> None:
        """Apply the changes due after seizures, or end and start again."""
        due = [day for day in network.changes if day <= since_start]
        network.changes = [day for day in network.changes if day > since_start]
        changed = self._hard.identifiers.changed
        reactions = list(changed)
        for place in draw_indices(draws, {str(name): share for name, share in changed.items()}, len(due)):
            self._react(draws, network, reactions[place], since_start)
        if draws.random() < self._world.adversary.rotation / 7:
            self._rename_sender(draws, network, since_start)
        if draws.random() < self._hard.identifiers.reborn / DAYS_PER_MONTH:
            memory = self.get_memory(draws, network)
            pause = float(draws.uniform(*self._hard.identifiers.pause_days))
            memory.silent_until = max(memory.silent_until, since_start + pause)
            self._change_all(draws, network, since_start)

    def _react(self, draws: Draws, network: Network, reaction: str, since_start: int) -> None:
        if reaction == "spelling":
            self._hard_parties.respell(draws, network.senders + network.customers)
            return
        levers = {"goods": GOODS_LEVERS, "route": ROUTE_LEVERS, "everything": LEVERS_OF_ALL}
        for lever in levers.get(reaction, (reaction,)):
            self._change_habit(draws, network, lever, since_start)

    def _rename_sender(self, draws: Draws, network: Network, since_start: int) -> None:
        place = int(draws.integers(0, len(network.senders)))
        network.senders[place] = self._new_sender(draws, network, since_start)

    def _change_habit(self, draws: Draws, network: Network, lever: str, since_start: int) -> None:
        """Change one habit of a network, unless the network keeps it."""
        memory = self.get_memory(draws, network)
        keeps_route = "route" in memory.kept and bool(network.senders)
        if lever == "senders" or (lever == "origin" and keeps_route):
            network.senders = [self._new_sender(draws, network, since_start) for _ in network.senders]
        elif lever == "customers":
            network.customers = []
        elif not (lever == "service" and keeps_route):
            super()._change_habit(draws, network, lever, since_start)
        if "wording" in memory.kept:
            network.wording = memory.wording

    def _change_origin(
        self,
        draws: Draws,  # noqa: ARG002
        network: Network,
        origin: str,
        since_start: int,  # noqa: ARG002
    ) -> None:
        """Set the country from which a network sends; its existing fronts stay."""
        network.origin = self._parties.countries.index(origin)

    def _draw_parcel_count(self, draws: Draws, network: Network, day: CalendarDay) -> int:
        parcels = super()._draw_parcel_count(draws, network, day)
        return 0 if day.since_start < self.get_memory(draws, network).silent_until else parcels

    def _send(self, draws: Draws, network: Network, day: CalendarDay, parcels: int) -> Shipments:
        shipments = super()._send(draws, network, day, parcels)
        memory, count = self.get_memory(draws, network), len(shipments)
        if "figures" in memory.kept:
            self._set_figures(draws, shipments, memory, draw_flags(draws, FIGURES_SHARE, count))
        if shipments.master[0] < 0:
            self._hide_rows(draws, shipments, day, draw_flags(draws, self._hard.unbetrayed, count))
        return shipments

    def _set_figures(self, draws: Draws, shipments: Shipments, memory: NetworkMemory, rows: Flags) -> None:
        """Set weight and value of some consignments to one of the network's pairs."""
        at = np.flatnonzero(rows)
        kg, usd = np.array(memory.figures)[draws.integers(0, FIGURE_PAIRS, len(at))].T
        shipments.kg[at] = kg * np.exp(draws.normal(0.0, WEIGHT_JITTER, len(at)))
        shipments.usd[at] = usd

    def _hide_rows(self, draws: Draws, shipments: Shipments, day: CalendarDay, rows: Flags) -> None:
        """Replace all but the contents of some consignments by those of honest ones, without any sign."""
        at = np.flatnonzero(rows)
        if not len(at):
            return
        places = np.array([self._traffic.draw_country(draws) for _ in at])
        home = np.full(len(at), self._parties.countries.index(self._world.destination))
        born = np.full(len(at), day.since_start)
        sender = self._parties.add(draws, np.full(len(at), KIND["private"]), places, born)
        consignee = self._parties.add(draws, np.full(len(at), KIND["person"]), home, born)
        ware = np.searchsorted(
            np.cumsum(self._catalogue.shares), draws.random(len(at)) * 0.999_999, side="right"
        )
        services = {name: held.share for name, held in self._world.services.items() if name != "general"}
        service = np.array(
            [self._service_names.index(list(services)[n]) for n in draw_indices(draws, services, len(at))]
        )
        order = ShipmentOrder(
            sender, consignee, draws.choice(self._traffic.consignees, len(at)), ware, service
        )
        plain = self._packer.build_shipments(draws, day.utc, order, NEGATIVE)
        heaviest = np.array([held.heaviest_kg for held in self._world.services.values()])[service]
        grams = np.nan_to_num(shipments.grams[at])
        plain.kg = np.minimum(np.maximum(plain.kg, 1.2 * grams * KG_PER_GRAM), heaviest)
        for name, values in vars(shipments).items():
            if name not in SENT_ASIDE:
                values[at] = getattr(plain, name)
