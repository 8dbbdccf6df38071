"""A log of old consignments and later ones, whose old content is forgotten."""

from pathlib import Path
from typing import Any

from support.examples import day, make_outcome
from support.serving_examples import Client, SetClock, publish, serving, settings_in

from consignments.timestamps import to_us
from serving.state.forgetting import RetentionApproval, RetentionResult, forget

OLD, BETWEEN, LAST = 12, 3, 4
RECENT = BETWEEN + LAST
WHO, WHY = "data protection", "the legal period is over"
APPROVAL = RetentionApproval(WHO, WHY)
LATER = 420
"""Days from the first consignment to the last ones; those between keep their senders in history."""
BEFORE = LATER - 380
"""The day before which all is forgotten: in the month after that of the old consignments."""


def live(client: Client, begins: float, names: range) -> None:
    """Consignments of few senders, each with an outcome at once."""
    for place, number in enumerate(names):
        when, goods = day(begins + place), f"goods {number}"
        client.score(f"RB{number}", received_at=when, sender_name=f"Sender {number % 3}", description=goods)
        found = {"result": ("nps", "clear")[number % 2], "known_at": when, "inspected_at": when}
        client.send("/v1/outcomes", make_outcome(f"RB{number}", **found))


def make_past(folder: Path, bundle: Path) -> Path:
    """Make a log of old consignments, and of later ones of the same senders, the last of them more than a year later."""
    publish(folder, bundle, "1")
    clock = SetClock()
    with serving(settings_in(folder), clock) as client:
        clock.now_us = to_us(day(OLD))
        live(client, 0, range(OLD))
        clock.now_us = to_us(day(205))
        live(client, 200, range(100, 100 + BETWEEN))
        for place in range(LAST):
            clock.now_us = to_us(day(LATER + place + 1))
            live(client, LATER + place, range(OLD + place, OLD + place + 1))
    return folder


def forget_old(folder: Path, **options: Any) -> RetentionResult:
    return forget(settings_in(folder), day(BEFORE), APPROVAL, **options)
