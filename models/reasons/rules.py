"""The rules by which facts and reasons are chosen: `models/reason_texts/rules.toml`, which explains each."""

from importlib.resources import files
from typing import Literal

import msgspec

Rank = Literal["", "find", "link", "words", "contradiction", "value", "vague", "count", "last", "context"]
"""The place of a fact among others."""


class ReasonRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits, the names for which a rule holds, patterns of descriptions, and tables."""

    max_facts: int
    max_said: int
    min_fact_share: float
    min_fact: float
    min_contribution: float
    min_first: float
    min_last: float
    vague_lag: float
    min_repeats: int
    min_busy: int
    min_busy_firm: int
    busy_week: int
    old_find_days: int
    min_rate_ratio: float
    min_inspections: int
    min_share_of_finds: float
    min_major_details: int
    many_in_building: int
    many_of_name: int
    max_excess: float
    min_grams_a_piece: float
    min_grams_of_small: float
    min_dollars_a_piece: float
    min_ratio: float
    min_ratio_of_value: float
    min_ratio_of_channel: float
    small_difference: float
    huge: float
    max_code_letters: int
    never_absent: tuple[str, ...]
    of_known_keys: tuple[str, ...]
    minor_details: tuple[str, ...]
    says_more: tuple[str, ...]
    hints: tuple[str, ...]
    not_ordinary: tuple[str, ...]
    small: tuple[str, ...]
    supplements: tuple[str, ...]
    supplement_headings: tuple[str, ...]
    china: tuple[str, ...]
    papers: tuple[str, ...]
    counted_pieces: str
    made_of: str
    measure: str
    head_starts: dict[Rank, float]
    kilograms: dict[str, float]
    ties: dict[str, dict[str, str]]
    joined: dict[str, tuple[str, ...]]


_CONTENT = files("models").joinpath("reason_texts", "rules.toml").read_bytes()
RULES = msgspec.toml.decode(_CONTENT, type=ReasonRules)
