"""Parity check: recomputes every logged decision from the log in batch form and compares it bit for bit; run it nightly.

    sequence 7   RB1 is imported                     joins history
    sequence 8   RB2 is scored by nps-risk/1         recomputed with the bundle of nps-risk/1, after 1 to 7; compared
    sequence 9   RB3 is scored by a model now gone   joins history; counted as not compared, with the reason

Compared are features, score, band, history keys and counterparts of a decision. Floats are equal if their bits are equal,
or if both are NaN.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.errors import BundleRefused, UnknownName
from features.alerts.alerts import Alerts
from features.history.pseudonyms import Pseudonyms
from features.pipeline import Pipeline
from serving.encryption.vault import Vault
from serving.event_log.event_codec import decode_features, decode_keys
from serving.event_log.events import DecisionEvent, Event
from serving.event_log.log import check_vault
from serving.event_log.reader import LogReader, Progress
from serving.event_log.redactions import RedactedRanges, read_redactions
from serving.maintenance.recomputation import (
    EXCLUDED_FROM_ORDER,
    BundleGroup,
    DecisionFilter,
    LoggedHistory,
    ModelId,
    Recomputation,
    RecomputedDecision,
)
from serving.scoring.loaded_model import PastModels

MAX_EXAMPLES = 10
OTHER_KEYS = "its history keys were computed by another version of npsrisk"
DAMAGED = "its log entry is damaged; run npsrisk verify-log"


class Difference(NamedTuple):
    """A value of a decision that differs after recomputation, as text with all digits."""

    sequence: int
    decision_id: str
    consignment_id: str
    model: ModelId
    value: str
    logged: str
    recomputed: str


@dataclass
class ParityReport:
    """The report of a parity check of the `decisions` that match the filter; `differences` counts by value those in which any of the `values` differs.

    `not_compared` and `unread` count by reason the decisions that could not be recomputed, and the entries that could not be read: history
    and alerts lack them, or use their logged keys. `forgotten` are further decisions whose content was removed with a record of it.
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

    @property
    def equal(self) -> bool:
        """Return whether everything was compared and nothing differs."""
        return self.compared == self.decisions and not self.differences and not self.unread

    def to_text(self) -> str:
        """Format the report as text."""
        lines = [
            f"log {self.log_id} up to entry {self.last_sequence:,}: {self.compared:,} of {self.decisions:,} decisions "
            f"recomputed, {self.values:,} values compared, {self.differing:,} decisions differ"
        ]
        if self.forgotten:
            lines.append(
                f"  {self.forgotten:,} more cannot be recomputed: npsrisk forget removed their content"
            )
        lines += (f"  {count:,} not compared: {why}" for why, count in self.not_compared.most_common())
        if self.not_compared_examples:
            lines.append(f"    for example {', '.join(self.not_compared_examples)}")
        for why, count in self.unread.most_common():
            lines.append(
                f"  {count:,} entries could not be read; history features may differ (reason: {why})"
            )
        for value, count in self.differences.most_common():
            lines.append(f"  {value} differs in {count:,} decisions")
        for each in self.examples:
            where = f"{each.decision_id} of {each.consignment_id}, {each.value}"
            lines.append(f"    {where}: logged {each.logged}, recomputed {each.recomputed}")
        return "\n".join([*lines, "all decisions equal bit for bit" if self.equal else "NOT ALL EQUAL"])

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain values, for JSON."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        return plain | {"equal": self.equal, "examples": [each._asdict() for each in self.examples]}


