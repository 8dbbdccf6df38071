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
from serving.event_log.event_codec import decode_features, decode_keys
from serving.event_log.events import ArrivalEvent, DecisionEvent, Event
from serving.event_log.key_erasures import check_vault
from serving.event_log.reader import LogReader, Progress
from serving.event_log.redactions import find_redaction_end
from serving.maintenance.recomputation import (
    EXCLUDED_FROM_ORDER,
    BundleGroup,
    Keys,
    MethodPipeline,
    OutcomeEvents,
    Recomputation,
    RecomputedChunk,
    Rows,
    read_arrivals,
    read_chunks,
)
from serving.scoring.past_models import PastModels

if TYPE_CHECKING:
    import pandas as pd

MAX_EXAMPLES = 10
"""Differences, and decisions that were not compared, that are shown."""
OTHER_KEYS = "its keys of history are made in the way of another version of npsrisk"
DAMAGED = "its entry is damaged; run npsrisk verify-log"
ModelId = str
"""`NAME/VERSION`."""


@dataclass(frozen=True)
class DecisionFilter:
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
    models: tuple[ModelId, ...] = ()

    def matches(self, event: DecisionEvent) -> bool:
        """Tell whether a decision is one of them."""
        if self.models and event.model not in self.models:
            return False
        scored_us = event.recorded_us
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
    model: ModelId
    value: str
    logged: str
    recomputed: str


@dataclass
class ParityReport:
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
        self.examples += found[: MAX_EXAMPLES - len(self.examples)]

    def exclude(self, decisions: int, reason: str, first: Sequence[str]) -> None:
        """Count decisions that cannot be computed anew; `first` are the first ones, by `decision_id`."""
        self.not_compared[reason] += decisions
        self.not_compared_examples += first[: MAX_EXAMPLES - len(self.not_compared_examples)]

    def to_text(self) -> str:
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


class RecomputationSources(NamedTuple):
    """What decisions are recomputed with, besides the log.

    Attributes
    ----------
    vault : Vault
        With the keys by month, which may be read meanwhile.
    pseudonyms : Pseudonyms
        Of the same data key.
    models : PastModels
    """

    vault: Vault
    pseudonyms: Pseudonyms
    models: PastModels


class RecomputedDecision(NamedTuple):
    """A decision of the log, and what comes out.

    Attributes
    ----------
    logged : DecisionEvent
    features : float32 array
    keys, counterparts : uint64 array, (kinds,)
    score : float
    band : str
    """

    logged: DecisionEvent
    features: Rows
    keys: Keys
    counterparts: Keys
    score: float
    band: str


