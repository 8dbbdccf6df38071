"""Receptacles of post: what their UPU S9 identifier of 29 characters says."""

import re
from typing import Any

S9_FORM = re.compile(r"([A-Z]{6})([A-Z]{6})([A-Z])([A-Z]{2})([0-9A-Z]{14})", re.ASCII)


def build_receptacle_fields(number: str) -> dict[str, Any]:
    """Return route and countries of a receptacle: six characters for each of two offices of exchange, of which two are the country."""
    found = S9_FORM.fullmatch(number.replace(" ", "").upper())
    if found is None:
        return {}
    origin, destination = found[1], found[2]
    return {
        "route": f"{origin}>{destination}",
        "departure_country": origin[:2],
        "destination_country": destination[:2],
    }
