"""A log as life makes it, by the service's own calls: repeats, amendments, corrections, late outcomes, cancellations,
alerts that come and change, selections, an import, a restart, and two models of which one knows more than the other."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import Client, publish, serving, settings_in
from support.table_examples import build_tables

from consignments.records import Alert, Consignment, Item
from features.streams import FeatureInputs
from serving.maintenance.import_past import import_tables

OFFICES = ("Incheon", "Busan")
GOODS = ("cotton t-shirts", "research chemical powder", "  ", "3-CMC, 100 g", "шерсть", "茶")


def live_through_a_world(
    folder: Path, bundle: Path, other: Path, *, arrivals: int = 120, seed: int = 5
) -> Path:
    """Make a log in a state directory, its first half with one model and its second half with another."""
    world, settings = World(seed), settings_in(folder)
    world.import_past(folder)
    for half, model in enumerate((bundle, other)):
        publish(folder, model, str(half + 1))
        with serving(settings, world.clock) as client:
            world.live(client, arrivals // 2)
    return folder


class World:
    """Draws what happens next."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.number = 0
        self.sent: list[Consignment] = []
        self.now = day(12)

    def clock(self) -> int:
        """The service's clock, which the world moves."""
        return int(self.now.timestamp() * 1_000_000)

    def pass_by(self, time: timedelta) -> None:
        """Let time pass; after a year nobody speaks of what was sent before."""
        self.now += time
        if time.days > 366:
            self.sent.clear()

    def import_past(self, folder: Path) -> None:
        """Past consignments, two of them found, one cancelled, and an alert."""
        past = [self._consignment(received_at=day(place / 2)) for place in range(10)]
        past[4] = msgspec.structs.replace(past[4], cancelled_at=day(6))
        outcomes = [make_outcome(past[1].consignment_id, result="nps"), make_outcome(past[2].consignment_id)]
        alerts = [Alert("A0", day(2), sender_name="Sender 1")]
        tables = build_tables(past, outcomes, alerts)
        import_tables(lambda _: FeatureInputs.from_tables(tables), settings_in(folder))
        self.sent += past

    def live(self, client: Client, arrivals: int) -> None:
        """Let things happen until so many new consignments have come."""
        acts = (self._arrive, self._bulk, self._amend, self._repeat, self._find, self._correct, self._cancel, self._warn, self._choose)  # fmt: skip
        odds = np.array([8, 1, 3, 2, 4, 1, 1, 1, 0.5])
        last = self.number + arrivals
        while self.number < last:
            self.now += timedelta(hours=float(self.rng.exponential(4)))
            act = acts[int(self.rng.choice(len(acts), p=odds / odds.sum()))]
            (act if self.sent else self._arrive)(client)

    def _consignment(self, **changes: Any) -> Consignment:
        self.number += 1
        draw = self.rng.integers
        fields = {
            "received_at": self.now - timedelta(days=float(self.rng.exponential(1.0))),
            "channel": ("postal", "air_cargo")[draw(2)],
            "sender_name": f"Sender {draw(6)}" if draw(8) else "",
            "sender_address": f"{draw(9)} Harbour Road" if draw(6) else None,
            "sender_phone": f"+44 20 7946 00{draw(10, 19)}" if draw(3) else None,
            "consignee_name": ("Kim Min-su", "김민수", "Lee Ji-eun", "ＫＩＭ")[draw(4)],
            "consignee_email": f"k{draw(5)}@example.org" if draw(2) else None,
            "account_id": f"ACC-{draw(5)}" if draw(3) else None,
            "account_opened_on": day(-float(draw(1, 400))).date() if draw(2) else None,
            "description": GOODS[draw(len(GOODS))],
            "office": OFFICES[draw(2)],
            "declared_value": (-0.0, 12.5, None, 1e-3, 99999.0)[draw(5)],
            "gross_weight_kg": round(float(self.rng.gamma(2, 0.4)), 3),
            "items": (None, (), (Item("tea", 2.0, None, 3.0, "090210"), Item()))[draw(3)],
        }
        return make_consignment(f"RB{self.number}", **(fields | changes))

    def _arrive(self, client: Client) -> None:
        self._send(client, self._consignment())

    def _bulk(self, client: Client) -> None:
        rows = [self._consignment() for _ in range(4)]
        self.sent += rows
        assert client.send("/v1/scores", {"consignments": rows})["errors"] == []

    def _amend(self, client: Client) -> None:
        """Send an earlier one with other content; now and then as it was before."""
        old = self._one()
        changes: dict[str, Any] = {"description": GOODS[self.rng.integers(len(GOODS))], "pieces": 3.0}
        if self.rng.integers(2):
            changes |= {"received_at": self.now, "sender_name": f"Sender {self.rng.integers(6)}"}
        self._send(client, msgspec.structs.replace(old, cancelled_at=None, **changes))
        if self.rng.integers(3) == 0:
            self._send(client, msgspec.structs.replace(old, cancelled_at=None))

    def _repeat(self, client: Client) -> None:
        self._send(client, msgspec.structs.replace(self.sent[-1], cancelled_at=None))

    def _find(self, client: Client) -> None:
        """An outcome, known at once or weeks later; some of consignments that come later, or never."""
        name = self._one().consignment_id if self.rng.integers(9) else f"RB{self.number + 3}"
        result = ("nps", "clear", "controlled_drug", "other_offence", "pending")[self.rng.integers(5)]
        known = None if result == "pending" else self.now - timedelta(days=float(self.rng.integers(0, 12)))
        selected_by = ("model", "random", "officer")[self.rng.integers(3)]
        times = {"known_at": known, "inspected_at": (known or self.now) - timedelta(days=1)}
        outcome = make_outcome(name, result=result, selected_by=selected_by, **times)
        for _ in range(self.rng.integers(1, 3)):  # some are sent twice
            client.send("/v1/outcomes", outcome)

    def _correct(self, client: Client) -> None:
        name = self._one().consignment_id
        for result in ("nps", "clear", "missed"):
            changes: dict[str, Any] = {"known_at": self.now, "result": result}
            if result == "missed":
                changes = {"known_at": None, "result": None, "status": "missed", "inspected_at": None}
            outcome = make_outcome(name, **({"inspected_at": self.now - timedelta(days=2)} | changes))
            client.send("/v1/outcomes", outcome)
            self.now += timedelta(minutes=5)

    def _cancel(self, client: Client) -> None:
        client.send("/v1/cancellations", {"consignment_id": self._one().consignment_id})

    def _warn(self, client: Client) -> None:
        """An alert: new, changed, or as it was before it was changed."""
        name, about = f"A{self.rng.integers(3)}", f"Sender {self.rng.integers(3)}"
        alert = Alert(name, self.now - timedelta(days=3), text="watch", sender_name=about)
        client.send("/v1/alerts", alert)

    def _choose(self, client: Client) -> None:
        begins, ends = self.now - timedelta(days=4), self.now
        body = {"office": OFFICES[self.rng.integers(2)], "capacity": 3, "explore": 0.4}
        body |= {"from": begins.isoformat(), "until": ends.isoformat()}
        for each in client.send("/v1/selections", body)["selections"]:
            name = each["consignment_id"]
            outcome = make_outcome(name, known_at=self.now, inspected_at=self.now, selected_by="model")
            client.send("/v1/outcomes", outcome)

    def _send(self, client: Client, c: Consignment) -> None:
        self.sent.append(c)
        client.send("/v1/scores", c)

    def _one(self) -> Consignment:
        return self.sent[int(self.rng.integers(max(0, len(self.sent) - 60), len(self.sent)))]