class ParityCheck:
    """A parity check of the decisions of a log; `findings` is complete after `run` or `iterate_tables`."""

    def __init__(
        self,
        log: LogReader,
        vault: Vault,
        models: PastModels,
        wanted: DecisionFilter,
        progress: Progress | None = None,
    ) -> None:
        self._log, self._wanted, self._progress = log, wanted, progress
        self._vault, self._models = vault, models
        check_vault(log, vault)
        self._redacted = RedactedRanges(read_redactions(log))
        self.findings = ParityReport(log.log_id, log.last_sequence)

    def run(self) -> ParityReport:
        """Run the whole check, and return the report with counts and the first differences."""
        for _ in self.iterate_differences():
            pass
        return self.findings

    def iterate_tables(self) -> Iterator[pd.DataFrame]:
        """Yield the results of `iterate_differences` as tables, after an empty first table."""
        kinds = dict.fromkeys(Difference._fields, "str") | {"sequence": "int64"}
        for found in chain([()], self.iterate_differences()):
            yield pd.DataFrame(found, columns=list(Difference._fields)).astype(kinds)

    def iterate_differences(self) -> Iterator[list[Difference]]:
        """Recompute all decisions, and yield the differences chunk by chunk; `UnknownName` if the log has no decision of a wanted model."""
        first, last = self._scan_decisions()
        history = LoggedHistory.read(self._log, self._vault, last)
        self._record_unread(history.unread)
        groups = self._group_bundles(first, history.alerts)
        total, done = len(groups) * len(history.arrivals.received_us), 0
        for group in groups:
            again = Recomputation(self._log, history, last, group, self._vault)
            for chunk in again.run(partial(self._is_compared, group)):
                if group is groups[0]:
                    self._record_unread(chunk.unread)
                for event, reason in chunk.unread:
                    if isinstance(event, DecisionEvent) and self._is_compared(group, event):
                        self._exclude(reason, [event.sequence])
                yield self._compare(chunk.decisions, again)
                done += len(chunk.events)
                if self._progress is not None:
                    self._progress("parity", done, total)

    def _scan_decisions(self) -> tuple[dict[tuple[ModelId, str], list[int]], int]:
        """Count the wanted decisions; return the first ones of each bundle, and the sequence number of the last one."""
        self._counts, first = Counter[tuple[ModelId, str]](), dict[tuple[ModelId, str], list[int]]()
        known, last = set[str](), 0
        for event in self._log.read_decisions(until=self._log.last_sequence, without=EXCLUDED_FROM_ORDER):
            known.add(event.model)
            if self._wanted.matches(event) and not self._is_selected(event):
                self.findings.forgotten += 1
            elif self._wanted.matches(event):
                bundle, last = (event.model, event.model_sha256), event.sequence
                self._counts[bundle] += 1
                if self._counts[bundle] <= MAX_EXAMPLES:
                    first.setdefault(bundle, []).append(event.sequence)
        for model in self._wanted.models:
            if model not in known:
                raise UnknownName.from_candidates(model, known, kind="model", where="--model")
        self.findings.decisions = self._counts.total()
        return first, last

    def _group_bundles(
        self, first: dict[tuple[ModelId, str], list[int]], alerts: Alerts
    ) -> list[BundleGroup]:
        """Group the bundles that share a history; exclude the decisions of bundles that cannot be found."""
        groups: dict[bytes, BundleGroup] = {}
        pseudonyms = Pseudonyms(self._vault.data_key)
        for (model, sha256), examples in sorted(first.items()):
            try:
                method = self._models.find(model, sha256)
                member = method, method.build_pipeline(pseudonyms, alerts)
            except BundleRefused as error:
                self._exclude(f"{model}: {error}", examples, self._counts[model, sha256])
                continue
            groups.setdefault(msgspec.json.encode(method.config), {})[sha256] = member
        return list(groups.values())

    def _is_selected(self, event: DecisionEvent) -> bool:
        return not self._redacted.covers(event.sequence, event.consignment_id) and self._wanted.matches(event)

    def _is_compared(self, group: BundleGroup, event: DecisionEvent) -> bool:
        return event.model_sha256 in group and self._is_selected(event)

    def _exclude(self, reason: str, sequences: Sequence[int], decisions: int = 1) -> None:
        """Count decisions that cannot be recomputed, given the first ones."""
        self.findings.not_compared[reason] += decisions
        examples = self.findings.not_compared_examples
        examples += map(self._log.format_decision_id, sequences[: MAX_EXAMPLES - len(examples)])

    def _record_unread(self, unread: Sequence[tuple[Event, str]]) -> None:
        self.findings.unread.update(f"{event.kind}: {reason}" for event, reason in unread)

    def _compare(self, decisions: Sequence[RecomputedDecision], again: Recomputation) -> list[Difference]:
        found: list[Difference] = []
        for decision in decisions:
            if decision.logged.kinds != again.entries.kinds:
                self._exclude(OTHER_KEYS, [decision.logged.sequence])
                continue
            try:
                found += self._compare_decision(decision, again.pipeline)
            except ValueError:
                self._exclude(DAMAGED, [decision.logged.sequence])
        found.sort(key=lambda each: each.sequence)
        report = self.findings
        report.differences.update(each.value for each in found)
        report.differing += len({each.sequence for each in found})
        report.examples += found[: MAX_EXAMPLES - len(report.examples)]
        return found

    def _compare_decision(self, decision: RecomputedDecision, pipeline: Pipeline) -> list[Difference]:
        names, kinds = pipeline.spec.names, [kind.name for kind in pipeline.kinds]
        event = decision.logged
        keys, counterparts = decode_keys(event)
        plain = (("score", event.score, decision.score), ("band", event.band, decision.band))
        values = [
            *_find_different("features", names, decode_features(event), decision.features),
            *_find_different("key", kinds, keys, decision.keys),
            *_find_different("counterpart of", kinds, counterparts, decision.counterparts),
            *((name, str(one), str(other)) for name, one, other in plain if repr(one) != repr(other)),
        ]
        self.findings.compared += 1
        self.findings.values += len(names) + 2 * len(kinds) + len(plain)
        decision_id = self._log.format_decision_id(event.sequence)
        where = event.sequence, decision_id, event.consignment_id, event.model
        return [Difference(*where, *value) for value in values]


def _find_different(
    what: str, names: Sequence[str], logged: NDArray[Any], recomputed: NDArray[Any]
) -> Iterator[tuple[str, str, str]]:
    """Yield the values that differ: name, logged and recomputed value."""
    if len(logged) != len(names):
        yield f"number of {what}", str(len(logged)), str(len(names))
        return
    if logged.dtype == np.float32:
        other = logged.view(np.uint32) != recomputed.view(np.uint32)
        other &= ~(np.isnan(logged) & np.isnan(recomputed))
        for place in np.flatnonzero(other).tolist():
            yield names[place], str(logged[place]), str(recomputed[place])
        return
    for place in np.flatnonzero(logged != recomputed).tolist():
        yield f"{what} {names[place]}", f"{logged[place]:016x}", f"{recomputed[place]:016x}"
