"""Measure an attack by dictionary on indicators: how many guesses a second a holder of the key of an operation can test.

    python -m benchmarks.dictionary_attack [--guesses 300000]

The attacker tries all values of a kind: mobile numbers, names, premises. Without the key every guess needs the right one of 2**256
keys as well, so the dictionary is of no use. With the key, the indicators of a party are recovered if the dictionary has its value.
The times are for one core; an attacker with n cores needs an n-th of them.
"""

import secrets
import time
from typing import NamedTuple

from benchmarks.script import parse_options
from features.indicators.operation_keys import SECRET_BYTES, OperationKey
from features.normalization.names import normalize_name
from features.normalization.phones import normalize_phone

HOUR = 3600.0


class Space(NamedTuple):
    """A set of values that an attacker tries."""

    text: str
    kind: str
    resolution: str
    values: float


SPACES = (
    Space("all mobile numbers of a country with 8 free digits", "phone", "exact", 1e8),
    Space("the last 8 digits, of any country", "phone", "local", 1e8),
    Space("names: 300 family names with 30,000 given names", "name", "exact", 9e6),
    Space("premises: 35,000 postcodes with 2,000 house and flat numbers", "address", "premises", 7e7),
)


def measure_rate(key: OperationKey, kind: str, resolution: str, guesses: int) -> float:
    """Return the guesses a second at values that are in normal form already."""
    values = [f"82{number:010d}" for number in range(guesses)]
    began = time.perf_counter()
    for value in values:
        key.compute(kind, resolution, value)
    return guesses / (time.perf_counter() - began)


def recover(key: OperationKey, guesses: int) -> tuple[int, int]:
    """Return how many of 100 hidden numbers are recovered with the key, and how many with another key."""
    hidden = [f"82{number:010d}" for number in range(0, guesses, max(guesses // 100, 1))][:100]
    tokens = {key.compute("phone", "exact", value).partition("/")[2] for value in hidden}
    other = OperationKey(key.operation, secrets.token_bytes(SECRET_BYTES))
    found = [
        sum(
            one.compute("phone", "exact", f"82{number:010d}").partition("/")[2] in tokens
            for number in range(guesses)
        )
        for one in (key, other)
    ]
    return found[0], found[1]


def format_time(seconds: float) -> str:
    """Format a time for people."""
    return f"{seconds / HOUR:.1f} h" if seconds >= HOUR else f"{seconds / 60:.1f} min"


def main() -> None:
    guesses = parse_options(__doc__, guesses=300_000).guesses
    key = OperationKey("EXAMPLE", secrets.token_bytes(SECRET_BYTES))
    with_key, without = recover(key, guesses)
    print(
        f"of 100 numbers that are in the dictionary: {with_key} recovered with the key, {without} with another key"
    )
    print("| dictionary | values | guesses a second | one core |\n|---|---|---|---|")
    for each in SPACES:
        rate = measure_rate(key, each.kind, each.resolution, guesses)
        print(f"| {each.text} | {each.values:.0e} | {rate:,.0f} | {format_time(each.values / rate)} |")
    began = time.perf_counter()
    for number in range(10_000):
        normalize_phone(f"010-{number:08d}", "KR")
        normalize_name(f"Kim Min-su {number}")
    seconds = (time.perf_counter() - began) / 20_000
    print(
        f"bringing a guess into normal form costs {seconds * 1e6:.1f} microseconds more, once for all operations"
    )


if __name__ == "__main__":
    main()
