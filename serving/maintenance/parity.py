"""Parity: every logged decision is computed anew by the batch form and compared to the last bit; operations run it nightly.

    sequence 7   RB1 is imported                     joins history
    sequence 8   RB2 is scored by nps-risk/1         computed anew by the bundle of nps-risk/1, after 1 to 7; compared
    sequence 9   RB3 is scored by a model now gone   joins history; counted as not compared, with the reason

A decision is compared in its features, score, band, keys of history and counterparts. Floats are equal where their bits
are, and NaN equals NaN alone.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from consignments.errors import BundleRefused, UnknownName
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from serving.encryption.vault import Vault
from serving.event_log.event_codec import stored_features, stored_keys
from serving.event_log.events import Event
from serving.event_log.reader import LogReader, Progress
from serving.maintenance.recomputation import (
    NOT_FOR_ORDER,
    Family,
    Keys,
    Member,
    Piece,
    Recomputation,
    Rows,
    Told,
    pieces,
    read_arrivals,
)
from serving.scoring.past_models import Bundles

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = 10
"""Differences, and decisions that were not compared, that are shown."""
OTHER_KEYS = "its keys of history are made in the way of another version of npsrisk"
DAMAGED = "its entry is damaged; run npsrisk verify-log"
ModelName = str
"""`NAME/VERSION`."""


@dataclass(frozen=True)
class Wanted:
    """Which decisions are compared; whatever is chosen, all of the log before them joins the history.

    Attributes
    ----------
    from_us, until_us : int or None
        When they were scored; `until_us` excluded.
    models : tuple of str
        `NAME/VERSION`; empty for all.
    """

    from_us: int | None = None
    until_us: int | None = None
    models: tuple[ModelName, ...] = ()

    def takes(self, event: Event) -> bool:
        """Tell whether an entry is one of them."""
        scored_us = event.recorded_us
        if event.kind != "decision" or scored_us is None or (self.models and event.model not in self.models):
            return False
        return (self.from_us is None or scored_us >= self.from_us) and (
            self.until_us is None or scored_us < self.until_us
        )


class Difference(NamedTuple):
    """A value of a decision that comes out otherwise.

    Attributes
    ----------
    sequence : int
    decision_id, consignment_id, model : str
    value : str
        Name of the feature, `score`, `band`, `key NAME` or `counterpart of NAME`.
    logged, recomputed : str
        Numbers with all their digits; keys in hexadecimal digits.
    """

    sequence: int
    decision_id: str
    consignment_id: str
    model: ModelName
    value: str
    logged: str
    recomputed: str


@dataclass
class Findings:
    """What the comparison found.

    Attributes
    ----------
    log_id : str
    last_sequence : int
        Of the last entry there was.
    decisions : int
        Those asked for.
    compared : int
        Of them, those that were computed anew.
    values : int
        Values that were compared.
    differing : int
        Decisions in which anything differs.
    differences : Counter
        Name of a value to the number of decisions in which it differs.
    examples : list of Difference
        The first ones.
    not_compared : Counter
        Reason to the number of decisions.
    not_compared_examples : list of str
        The first ones, by `decision_id`.
    unread : Counter
        Entries that history or alerts had to do without, or with what was logged: reason to number.
    forgotten : int
        Decisions that would have been asked for, had their content not been removed on record.
    erased : Counter
        Record that the key of a month was erased to the number of decisions that would have been asked for but for that.
    """

    log_id: str
    last_sequence: int
    decisions: int = 0
    compared: int = 0
    values: int = 0
    differing: int = 0
    differences: Counter[str] = field(default_factory=Counter)
    examples: list[Difference] = field(default_factory=list)
    not_compared: Counter[str] = field(default_factory=Counter)
    not_compared_examples: list[str] = field(default_factory=list)
    unread: Counter[str] = field(default_factory=Counter)
    forgotten: int = 0
    erased: Counter[str] = field(default_factory=Counter)

    @property
    def equal(self) -> bool:
        """Everything was compared, and nothing differs."""
        return self.compared == self.decisions and not self.differences and not self.unread

    def add(self, found: Sequence[Difference]) -> None:
        """Count the differences of some decisions."""
        self.differences.update(each.value for each in found)
        self.differing += len({each.sequence for each in found})
        self.examples += found[: EXAMPLES - len(self.examples)]

    def leave_out(self, decisions: int, reason: str, first: Sequence[str]) -> None:
        """Count decisions that cannot be computed anew; `first` are the first ones, by `decision_id`."""
        self.not_compared[reason] += decisions
        self.not_compared_examples += first[: EXAMPLES - len(self.not_compared_examples)]

    def text(self) -> str:
        """Put the findings into words."""
        lines = [
            f"log {self.log_id} up to entry {self.last_sequence:,}: {self.compared:,} of {self.decisions:,} decisions "
            f"computed anew, {self.values:,} values compared, {self.differing:,} decisions differ"
        ]
        if self.forgotten:
            lines.append(
                f"  {self.forgotten:,} more cannot be computed anew: npsrisk forget removed their content"
            )
        lines += [f"  {count:,} more cannot be computed anew: {why}" for why, count in self.erased.items()]
        lines += [f"  not compared, {count:,} x: {why}" for why, count in self.not_compared.most_common()]
        lines += [f"    as {', '.join(self.not_compared_examples)}"] if self.not_compared_examples else []
        lines += [f"  history is unsure, {count:,} x: {why}" for why, count in self.unread.most_common()]
        lines += [f"  {value} differs in {count:,}" for value, count in self.differences.most_common()]
        lines += [
            f"    {each.decision_id} of {each.consignment_id}, {each.value}: logged {each.logged}, "
            f"recomputed {each.recomputed}"
            for each in self.examples
        ]
        return "\n".join([*lines, "all equal to the last bit" if self.equal else "NOT ALL EQUAL"])

    def to_dict(self) -> dict[str, Any]:
        """Give them as plain values, for JSON."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        return plain | {"equal": self.equal, "examples": [each._asdict() for each in self.examples]}


