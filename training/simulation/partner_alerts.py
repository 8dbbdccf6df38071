"""Alerts of partners in a simulated operation: patterns of detections in the networks' other consignments."""

from datetime import UTC, datetime, timedelta

import numpy as np
from msgspec.structs import replace

from consignments.records import Alert
from training.simulation.context import SimulationContext
from training.simulation.networks import SMUGGLER, Network, Networks
from training.simulation.shipments import Draws, draw_name
from training.simulation.spelling import write_variants


class AlertFeed:
    """Alerts and newsletters of an operation, spread over its duration."""

    def __init__(self, context: SimulationContext, networks: Networks, operation_day: int) -> None:
        self._world, self._parties, self._networks = context.world, context.parties, networks
        operation = context.world.operation
        first = max(operation_day - operation.first_alert_lead_days, 0)
        last = operation_day + operation.days
        spread = np.linspace(first, operation_day + operation.days * 2 // 3, operation.alerts)
        letters = np.linspace(operation_day, last - 1, operation.newsletters)
        self._days, self._newsletter_days = spread.astype(int).tolist(), letters.astype(int).tolist()
        self._issued = self._newsletters = 0

    def issue_alerts(self, draws: Draws, since_start: int) -> list[Alert]:
        """Return the alerts and the newsletters of a day."""
        alerts = [self._create_alert(draws, since_start) for _ in range(self._days.count(since_start))]
        letters = range(self._newsletter_days.count(since_start))
        return [*alerts, *(self._create_newsletter(draws, since_start) for _ in letters)]

    def _create_alert(self, draws: Draws, since_start: int) -> Alert:
        self._issued += 1
        issued, network = self._issue(draws, f"{self._issued:02d}", since_start), self._draw_network(draws)
        false = draws.random() < self._world.operation.false_alerts
        return replace(issued, **self._draw_pattern(draws, network, false))

    def _create_newsletter(self, draws: Draws, since_start: int) -> Alert:
        """Describe what is sent and how, without a name or a pattern, so that it matches no consignment."""
        self._newsletters += 1
        issued = self._issue(draws, f"N{self._newsletters}", since_start)
        seen = [self._draw_network(draws) for _ in range(self._world.operation.networks_in_newsletter)]
        habits = sorted({f"{network.families[0]} as {network.cover}".replace("_", " ") for network in seen})
        return replace(issued, text=f"newsletter: {'; '.join(habits)}")

    def _issue(self, draws: Draws, number: str, since_start: int) -> Alert:
        operation = self._world.operation
        start = datetime.combine(self._world.start, datetime.min.time(), UTC)
        issued = start + timedelta(days=since_start, hours=float(np.round(draws.uniform(0, 9), 2)))
        name, expires = f"{operation.name}-{number}", issued + timedelta(days=operation.expires_after)
        return Alert(alert_id=name, issued_at=issued, expires_at=expires, operation=operation.name)

    def _draw_network(self, draws: Draws) -> Network:
        """Draw a network with probability by its volume."""
        held = [network for network in self._networks.networks if network.kind != SMUGGLER]
        rates = np.array([network.drops_per_day * network.drop for network in held])
        return held[int(draws.choice(len(held), p=rates / rates.sum()))]

    def _draw_pattern(self, draws: Draws, network: Network, false: bool) -> dict[str, str]:
        """Return the pattern and text of an alert; a false one names a party that belongs to no network."""
        kind = draw_name(draws, self._world.operation.patterns)
        country = self._parties.countries[network.origin]
        named = int(draws.integers(0, 50)) if false else int(draws.choice(network.senders))
        goods = self._draw_goods(draws, network)
        pattern = {"departure_country": country, "substance_family": network.families[0]}
        if kind == "sender":
            pattern = {"sender_name": self._write_variant(draws, "name", named), **pattern}
        elif kind == "address" and network.customers and not false:
            receiver = int(network.customers[0])
            pattern = {"consignee_address": self._write_variant(draws, "address", receiver)}
        else:
            pattern["description_pattern"] = goods
            if kind == "route":
                place = self._world.people.countries[country]
                service = list(self._world.services.values())[network.service]
                pattern["route"] = place.impc if service.channel == "postal" else place.airport
        pattern["text"] = f"{network.families[0].replace('_', ' ')} from {country}, declared as {goods}"
        return pattern

    def _draw_goods(self, draws: Draws, network: Network) -> str:
        goods = self._world.goods
        name = str(draws.choice(goods.covers[network.cover].wares))
        ware = (goods.ordinary | goods.hard_negatives)[name]
        return str(draws.choice(ware.get("cues") or ware["en"]))

    def _write_variant(self, draws: Draws, column: str, party: int) -> str:
        ids = np.array([party])
        texts, native = self._parties.get_texts(column, ids), self._parties.get_texts(f"native_{column}", ids)
        return str(write_variants(draws, texts, native, self._world.spelling, np.array([False]))[0])
