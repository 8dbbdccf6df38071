"""Tables of an export: which log entry becomes which row of which table, and with which columns.

sequence 1   RB1 is imported             consignments: 1, RB1, cancelled_sequence 5
sequence 2   RB2 is scored               consignments: 2, RB2; decisions: 2; features: 2
sequence 3   RB1 is selected, p = 0.2    selections: 3, RB1
sequence 4   RB1's outcome, without p    outcomes: 4, RB1, selection_probability 0.2
sequence 5   RB1 is cancelled            no row of its own
sequence 6   customs holds RB2           states: 6, RB2
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from consignments.columns import NUMBER, TEXT, TIME, TYPES, format_value
from consignments.errors import ServiceFault
from consignments.files.whole_files import PRIVATE_FILE_MODE
from consignments.records import Alert, Consignment, Field, Outcome, get_fields
from consignments.tables import build_column
from consignments.timestamps import to_datetime
from consignments.validation import CANCELLED_SEQUENCE, SEQUENCE
from models.reasons.ranking import Reason
from serving.event_log.event_codec import (
    CustomsState,
    EventCodec,
    RecordedAction,
    Selection,
    decode_features,
)
from serving.event_log.events import (
    ARRIVAL_KINDS,
    ActionEvent,
    AlertEvent,
    ArrivalEvent,
    CancellationEvent,
    CustomsStateEvent,
    DecisionEvent,
    Event,
    OutcomeEvent,
    SelectionEvent,
)
from serving.event_log.reader import LogReader

SERVICE_SELECTED_BY = frozenset({"model", "random"})
"""Values of `selected_by` for selections of the service; selections by officers or intelligence have no known probability."""
ROW_GROUP_ROWS = 16_384
"""Number of rows written as one row group."""
SEQUENCE_TYPE = pa.int64()
METADATA_KEY = b"npsrisk"
"""Key of the Parquet metadata that describes the file's log and what was not exported."""
_COMMON_COLUMNS = frozenset(each.name for each in get_fields(Consignment))
_decode_plain = msgspec.msgpack.Decoder(dict[str, Any]).decode
_decode_reasons = msgspec.msgpack.Decoder(list[Reason]).decode
Columns = dict[str, Any]
"""Arrow arrays by column name."""
E = TypeVar("E")


@dataclass
class ExportSchema:
    """The schema of the exported tables, from a first pass over all arrivals and decisions.

    `declared` are Arrow types of further columns of consignments that models declared; `models` counts decisions with content, by
    (`NAME/VERSION`, digest of the bundle, digest of the feature spec); `emptied` entries without content; `names` are the features of a spec.
    """

    declared: dict[str, Any] = field(default_factory=dict)
    models: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    emptied: int = 0
    names: dict[str, list[str]] = field(default_factory=dict)

    def scan(self, event: ArrivalEvent) -> None:
        """Add an arrival or a decision to the schema."""
        if event.redacted:
            self.emptied += 1
            return
        for name, value in _decode_plain(event.plain).items():
            if name not in _COMMON_COLUMNS:
                kind = NUMBER if isinstance(value, float) else TEXT
                self.declared[name] = kind if self.declared.get(name, kind) == kind else TEXT
        if isinstance(event, DecisionEvent):
            self.models[event.model, event.model_sha256, event.spec_sha256] += 1


class TableFile(Generic[E]):
    """A Parquet file that is written by row groups and readable by its owner only; `columns` returns the columns of some entries."""

    def __init__(self, path: Path, schema: Any, columns: Callable[[list[E]], Columns]) -> None:
        path.touch(mode=PRIVATE_FILE_MODE, exist_ok=False)
        self.rows = 0
        self._schema, self._columns = schema, columns
        self._file = parquet.ParquetWriter(path, schema, compression="zstd")
        self._gathered: list[E] = []

    def add(self, event: E) -> None:
        """Add an entry as a row."""
        self._gathered.append(event)
        if len(self._gathered) == ROW_GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """Write the remaining rows, and close the file."""
        if self._gathered:
            self._flush()
        self._file.close()

    def _flush(self) -> None:
        columns = self._columns(self._gathered)
        self._file.write_table(pa.table([columns[name] for name in self._schema.names], schema=self._schema))
        self.rows += len(self._gathered)
        self._gathered = []


