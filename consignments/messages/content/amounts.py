"""Amounts of items: sums in one currency, and units that contradict each other or what post carries."""

from math import isclose
from typing import Any

from consignments.messages.content.values import Fields, get_first
from consignments.messages.quantities import Doubts

MAX_ITEM_KILOGRAMS = 50.0
"""Posts carry at most 20 or 30 kg, some 50 (UPU Convention, Regulations); more is likely grams read as kilograms."""
MIN_ITEM_KILOGRAMS = 0.001
"""Less than a gram is likely kilograms read as grams."""
NET_TOLERANCE, NET_TOLERANCE_KG = 1.05, 0.005
"""Net weights are rounded: their sum may exceed the gross weight by this much."""
SUM_TOLERANCE = 0.005


def sum_values(items: list[Fields], doubts: Doubts) -> tuple[float | None, str | None]:
    """Add up the values of items; in several currencies there is no sum, and values in another than the first are dropped."""
    currencies = list(
        dict.fromkeys(item["currency"] for item in items if item["value"] is not None and item["currency"])
    )
    values = [item["value"] for item in items if item["value"] is not None]
    if len(currencies) > 1:
        doubts.add("currency_mixed")
        for item in items:
            if item["currency"] not in (None, currencies[0]):
                item["value"] = None
        return None, currencies[0]
    total: Any = round(sum(values), 6) if values else None
    return total, currencies[0] if currencies else get_first(items, "currency")


def find_unit_doubts(gross_kg: float | None, items: list[Fields], channel: str) -> set[str]:
    """Find weights that cannot be right in the unit they were read in."""
    nets = [item["net_weight_kg"] for item in items if item.get("net_weight_kg") is not None]
    weights = [weight for weight in (gross_kg, *nets) if weight]
    implausible = channel == "postal" and any(
        not MIN_ITEM_KILOGRAMS <= weight <= MAX_ITEM_KILOGRAMS for weight in weights
    )
    too_heavy = gross_kg is not None and sum(nets) > gross_kg * NET_TOLERANCE + NET_TOLERANCE_KG
    return {"unit_doubtful"} if implausible or too_heavy else set()


def infer_per_unit(items: list[Fields], column: str, total: float | None) -> bool | None:
    """Decide from a declared total whether the amounts of items are per unit; None if it does not decide."""
    pairs = [(item[column], item.get("quantity") or 1.0) for item in items if item.get(column) is not None]
    if total is None or not pairs:
        return None
    if isclose(sum(amount for amount, _ in pairs), total, rel_tol=SUM_TOLERANCE, abs_tol=SUM_TOLERANCE):
        return False
    multiplied = sum(amount * count for amount, count in pairs)
    return True if isclose(multiplied, total, rel_tol=SUM_TOLERANCE, abs_tol=SUM_TOLERANCE) else None


def has_several_units(items: list[Fields]) -> bool:
    """Check whether per unit and total differ for any item."""
    return any((item.get("quantity") or 1.0) != 1.0 for item in items)


def multiply_units(items: list[Fields], column: str) -> None:
    """Multiply amounts per unit to amounts of the whole item."""
    for item in items:
        amount, count = item.get(column), item.get("quantity")
        if amount is not None and count is not None:
            item[column] = round(amount * count, 9)