class Parity:
    """Compares the decisions of a log.

    Parameters
    ----------
    log : LogReader
        Entries up to its `last_sequence` are looked at.
    vault : Vault
        With the keys by month, which may be read meanwhile.
    pseudonyms : Pseudonyms
        Of the same data key.
    bundles : Bundles
    wanted : Wanted
    progress : callable, optional

    Attributes
    ----------
    findings : Findings
        Complete after `run`, or once all of `differences` or `tables` was taken.

    Raises
    ------
    BadSetting
        Where the data key is not this log's.
    ServiceFault
        Where the key of a month is missing.
    """

    def __init__(
        self,
        log: LogReader,
        vault: Vault,
        pseudonyms: Pseudonyms,
        bundles: Bundles,
        wanted: Wanted,
        progress: Progress | None = None,
    ) -> None:
        self._log, self._bundles, self._wanted, self._progress = log, bundles, wanted, progress
        self._vault, self._pseudonyms = vault, pseudonyms
        log.require(vault)
        self._emptied_up_to = log.emptied_up_to()
        self.findings = Findings(log.log_id, log.last_sequence)

    def run(self) -> Findings:
        """Compute everything anew; what differs is counted, and the first ones are kept."""
        for _ in self.differences():
            pass
        return self.findings

    def tables(self) -> "Iterator[pd.DataFrame]":
        """Give what `differences` gives as tables, the first of them empty."""
        yield table_of([])
        for found in self.differences():
            yield table_of(found)

    def differences(self) -> Iterator[list[Difference]]:
        """Compute everything anew, and give what differs piece by piece.

        Raises
        ------
        UnknownName
            Where the log has no decision of a wanted model.
        ServiceFault
            Where the log cannot be read.
        """
        scored, last = self._look()
        self.findings.decisions = sum(each.decisions for each in scored.values())
        told = Told.read(self._log, self._vault, last)
        self._note(told.unread)
        families = self._families(scored, told)
        arrivals = read_arrivals(self._log, last, told)
        total = len(families) * len(arrivals.received_us)
        done = 0
        for family in families:
            again = Recomputation(family, told, arrivals, self._vault)
            for events in pieces(self._log, last):
                mine = [self._asks(event) and event.model_sha256 in family for event in events]
                piece = again.take(events, np.array(mine))
                if family is families[0]:
                    self._note(piece.unread)
                for event, reason in piece.unread:
                    if self._asks(event) and event.model_sha256 in family:
                        self._leave_out(event.sequence, reason)
                for event in piece.erased:
                    if self._asks(event) and event.model_sha256 in family:
                        self._count_erased(event)
                yield self._compare(piece, family)
                done += len(events)
                if self._progress is not None:
                    self._progress("parity", done, total)

    def _look(self) -> tuple[dict[tuple[ModelName, str], "_Scored"], int]:
        """Find the bundles of the decisions that are asked for, and the place of the last of these."""
        scored: dict[tuple[ModelName, str], _Scored] = {}
        known, last = set[str](), 0
        for event in self._log.events(
            until=self._log.last_sequence, kinds=("decision",), without=NOT_FOR_ORDER
        ):
            known.add(event.model or "")
            if self._wanted.takes(event) and not self._asks(event):
                self.findings.forgotten += 1
            elif self._wanted.takes(event):
                scored.setdefault((event.model or "", event.model_sha256 or ""), _Scored()).add(event)
                last = event.sequence
        for model in self._wanted.models:
            if model not in known:
                raise UnknownName.among(model, known, kind="model", where="--model")
        return scored, last

    def _families(self, scored: dict[tuple[ModelName, str], "_Scored"], told: Told) -> list[Family]:
        """Put the bundles together that share a history; decisions of those that are gone are left out."""
        families: dict[bytes, Family] = {}
        for (model, sha256), each in sorted(scored.items()):
            try:
                method = self._bundles.find(model, sha256)
                member = Member(method, method.pipeline(self._pseudonyms, told.alerts))
            except BundleRefused as error:
                self.findings.leave_out(each.decisions, f"{model}: {error}", self._named(each.first))
                continue
            families.setdefault(msgspec.json.encode(method.config), {})[sha256] = member
        return list(families.values())

    def _asks(self, event: Event) -> bool:
        return event.sequence > self._emptied_up_to and self._wanted.takes(event)

    def _leave_out(self, sequence: int, reason: str) -> None:
        self.findings.leave_out(1, reason, self._named([sequence]))

    def _count_erased(self, event: Event) -> None:
        self.findings.erased[str(self._vault.erasure_of(event.sealed))] += 1
        self.findings.decisions -= 1

    def _named(self, sequences: Sequence[int]) -> list[str]:
        return [self._log.decision_id(sequence) for sequence in sequences]

    def _note(self, unread: Sequence[tuple[Event, str]]) -> None:
        self.findings.unread.update(f"{event.kind}: {reason}" for event, reason in unread)

    def _compare(self, piece: Piece, family: Family) -> list[Difference]:
        """Compare the decisions of a piece; those of one bundle are scored together."""
        found: list[Difference] = []
        for sha256, member in family.items():
            rows = [row for row, event in enumerate(piece.decisions) if event.model_sha256 == sha256]
            if not rows:
                continue
            judge = member.method.judge
            scores = judge.score(piece.X[rows], [piece.channels[row] for row in rows])
            for row, score, band in zip(rows, scores.tolist(), judge.bands_of(scores), strict=True):
                event = piece.decisions[row]
                if event.kinds != piece.kinds:
                    self._leave_out(event.sequence, OTHER_KEYS)
                    continue
                try:
                    found += self._named_differences(event, piece, row, score, band, member.pipeline)
                except ValueError:
                    self._leave_out(event.sequence, DAMAGED)
        found.sort(key=_by_sequence)
        self.findings.add(found)
        return found

    def _named_differences(
        self, event: Event, piece: Piece, row: int, score: float, band: str, pipeline: Pipeline
    ) -> list[Difference]:
        names, kinds = pipeline.spec.names, [kind.name for kind in pipeline.kinds]
        place = piece.places[row]
        keys, counterparts = stored_keys(event)
        values = [
            *_different_floats(names, stored_features(event), piece.X[row]),
            *_different_words("key", kinds, keys, piece.keys[place]),
            *_different_words("counterpart of", kinds, counterparts, piece.counterparts[place]),
        ]
        if event.score is None or event.score.hex() != score.hex():
            values.append(("score", repr(event.score), repr(score)))
        if event.band != band:
            values.append(("band", str(event.band), band))
        self.findings.compared += 1
        self.findings.values += len(names) + 2 * len(kinds) + len(("score", "band"))
        where = (
            event.sequence,
            self._log.decision_id(event.sequence),
            event.consignment_id or "",
            event.model or "",
        )
        return [Difference(*where, *value) for value in values]


