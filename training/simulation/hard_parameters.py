"""Parameters of the hard worlds only: spelling, lasting identifiers, shared addresses, borrowed names, waves.

Each set of the preset `hard` is one file of the folder `hard`; values that it does not name are those of `world.toml`. A pair
has the order of the signs in `world.toml`: for networks' consignments, and for honest ones.
"""

from pathlib import Path
from typing import Literal

import msgspec

Shares = dict[str, float]
Pair = tuple[float, float]


class ParameterTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Table of the parameter files; an unknown or a missing name is an error."""


SETS_FOLDER = Path(__file__).parent / "hard"
HARD = "hard"
DEFAULT_SET = "sweden"
"""The set that `hard` alone selects."""
Identifier = Literal[
    "sender_phone",
    "sender_phone_block",
    "email_domain",
    "account",
    "drop_address",
    "drop_building",
    "customer_phone",
    "customer_phone_block",
    "wording",
    "figures",
    "route",
]
"""What a network may keep when all else changes; a block is a number without its last digits, figures are weight and value."""
Reaction = Literal["everything", "senders", "customers", "goods", "route", "spelling"]
"""What a network changes after a seizure; `spelling` keeps its parties but changes their spelling from then on."""


class SpellingNoise(ParameterTable, frozen=True):
    """Distortion of names, addresses and phones; the probabilities are for each text and independent.

    `lasting` is the probability that a party is distorted in the same way every time. `by_networks` is the factor of all
    probabilities for networks' consignments. `variants` are groups of spellings of one word or sound, `city_names` other names of
    cities.
    """

    lasting: Pair
    by_networks: float
    variants: tuple[tuple[str, ...], ...]
    titles: tuple[str, ...]
    city_names: dict[str, str]
    variant: float
    plain_letters: float
    initial: float
    title: float
    joined: float
    order: float
    unit_moved: float
    unit_lost: float
    care_of: float
    typo: float
    phone_prefix: float
    phone_digit: float
    city: float
    postcode: float


class SharedAddresses(ParameterTable, frozen=True):
    """Buildings of freight forwarders and of boxes at the destination, used by honest people too; `unit` is a pattern."""

    buildings: int
    units: int
    unit: str
    used: Pair


class LastingIdentifiers(ParameterTable, frozen=True):
    """Identifiers that networks keep or change.

    `kept` are independent probabilities; `untraceable` is the share of networks that keep nothing. `reborn` is the probability for
    30 days that a network ends, pauses, and starts again under other names.
    """

    kept: dict[Identifier, float]
    untraceable: float
    changed: dict[Reaction, float]
    reborn: float
    pause_days: Pair
    late: float
    late_days: Pair


class BorrowedIdentities(ParameterTable, frozen=True):
    """Names that networks borrow: firms with their address, and earlier honest consignees with theirs."""

    firm: float
    consignee: float


class HonestHabits(ParameterTable, frozen=True):
    """Habits of honest parties that look like a network's: own domains, own wordings, repeated prices.

    `second_name` is the probability that a person with a name only in Latin letters has a second given name, and `local_text`
    the share of senders who write in the language of the destination.
    """

    own_domain: float
    wording: float
    price_points: float
    second_name: float
    local_text: float


class Wave(ParameterTable, frozen=True):
    """A change that reaches a share of the networks within some days; an empty table changes nothing."""

    day: int
    over: int
    share: float
    origins: Shares = msgspec.field(default_factory=dict)
    services: Shares = msgspec.field(default_factory=dict)
    covers: Shares = msgspec.field(default_factory=dict)
    families: tuple[str, ...] = ()
    kept: dict[Identifier, float] = msgspec.field(default_factory=dict)


class HardParameters(ParameterTable, frozen=True):
    """All parameters that only a hard world has; `held_out` sets are not used while a model is developed."""

    held_out: bool
    unbetrayed: float
    spelling: SpellingNoise
    addresses: SharedAddresses
    identifiers: LastingIdentifiers
    borrowed: BorrowedIdentities
    honest: HonestHabits
    waves: tuple[Wave, ...]


def list_hard_sets() -> tuple[str, ...]:
    """List the names of the sets in alphabetical order."""
    return tuple(sorted(path.stem for path in SETS_FOLDER.glob("*.toml")))