class ParityCheck:
    """Compares the decisions of a log.

    Parameters
    ----------
    log : LogReader
        Entries up to its `last_sequence` are looked at.
    sources : RecomputationSources
    wanted : DecisionFilter
    progress : callable, optional

    Attributes
    ----------
    findings : ParityReport
        Complete after `run`, or once all of `iterate_differences` or `iterate_tables` was taken.

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
        sources: RecomputationSources,
        wanted: DecisionFilter,
        progress: Progress | None = None,
    ) -> None:
        self._log, self._wanted, self._progress = log, wanted, progress
        self._vault, self._pseudonyms, self._models = sources
        check_vault(log, self._vault)
        self._emptied_up_to = find_redaction_end(log)
        self.findings = ParityReport(log.log_id, log.last_sequence)

    def run(self) -> ParityReport:
        """Compute everything anew; what differs is counted, and the first ones are kept."""
        for _ in self.iterate_differences():
            pass
        return self.findings

    def iterate_tables(self) -> "Iterator[pd.DataFrame]":
        """Give what `iterate_differences` gives as tables, the first of them empty."""
        yield build_table([])
        for found in self.iterate_differences():
            yield build_table(found)

    def iterate_differences(self) -> Iterator[list[Difference]]:
        """Compute everything anew, and give what differs piece by piece.

        Raises
        ------
        UnknownName
            Where the log has no decision of a wanted model.
        ServiceFault
            Where the log cannot be read.
        """
        scored, last = self._scan_decisions()
        self.findings.decisions = sum(each.decisions for each in scored.values())
        told = OutcomeEvents.read(self._log, self._vault, last)
        self._record_unread(told.unread)
        families = self._group_bundles(scored, told)
        arrivals = read_arrivals(self._log, last, told)
        total = len(families) * len(arrivals.received_us)
        done = 0
        for family in families:
            again = Recomputation(family, told, arrivals, self._vault)
            for events in read_chunks(self._log, last):
                mine = [self._is_compared(event, family) for event in events]
                piece = again.recompute(events, np.array(mine))
                if family is families[0]:
                    self._record_unread(piece.unread)
                for event, reason in piece.unread:
                    if self._is_compared(event, family):
                        self._exclude(event.sequence, reason)
                for arrival in piece.erased:
                    if self._is_compared(arrival, family):
                        self._count_erased(arrival)
                yield self._compare(piece, family)
                done += len(events)
                if self._progress is not None:
                    self._progress("parity", done, total)

    def _scan_decisions(self) -> tuple[dict[tuple[ModelId, str], "_BundleDecisions"], int]:
        """Find the bundles of the decisions that are asked for, and the place of the last of these."""
        scored: dict[tuple[ModelId, str], _BundleDecisions] = {}
        known, last = set[str](), 0
        for event in self._log.read_decisions(until=self._log.last_sequence, without=EXCLUDED_FROM_ORDER):
            known.add(event.model)
            if self._wanted.matches(event) and not self._is_selected(event):
                self.findings.forgotten += 1
            elif self._wanted.matches(event):
                scored.setdefault((event.model, event.model_sha256), _BundleDecisions()).add(event)
                last = event.sequence
        for model in self._wanted.models:
            if model not in known:
                raise UnknownName.from_candidates(model, known, kind="model", where="--model")
        return scored, last

    def _group_bundles(
        self, scored: dict[tuple[ModelId, str], "_BundleDecisions"], told: OutcomeEvents
    ) -> list[BundleGroup]:
        """Put the bundles together that share a history; decisions of those that are gone are left out."""
        families: dict[bytes, BundleGroup] = {}
        for (model, sha256), each in sorted(scored.items()):
            try:
                method = self._models.find(model, sha256)
                member = MethodPipeline(method, method.build_pipeline(self._pseudonyms, told.alerts))
            except BundleRefused as error:
                self.findings.exclude(each.decisions, f"{model}: {error}", self._decision_ids(each.first))
                continue
            families.setdefault(msgspec.json.encode(method.config), {})[sha256] = member
        return list(families.values())

    def _is_selected(self, event: DecisionEvent) -> bool:
        return event.sequence > self._emptied_up_to and self._wanted.matches(event)

    def _is_compared(self, event: Event, family: BundleGroup) -> bool:
        return isinstance(event, DecisionEvent) and self._is_selected(event) and event.model_sha256 in family

    def _exclude(self, sequence: int, reason: str) -> None:
        self.findings.exclude(1, reason, self._decision_ids([sequence]))

    def _count_erased(self, event: ArrivalEvent) -> None:
        self.findings.erased[str(self._vault.find_erasure(event.sealed))] += 1
        self.findings.decisions -= 1

    def _decision_ids(self, sequences: Sequence[int]) -> list[str]:
        return [self._log.format_decision_id(sequence) for sequence in sequences]

    def _record_unread(self, unread: Sequence[tuple[Event, str]]) -> None:
        self.findings.unread.update(f"{event.kind}: {reason}" for event, reason in unread)

    def _compare(self, piece: RecomputedChunk, family: BundleGroup) -> list[Difference]:
        """Compare the decisions of a piece; those of one bundle are scored together."""
        found: list[Difference] = []
        for sha256, member in family.items():
            for decision in _score_chunk(piece, sha256, member):
                if decision.logged.kinds != piece.kinds:
                    self._exclude(decision.logged.sequence, OTHER_KEYS)
                    continue
                try:
                    found += self._compare_decision(decision, member.pipeline)
                except ValueError:
                    self._exclude(decision.logged.sequence, DAMAGED)
        found.sort(key=_by_sequence)
        self.findings.add(found)
        return found

    def _compare_decision(self, decision: RecomputedDecision, pipeline: Pipeline) -> list[Difference]:
        names, kinds = pipeline.spec.names, [kind.name for kind in pipeline.kinds]
        event = decision.logged
        keys, counterparts = decode_keys(event)
        values = [
            *_different_floats(names, decode_features(event), decision.features),
            *_different_keys("key", kinds, keys, decision.keys),
            *_different_keys("counterpart of", kinds, counterparts, decision.counterparts),
        ]
        if repr(event.score) != repr(decision.score):
            values.append(("score", repr(event.score), repr(decision.score)))
        if event.band != decision.band:
            values.append(("band", str(event.band), decision.band))
        self.findings.compared += 1
        self.findings.values += len(names) + 2 * len(kinds) + len(("score", "band"))
        decision_id = self._log.format_decision_id(event.sequence)
        where = event.sequence, decision_id, event.consignment_id, event.model
        return [Difference(*where, *value) for value in values]


def _score_chunk(piece: RecomputedChunk, sha256: str, member: MethodPipeline) -> Iterator[RecomputedDecision]:
    """Score the decisions of a piece that one bundle made."""
    rows = [row for row, event in enumerate(piece.decisions) if event.model_sha256 == sha256]
    if not rows:
        return
    judge = member.method.judge
    scores = judge.score(piece.X[rows], [piece.channels[row] for row in rows])
    for row, score, band in zip(rows, scores.tolist(), judge.assign_bands(scores), strict=True):
        place = piece.places[row]
        yield RecomputedDecision(
            piece.decisions[row], piece.X[row], piece.keys[place], piece.counterparts[place], score, band
        )


@dataclass
class _BundleDecisions:
    """Decisions of one bundle: how many, and the sequences of the first."""

    decisions: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, event: DecisionEvent) -> None:
        self.decisions += 1
        if len(self.first) < MAX_EXAMPLES:
            self.first.append(event.sequence)


DifferingValue = tuple[str, str, str]
"""Name of a value, what was logged, what comes out."""


def _different_floats(names: Sequence[str], logged: Rows, recomputed: Rows) -> list[DifferingValue]:
    if len(logged) != len(names):
        return [("number of features", str(len(logged)), str(len(names)))]
    other = logged.view(np.uint32) != recomputed.view(np.uint32)
    other &= ~(np.isnan(logged) & np.isnan(recomputed))
    return [
        (names[place], str(logged[place]), str(recomputed[place])) for place in np.flatnonzero(other).tolist()
    ]


def _different_keys(what: str, kinds: Sequence[str], logged: Keys, recomputed: Keys) -> list[DifferingValue]:
    if len(logged) != len(kinds):
        return [(f"number of {what}", str(len(logged)), str(len(kinds)))]
    return [
        (f"{what} {kinds[place]}", f"{logged[place]:016x}", f"{recomputed[place]:016x}")
        for place in np.flatnonzero(logged != recomputed).tolist()
    ]


def _by_sequence(found: Difference) -> int:
    return found.sequence


def build_table(found: Sequence[Difference]) -> "pd.DataFrame":
    """Give differences as a table."""
    import pandas as pd

    return pd.DataFrame(found, columns=list(Difference._fields)).astype(
        {name: "str" for name in Difference._fields if name != "sequence"} | {"sequence": "int64"}
    )