@dataclass
class _Scored:
    """Decisions of one bundle: how many, and the sequences of the first."""

    decisions: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, event: Event) -> None:
        self.decisions += 1
        if len(self.first) < EXAMPLES:
            self.first.append(event.sequence)


Value = tuple[str, str, str]
"""Name of a value, what was logged, what comes out."""


def _different_floats(names: Sequence[str], logged: Rows, recomputed: Rows) -> list[Value]:
    if len(logged) != len(names):
        return [("number of features", str(len(logged)), str(len(names)))]
    other = logged.view(np.uint32) != recomputed.view(np.uint32)
    other &= ~(np.isnan(logged) & np.isnan(recomputed))
    return [
        (names[place], str(logged[place]), str(recomputed[place])) for place in np.flatnonzero(other).tolist()
    ]


def _different_words(what: str, kinds: Sequence[str], logged: Keys, recomputed: Keys) -> list[Value]:
    if len(logged) != len(kinds):
        return [(f"number of {what}", str(len(logged)), str(len(kinds)))]
    return [
        (f"{what} {kinds[place]}", f"{logged[place]:016x}", f"{recomputed[place]:016x}")
        for place in np.flatnonzero(logged != recomputed).tolist()
    ]


def _by_sequence(found: Difference) -> int:
    return found.sequence


def table_of(found: Sequence[Difference]) -> "pd.DataFrame":
    """Give differences as a table."""
    import pandas as pd

    return pd.DataFrame(found, columns=list(Difference._fields)).astype(
        {name: "str" for name in Difference._fields if name != "sequence"} | {"sequence": "int64"}
    )
