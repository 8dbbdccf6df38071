"""Alerts in force during an operation, for benchmarks: names, addresses, words and codes of simulated consignments, and indicators."""

from datetime import UTC, datetime
from itertools import cycle, islice
from typing import Any

import pandas as pd

ISSUED_AT = datetime(2020, 1, 1, tzinfo=UTC)
STEP = 37
"""Rows between two consignments that alerts name."""


def list_alerts(frame: pd.DataFrame, count: int) -> list[dict[str, Any]]:
    """List the fields of some alerts, one kind after the other, all in force at any time of a simulation.

    Parameters
    ----------
    frame : DataFrame
        Simulated consignments. Every kind of alert names some of them, or what is rare in them.
    count : int
    """
    named = frame.dropna(subset=["sender_name", "consignee_address"])
    rows = cycle(named.iloc[::STEP].to_dict("records"))
    return [
        {"alert_id": f"A{place}", "issued_at": ISSUED_AT, **_choose_pattern(place, row)}
        for place, row in enumerate(islice(rows, count))
    ]


def _choose_pattern(place: int, row: dict[str, Any]) -> dict[str, Any]:
    patterns: tuple[dict[str, Any], ...] = (
        {"sender_name": row["sender_name"]},
        {"consignee_address": row["consignee_address"]},
        {"description_pattern": ("*nitazene*", "metonitaz*", "3-CMC", "*caine hcl")[place // 4 % 4]},
        {"hs_code": f"2939{place % 90 + 10}", "departure_country": "CN"},
    )
    return patterns[place % len(patterns)]