class LogTables:
    """The tables of a log in a folder; `mark` is the metadata of each file.

    If the event codec cannot decrypt personal fields, their columns are not exported.
    """

    def __init__(
        self,
        log: LogReader,
        entries: EventCodec,
        folder: Path,
        survey: ExportSchema,
        mark: dict[str, Any],
    ) -> None:
        self._log, self._entries, self._declared, self._names = log, entries, survey.declared, survey.names
        self._folder, self._metadata = folder, {METADATA_KEY: msgspec.json.encode(mark)}
        self._files: dict[str, TableFile[Any]] = {}
        declared = [(name, survey.declared[name]) for name in sorted(survey.declared)]
        cancelled = [(CANCELLED_SEQUENCE, SEQUENCE_TYPE)]
        columns = [*self._columns_of(Consignment), *cancelled, *declared]
        self._consignments = self._open("consignments", columns, self._build_consignments)
        self._outcomes = self._open("outcomes", self._columns_of(Outcome), self._build_outcomes)
        self._alerts = self._open("alerts", self._columns_of(Alert), self._build_alerts)
        self._selections = self._open("selections", self._columns_of(Selection), self._build_selections)
        self._actions = self._open("actions", self._columns_of(RecordedAction), self._build_actions)
        self._states = self._open("states", self._columns_of(CustomsState), self._build_states)
        self._decisions = self._open("decisions", DECISION_COLUMNS, self._build_decisions)
        self._features = {
            spec: self._open(name_features_table(spec), self._feature_columns(spec), self._build_features)
            for spec in sorted({spec for _, _, spec in survey.models})
        }

    def _open(
        self, name: str, columns: list[tuple[str, Any]], build: Callable[[list[E]], Columns]
    ) -> "TableFile[E]":
        path = self._folder / f"{name}.parquet"
        self._files[name] = TableFile(path, pa.schema(columns, self._metadata), build)
        return self._files[name]

    def add(self, event: Event) -> None:
        """Add an entry to its tables; if a consignment can no longer be read, add only its decision."""
        match event:
            case ArrivalEvent():
                self._add_arrival(event)
            case OutcomeEvent():
                self._outcomes.add(event)
            case AlertEvent():
                self._alerts.add(event)
            case SelectionEvent():
                self._selections.add(event)
            case ActionEvent():
                self._actions.add(event)
            case CustomsStateEvent():
                self._states.add(event)
            case _:
                pass

    def _add_arrival(self, event: ArrivalEvent) -> None:
        if not event.redacted:
            self._consignments.add(event)
        if isinstance(event, DecisionEvent):
            self._decisions.add(event)
            if not event.redacted:
                self._features[event.spec_sha256].add(event)

    def close(self) -> dict[str, int]:
        """Close all files, and return the number of rows of each."""
        for each in self._files.values():
            each.close()
        return {name: each.rows for name, each in self._files.items()}

    def _columns_of(self, record: type[msgspec.Struct]) -> list[tuple[str, Any]]:
        columns = [(each.name, TYPES[each.kind]) for each in self._visible_fields(record)]
        return [*columns, (SEQUENCE, SEQUENCE_TYPE)]

    def _feature_columns(self, spec: str) -> list[tuple[str, Any]]:
        names = self._names.get(spec)
        values = (
            [(_VALUES, pa.list_(pa.float32()))] if names is None else [(name, pa.float32()) for name in names]
        )
        return [(SEQUENCE, SEQUENCE_TYPE), ("consignment_id", TEXT), *values]

    def _visible_fields(self, record: type[msgspec.Struct]) -> list[Field]:
        return [each for each in get_fields(record) if self._entries.vault or not each.personal]

    def _record_columns(
        self, events: Sequence[Event], records: Sequence[msgspec.Struct], record: type[msgspec.Struct]
    ) -> Columns:
        columns = {each.name: build_column(records, each) for each in self._visible_fields(record)}
        return columns | {SEQUENCE: [event.sequence for event in events]}

    def _build_consignments(self, events: list[ArrivalEvent]) -> Columns:
        """Build the rows of all versions; the version in force at a cancellation has the time of the cancellation."""
        after = self._log.find_neighbours(
            ARRIVAL_KINDS,
            (*ARRIVAL_KINDS, "cancellation"),
            events[0].sequence,
            events[-1].sequence,
            later=True,
        )
        ended = [
            next_ if isinstance(next_ := after.get(event.sequence), CancellationEvent) else None
            for event in events
        ]
        columns = self._record_columns(
            events, [self._entries.decode_consignment(event) for event in events], Consignment
        )
        columns["cancelled_at"] = pa.array(
            [None if end is None else end.at_us for end in ended], SEQUENCE_TYPE
        ).cast(TIME)
        columns[CANCELLED_SEQUENCE] = [None if end is None else end.sequence for end in ended]
        if self._declared:
            plains = [_decode_plain(event.plain) for event in events]
            columns |= {
                name: [_cast(kind, plain.get(name)) for plain in plains]
                for name, kind in self._declared.items()
            }
        return columns

    def _build_outcomes(self, events: list[OutcomeEvent]) -> Columns:
        chosen = self._log.find_neighbours(
            ("outcome",), ("selection",), events[0].sequence, events[-1].sequence, later=False
        )
        records = [
            self._complete_outcome(self._entries.outcomes.decode(event), chosen.get(event.sequence))
            for event in events
        ]
        return self._record_columns(events, records, Outcome)

    def _complete_outcome(self, outcome: Outcome, chosen: Event | None) -> Outcome:
        """Add the selection probability logged by the service to an outcome that lacks it."""
        if (
            not isinstance(chosen, SelectionEvent)
            or outcome.selection_probability is not None
            or outcome.selected_by not in SERVICE_SELECTED_BY
        ):
            return outcome
        selection = self._entries.selections.decode(chosen)
        return msgspec.structs.replace(
            outcome,
            selected_by=selection.selected_by,
            selection_probability=selection.selection_probability,
        )

    def _build_alerts(self, events: list[AlertEvent]) -> Columns:
        return self._record_columns(events, [self._entries.alerts.decode(event) for event in events], Alert)

    def _build_selections(self, events: list[SelectionEvent]) -> Columns:
        return self._record_columns(
            events, [self._entries.selections.decode(event) for event in events], Selection
        )

    def _build_actions(self, events: list[ActionEvent]) -> Columns:
        records = [self._entries.actions.decode(event) for event in events]
        return self._record_columns(events, records, RecordedAction)

    def _build_states(self, events: list[CustomsStateEvent]) -> Columns:
        return self._record_columns(
            events, [self._entries.states.decode(event) for event in events], CustomsState
        )

    def _build_decisions(self, events: list[DecisionEvent]) -> Columns:
        named = [event.model.rpartition("/") for event in events]
        reasons = [
            msgspec.json.encode(_decode_reasons(event.reasons or b"\x90")).decode() for event in events
        ]
        return {
            SEQUENCE: [event.sequence for event in events],
            "decision_id": [self._log.format_decision_id(event.sequence) for event in events],
            "consignment_id": [event.consignment_id for event in events],
            "received_at": [to_datetime(event.at_us) for event in events],
            "scored_at": [to_datetime(event.recorded_us) for event in events],
            "score": [event.score for event in events],
            "band": [event.band for event in events],
            "reasons": reasons,
            "model": [name for name, _, _ in named],
            "model_version": [version for _, _, version in named],
            "model_sha256": [event.model_sha256 for event in events],
            "spec_sha256": [event.spec_sha256 for event in events],
            "asked_by": [event.asked_by for event in events],
        }

    def _build_features(self, events: list[DecisionEvent]) -> Columns:
        columns: Columns = {
            SEQUENCE: [event.sequence for event in events],
            "consignment_id": [event.consignment_id for event in events],
        }
        names = self._names.get(events[0].spec_sha256)
        rows = [decode_features(event) for event in events]
        if names is None:
            return columns | {_VALUES: [row.tolist() for row in rows]}
        for event, row in zip(events, rows, strict=True):
            if len(row) != len(names):
                raise ServiceFault(
                    "a log entry has another number of features than its model",
                    where=f"log entry {event.sequence}",
                    got=str(len(row)),
                    expected=str(len(names)),
                    todo="run npsrisk verify-log",
                )
        return columns | dict(zip(names, np.stack(rows, axis=1), strict=True))


_VALUES = "values"
DECISION_COLUMNS = [
    (SEQUENCE, SEQUENCE_TYPE),
    ("decision_id", TEXT),
    ("consignment_id", TEXT),
    ("received_at", TIME),
    ("scored_at", TIME),
    ("score", NUMBER),
    ("band", TEXT),
    ("reasons", TEXT),
    ("model", TEXT),
    ("model_version", TEXT),
    ("model_sha256", TEXT),
    ("spec_sha256", TEXT),
    ("asked_by", TEXT),
]
SPEC_CHARACTERS = 12


def name_features_table(spec_sha256: str) -> str:
    """Return the name of the table of features of one spec.

    Examples
    --------
    >>> name_features_table("5c1d" * 16)
    'features-5c1d5c1d5c1d'
    """
    return f"features-{spec_sha256[:SPEC_CHARACTERS]}"


def _cast(kind: Any, value: Any) -> Any:
    """Convert a declared value to the type of its column, which is text if models declare different types."""
    return format_value(value) if kind == TEXT and value is not None else value
