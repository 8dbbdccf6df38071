"""Promotion records: who approved which version, when, why, and on what evidence. They are append-only and hash-chained.

Each record has the hash of the record before it, so that a change, also a record inserted or deleted before the last one, is detected.
A chain without its last records is valid too: the publisher detects it by the record of the release that it published before.
"""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from consignments.errors import PromotionRefused

GENESIS_SHA256 = "0" * 64  # previous hash of the first record
EARLIEST = datetime.min.replace(tzinfo=UTC)
RESULTS = BROKEN, UNDECIDED, UNCHECKED, HOLDS = ("does not hold", "undecided", "not checked", "holds")
"""Results of a rule of the gate, the worst first."""


class Figure(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A figure with its 95 % interval and three significant digits; without a value, the reason."""

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""


class DeployedFigures(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Figures of the recipe as deployed, by inspection results: counts, and estimates for all traffic."""

    arrivals: str  # the period in words
    daily_capacity: int  # inspections in each office
    known: int  # finds
    effective: float  # equally weighted finds that tell as much
    found: dict[str, float]  # finds ranked within `1pct`, `capacity`, …
    metrics: dict[str, Figure]  # `recall_at_1pct`, `calibration_ratio`, …


class PromotionRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The record of one promotion: who made which version, with which bundle, the champion, in which way and why."""

    number: int
    name: str
    version: str
    replaces: str | None
    bundle_sha256: str
    recipe_sha256: str  # of settings and features, which a routine refit keeps; empty if nobody vouched
    approved_by: str
    why: str
    approved_at: Annotated[datetime, Meta(tz=True)]
    way: str
    sentence: str
    rules: dict[str, Any]  # what each found, and whether it holds: true, false, or None if it was not checked
    comparison: str | None
    forced: bool  # also in every later record of the bundle until every rule holds
    figures: DeployedFigures | None  # at the time of promotion; None if the run holds no scores
    previous_sha256: str

    @property
    def title(self) -> str:
        """Return its name for texts."""
        return f"record {self.number} of {self.name}"

    def name_results(self) -> dict[str, str]:
        """Name the result of each rule."""
        known = {name: (rule["held"], rule.get("undecided", False)) for name, rule in self.rules.items()}
        return {name: name_result(held, undecided=undecided) for name, (held, undecided) in known.items()}

    def compute_sha256(self) -> str:
        """Compute the SHA-256 of the record, as hexadecimal digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Convert the record to JSON with its fields in a fixed order."""
        return msgspec.json.encode(self, order="sorted").decode()

    def to_markdown(self, earlier: Sequence["PromotionRecord"] = ()) -> str:
        """Describe the record for people: who, when, why, each rule and what stands against it, and the earlier records of the version."""
        replaces = "" if self.replaces is None else f", in place of version {self.replaces}"
        results = self.name_results()
        lines = [
            f"## Promoted by {self.approved_by}, {self.approved_at:%Y-%m-%d %H:%M} UTC{replaces}",
            "",
            *(["**Forced, against the gate.**", ""] if self.forced else []),
            *(
                f"Record {each.number} of {each.approved_at:%Y-%m-%d}, by {each.approved_by}"
                f"{': **forced, against the gate**' if each.forced else ''}.\n"
                for each in earlier
            ),
            f"> {_escape(self.why)}",
            "",
            self.sentence,
            "",
            f"Record {self.number}, {self.compute_sha256()[:12]}; bundle {self.bundle_sha256[:12]}; "
            + ("no comparison." if self.comparison is None else f"comparison {self.comparison}."),
            "",
            *(
                f"- {name}: **{result}**, {_escape(self.rules[name]['found'])}"
                for name, result in results.items()
                if result != HOLDS
            ),
            f"- {HOLDS}: {', '.join(name for name, result in results.items() if result == HOLDS) or 'no rule'}",
        ]
        return "\n".join(lines)

    @classmethod
    def from_json(cls, text: str | bytes) -> "PromotionRecord":
        """Parse a record; raise `PromotionRefused` if it is not one."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.DecodeError as error:
            raise PromotionRefused("a promotion record cannot be read", got=str(error)) from error


def name_result(held: bool | None, *, undecided: bool = False) -> str:
    """Name the result of a rule: `held` is None if it was not checked, and `undecided` says that too little is known."""
    return UNDECIDED if undecided and not held else {True: HOLDS, False: BROKEN, None: UNCHECKED}[held]


def _escape(text: str) -> str:
    """Escape a text for a line of Markdown."""
    return " ".join(text.split()).replace("|", "\\|")


def verify_chain(records: Sequence[PromotionRecord]) -> None:
    """Verify that the hash chain is valid from the first record on, and that times never go back; `PromotionRefused` if not."""
    before, earliest = GENESIS_SHA256, EARLIEST
    for number, record in enumerate(records, start=1):
        where = f"record {number} of {record.name}"
        if record.number != number or record.previous_sha256 != before:
            got = f"number {record.number}, previous {record.previous_sha256[:12]}"
            expected = f"number {number}, previous {before[:12]}"
            what = "the chain of promotion records is broken"
            todo = "find out who changed the registry before you promote again"
            raise PromotionRefused(what, where=where, got=got, expected=expected, todo=todo)
        if record.approved_at < earliest:
            what = "a promotion record is dated before the record that it follows"
            got, expected = (f"{time:%Y-%m-%d %H:%M:%S} UTC" for time in (record.approved_at, earliest))
            todo = "if it is being written now, correct the clock of this machine; else find out who wrote it: a key that has ended may have signed it"
            raise PromotionRefused(what, where=where, got=got, expected=f"{expected} or later", todo=todo)
        before, earliest = record.compute_sha256(), record.approved_at
