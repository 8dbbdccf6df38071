"""Alerts in force during an operation, for benchmarks: names, addresses, words and codes of simulated consignments, and indicators of some."""

from datetime import UTC, datetime
from itertools import cycle, islice
from typing import Any

import pandas as pd

ISSUED_AT = datetime(2020, 1, 1, tzinfo=UTC)
OPERATION, SECRET = "BENCHMARK", bytes(32)
STEP = 37
"""Rows between two consignments that alerts name."""
PATTERNS = ("*nitazene*", "metonitaz*", "3-CMC", "*caine hcl")


def list_alerts(frame: pd.DataFrame, count: int, seizures: int = 0) -> list[dict[str, Any]]:
    """List the fields of some alerts, all in force at any time of a simulation.

    Parameters
    ----------
    frame : DataFrame
        Simulated consignments.
    count : int
        Alerts with patterns: a quarter each name a sender, a consignee's address, words of substances, and a product with its departure.
    seizures : int
        Alerts with the indicators of both parties of a consignment, under the key of OPERATION and SECRET.
    """
    named = frame.dropna(subset=["sender_name", "consignee_address"])
    rows = cycle(named.iloc[::STEP].to_dict("records"))
    chosen = [_choose_pattern(place, row) for place, row in enumerate(islice(rows, count))]
    chosen += [{"indicators": each} for each in _list_indicators(named.iloc[1::STEP].head(seizures))]
    return [{"alert_id": f"A{place}", "issued_at": ISSUED_AT, **each} for place, each in enumerate(chosen)]


def _choose_pattern(place: int, row: dict[str, Any]) -> dict[str, Any]:
    patterns: tuple[dict[str, Any], ...] = (
        {"sender_name": row["sender_name"]},
        {"consignee_address": row["consignee_address"]},
        {"description_pattern": PATTERNS[place // 4 % len(PATTERNS)]},
        {"hs_code": f"2939{place % 90 + 10}", "departure_country": "CN"},
    )
    return patterns[place % len(patterns)]


def _list_indicators(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    from consignments.records import Consignment
    from consignments.tables import check_frame, to_consignments
    from features.indicators.operation_keys import OperationKey
    from features.indicators.values import compute_indicators

    key = OperationKey(OPERATION, SECRET)
    records: list[Consignment] = to_consignments(check_frame(frame, Consignment).frame, Consignment)
    return [compute_indicators(c, key) for c in records]
