"""Export of the log, as of the start of the export, to a folder of tables; atomic, and possible while the service runs.

Personal columns are exported only on request, and only with the data key. Each entry becomes a row of a table:

sequence 1   RB1 is imported             consignments: 1, RB1, cancelled_sequence 5
sequence 2   RB2 is scored               consignments: 2, RB2; decisions: 2; features: 2
sequence 3   RB1 is selected, p = 0.2    selections: 3, RB1
sequence 4   RB1's outcome, without p    outcomes: 4, RB1, selection_probability 0.2
sequence 5   RB1 is cancelled            no row of its own
sequence 6   customs holds RB2           states: 6, RB2
"""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet

from consignments.columns import FILE_TYPES, NUMBER, TEXT, TIME, format_value
from consignments.errors import BundleRefused, FileFault, ServiceFault
from consignments.files.folders import draft_folder
from consignments.files.whole_files import PRIVATE_FILE_MODE, replace_file
from consignments.records import Alert, Consignment, Field, Outcome, get_fields
from consignments.tables import build_rows, convert_lists
from consignments.timestamps import to_datetime
from consignments.validation import CANCELLED_SEQUENCE, SEQUENCE
from models.reasons.ranking import Reason
from serving.encryption.vault import Vault
from serving.event_log.event_codec import (
    CustomsState,
    EventCodec,
    RecordedAction,
    Row,
    Selection,
    decode_features,
)
from serving.event_log.events import ARRIVAL_KINDS, ArrivalEvent, DecisionEvent, Event, EventRow, Kind
from serving.event_log.log import check_vault
from serving.event_log.reader import LogReader, Progress
from serving.event_log.redactions import find_redaction_end
from serving.maintenance.access_log import decode_access
from serving.scoring.loaded_model import PastModels

MANIFEST_FILE = "export.json"
PROGRESS_ENTRIES = 5_000
ROW_GROUP_ROWS = 16_384
EXCLUDED_FROM_SCHEMA = ("sealed", "keys", "features", "reasons")
NOT_SHOWN = {"kind", "content", "plain", "sealed", "kinds", "keys", "features", "digest", "history_sequence"}
"""Columns of an entry that the table of decisions lacks: those of other tables, and those that only npsrisk reads."""
NO_PERSONAL_COLUMNS = (
    "personal columns are not exported; to include them, run npsrisk export --personal with the data key"
)
SERVICE_SELECTED_BY = frozenset({"model", "random"})
"""Values of `selected_by` for selections of the service; selections by officers or intelligence have no known probability."""
RECORD_TABLES: dict[Kind, tuple[str, type[msgspec.Struct]]] = {
    "outcome": ("outcomes", Outcome),
    "alert": ("alerts", Alert),
    "selection": ("selections", Selection),
    "action": ("actions", RecordedAction),
    "state": ("states", CustomsState),
}
"""Tables of entries that are records of their own; the names are also those of the codecs in `EventCodec`."""
SEQUENCE_TYPE, VALUES = pa.int64(), "values"
METADATA_KEY = b"npsrisk"
SPEC_CHARACTERS = 12
ACCESS_COLUMNS = ("at", "command", "person", "key", "consignment_id", "user", "sudo_user", "out")
_COMMON_COLUMNS = frozenset(each.name for each in get_fields(Consignment))
_decode_plain = msgspec.msgpack.Decoder(dict[str, Any]).decode
_decode_reasons = msgspec.msgpack.Decoder(list[Reason]).decode
Columns = dict[str, Any]
ARROW_TYPES: dict[type, Any] = {int: SEQUENCE_TYPE, float: NUMBER, str: TEXT}
ValueColumn = tuple[str, Any, Callable[[Any], Any]]
"""Name and type of a column, and the function that returns its value of an entry."""
E = TypeVar("E", bound=Event)


def export_log(
    log: LogReader, vault: Vault | None, bundles: PastModels, out: Path, progress: Progress | None = None
) -> dict[str, Any]:
    """Export the log up to its `last_sequence` as tables, personal columns only with a vault; return the content of `export.json`.

    `bundles` are the models that made the decisions, for the names of their features. `out` is new, empty, or an earlier export, which is
    replaced.
    """
    if vault is not None:
        check_vault(log, vault)
    notes = [] if vault is not None else [NO_PERSONAL_COLUMNS]
    manifest: dict[str, Any] = {
        "log_id": log.log_id,
        "last_sequence": log.last_sequence,
        "head": log.head,
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "personal": vault is not None,
        "notes": notes,
    }
    with _replace_folder(out) as folder:
        schema = ExportSchema.scan(log, progress)
        if schema.emptied:
            notes.append(
                f"{schema.emptied:,} consignments (all up to entry {find_redaction_end(log):,}) are not exported, because "
                "npsrisk forget removed their content; history computed from these tables does not count them"
            )
        notes += schema.find_feature_names(bundles)
        tables = LogTables(log, EventCodec(vault, Consignment, ()), folder, schema, manifest)
        events = log.read_events(until=log.last_sequence)
        for event in _report(events, progress, "export", log.last_sequence):
            tables.add(event)
        manifest["tables"] = tables.close()
        manifest["models"] = [
            {
                "model": model,
                "model_sha256": bundle,
                "decisions": count,
                "features": name_features_table(spec),
            }
            for (model, bundle, spec), count in sorted(schema.models.items())
        ]
        replace_file(folder / MANIFEST_FILE, json.dumps(manifest, indent=1).encode())
    return manifest


def name_features_table(spec_sha256: str) -> str:
    """Return the name of the table of features of one spec."""
    return f"features-{spec_sha256[:SPEC_CHARACTERS]}"


@dataclass
class ExportSchema:
    """The schema of the exported tables, from a first pass over all arrivals and decisions.

    `declared` are Arrow types of further columns that models declared, `models` counts decisions by model, bundle and spec, `names` are
    the features of a spec, and `ended` the cancellations of the versions that were in force, by their entries.
    """

    declared: dict[str, Any] = field(default_factory=dict)
    models: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    emptied: int = 0
    names: dict[str, list[str]] = field(default_factory=dict)
    ended: dict[int, Event] = field(default_factory=dict)

    @classmethod
    def scan(cls, log: LogReader, progress: Progress | None) -> "ExportSchema":
        """Read the arrivals, decisions and cancellations of a log without the bytes that take most memory."""
        found, standing = cls(), dict[str, int]()
        cancellations = log.read_events(until=log.last_sequence, kinds=("cancellation",))
        cancelled = {event.consignment_id for event in cancellations}
        kinds = (*ARRIVAL_KINDS, "cancellation")
        events = log.read_events(until=log.last_sequence, without=EXCLUDED_FROM_SCHEMA, kinds=kinds)
        for event in _report(events, progress, "columns", log.last_sequence):
            if event.kind == "cancellation":
                if event.consignment_id in standing:
                    found.ended[standing.pop(event.consignment_id)] = event
                continue
            assert isinstance(event, ArrivalEvent)
            if event.consignment_id in cancelled:
                standing[event.consignment_id] = event.sequence
            if event.redacted:
                found.emptied += 1
                continue
            for name, value in _decode_plain(event.plain).items():
                if name not in _COMMON_COLUMNS:
                    kind = NUMBER if isinstance(value, float) else TEXT
                    found.declared[name] = kind if found.declared.get(name, kind) == kind else TEXT
            if isinstance(event, DecisionEvent):
                found.models[event.model, event.model_sha256, event.spec_sha256] += 1
        return found

    def find_feature_names(self, bundles: PastModels) -> list[str]:
        """Find the feature names of every spec that still has a model; return notes on the specs without one."""
        faults: dict[str, str] = {}
        for model, bundle, spec in sorted(self.models):
            try:
                self.names[spec] = list(bundles.find(model, bundle).judge.spec.names)
            except BundleRefused as error:
                faults[spec] = f"{name_features_table(spec)} has no feature names: {error}"
        return [fault for spec, fault in faults.items() if spec not in self.names]


class TableFile:
    """A Parquet file that is written by row groups; `build` returns the columns of some entries and their records."""

    def __init__(self, path: Path, schema: Any, build: Callable[[list[Any], list[Any]], Columns]) -> None:
        path.touch(mode=PRIVATE_FILE_MODE, exist_ok=False)
        self.rows = 0
        self._schema, self._build = schema, build
        self._file = parquet.ParquetWriter(path, schema, compression="zstd")
        self._events: list[Event] = []
        self._records: list[Any] = []

    def add(self, event: Event, record: Any) -> None:
        """Add an entry, whose content is `record`, as a row."""
        self._events.append(event)
        self._records.append(record)
        if len(self._events) == ROW_GROUP_ROWS:
            self._flush()

    def close(self) -> None:
        """Write the remaining rows, and close the file."""
        if self._events:
            self._flush()
        self._file.close()

    def _flush(self) -> None:
        columns = self._build(self._events, self._records)
        columns[SEQUENCE] = [event.sequence for event in self._events]
        self._file.write_table(pa.table([columns[name] for name in self._schema.names], schema=self._schema))
        self.rows += len(self._events)
        self._events, self._records = [], []


class LogTables:
    """The tables of a log in a folder, without personal columns if they cannot be decrypted; `mark` is the metadata of each file."""

    def __init__(
        self, log: LogReader, entries: EventCodec, folder: Path, schema: ExportSchema, mark: dict[str, Any]
    ) -> None:
        self._entries, self._schema = entries, schema
        self._selections: dict[str, Selection] = {}
        self._folder, self._metadata = folder, {METADATA_KEY: msgspec.json.encode(mark)}
        self._files: dict[str, TableFile] = {}
        further = [(CANCELLED_SEQUENCE, SEQUENCE_TYPE), *sorted(schema.declared.items())]
        self._open_records("consignments", Consignment, self._build_consignments, further)
        for name, record in RECORD_TABLES.values():
            self._open_records(name, record, partial(self._build_records, record))
        accesses: list[ValueColumn] = [(name, TEXT, attrgetter(name)) for name in ACCESS_COLUMNS]
        for name, values in (("accesses", accesses), ("decisions", _list_decision_columns(log))):
            columns = [(SEQUENCE, SEQUENCE_TYPE), *((each, kind) for each, kind, _ in values)]
            self._open(name, columns, partial(_read_columns, values))
        for spec in sorted({spec for _, _, spec in schema.models}):
            names = schema.names.get(spec)
            single = [(VALUES, pa.list_(pa.float32()))]
            row = single if names is None else [(name, pa.float32()) for name in names]
            columns = [(SEQUENCE, SEQUENCE_TYPE), ("consignment_id", TEXT), *row]
            self._open(name_features_table(spec), columns, partial(_build_features, names))

    def _open_records(
        self, name: str, record: type[msgspec.Struct], build: Any, further: Sequence[tuple[str, Any]] = ()
    ) -> None:
        visible = [(each.name, FILE_TYPES[each.kind]) for each in self._list_visible(record)]
        self._open(name, [*visible, (SEQUENCE, SEQUENCE_TYPE), *further], build)

    def _open(self, name: str, columns: list[tuple[str, Any]], build: Any) -> None:
        schema = pa.schema(columns, self._metadata)
        self._files[name] = TableFile(self._folder / f"{name}.parquet", schema, build)

    def add(self, event: Event) -> None:
        """Add an entry to its tables; if a consignment can no longer be read, add only its decision."""
        if isinstance(event, ArrivalEvent) and not event.redacted:
            self._files["consignments"].add(event, self._entries.decode_consignment(event))
        if isinstance(event, DecisionEvent):
            self._files["decisions"].add(event, event)
            if not event.redacted:
                self._files[name_features_table(event.spec_sha256)].add(event, decode_features(event))
        elif event.kind == "access":
            self._files["accesses"].add(event, decode_access(event))
        elif event.kind in RECORD_TABLES:
            name, _ = RECORD_TABLES[event.kind]
            record = getattr(self._entries, name).decode(event)
            if isinstance(record, Selection):
                self._selections[event.consignment_id or ""] = record
            if isinstance(record, Outcome):
                record = _complete_outcome(record, self._selections.get(event.consignment_id or ""))
            self._files[name].add(event, record)

    def close(self) -> dict[str, int]:
        """Close all files, and return the number of rows of each."""
        for each in self._files.values():
            each.close()
        return {name: each.rows for name, each in self._files.items()}

    def _list_visible(self, record: type[msgspec.Struct]) -> list[Field]:
        return [each for each in get_fields(record) if self._entries.vault or not each.personal]

    def _build_records(self, record: type[Any], _events: list[Any], records: list[Any]) -> Columns:
        rows = convert_lists(build_rows(records, self._list_visible(record)))
        return dict(zip(rows.column_names, rows.columns, strict=True))

    def _build_consignments(self, events: list[ArrivalEvent], records: list[Consignment]) -> Columns:
        """Build the rows of all versions; the version in force at a cancellation has the time of the cancellation."""
        ended = [self._schema.ended.get(event.sequence) for event in events]
        columns = self._build_records(Consignment, events, records)
        ended_us = pa.array([None if end is None else end.at_us for end in ended], SEQUENCE_TYPE)
        columns |= {
            "cancelled_at": ended_us.cast(TIME),
            CANCELLED_SEQUENCE: [None if end is None else end.sequence for end in ended],
        }
        if self._schema.declared:
            plains = [_decode_plain(event.plain) for event in events]
            for name, kind in self._schema.declared.items():
                values = [plain.get(name) for plain in plains]
                if kind == TEXT:  # also if models declare different types
                    values = [None if each is None else format_value(each) for each in values]
                columns[name] = values
        return columns


def _complete_outcome(outcome: Outcome, made: Selection | None) -> Outcome:
    """Return an outcome that lacks the selection probability with the one that the service logged before it."""
    is_known = outcome.selection_probability is not None
    if made is None or is_known or outcome.selected_by not in SERVICE_SELECTED_BY:
        return outcome
    made_by = {"selected_by": made.selected_by, "selection_probability": made.selection_probability}
    return msgspec.structs.replace(outcome, **made_by)


def _read_columns(columns: list[ValueColumn], _events: list[Any], records: list[Any]) -> Columns:
    return {name: [*map(read, records)] for name, _, read in columns}


def _build_features(names: list[str] | None, events: list[DecisionEvent], rows: list[Row]) -> Columns:
    columns: Columns = {"consignment_id": [event.consignment_id for event in events]}
    if names is None:
        return columns | {VALUES: [row.tolist() for row in rows]}
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


def _list_decision_columns(log: LogReader) -> list[ValueColumn]:
    """List the columns of the table of decisions after the sequence number: those of an entry in their order."""
    written: dict[str, list[ValueColumn]] = {
        SEQUENCE: [("decision_id", TEXT, lambda event: log.format_decision_id(event.sequence))],
        "at_us": [("received_at", TIME, lambda event: to_datetime(event.at_us))],
        "recorded_us": [("scored_at", TIME, lambda event: to_datetime(event.recorded_us))],
        "reasons": [("reasons", TEXT, lambda event: _format_list(event.reasons, _decode_reasons))],
        "warnings": [("warnings", TEXT, lambda event: _format_list(event.warnings))],
        "model": [
            ("model", TEXT, lambda event: event.model.rpartition("/")[0]),
            ("model_version", TEXT, lambda event: event.model.rpartition("/")[2]),
        ],
    }
    columns: list[ValueColumn] = []
    for name, hint in get_type_hints(EventRow).items():
        if name in written:
            columns += written[name]
        elif name not in NOT_SHOWN:
            kind = ARROW_TYPES[next(iter(get_args(hint)), hint)]
            columns.append((name, kind, attrgetter(name)))
    return columns


def _format_list(stored: bytes | None, decode: Callable[[bytes], Any] = msgspec.msgpack.decode) -> str:
    return msgspec.json.encode([] if stored is None else decode(stored)).decode()


def _report(events: Iterable[E], progress: Progress | None, what: str, total: int) -> Iterator[E]:
    """Yield entries, and report how far they are."""
    for event in events:
        yield event
        done = event.sequence
        if progress is not None and (done % PROGRESS_ENTRIES == 0 or done == total):
            progress(what, done, total)


@contextmanager
def _replace_folder(out: Path) -> Iterator[Path]:
    """Create a private folder that replaces `out` after everything is written; first put back what a killed run moved away."""
    earlier = out.absolute().with_name(f".{out.name}.old")
    with draft_folder(out, "export", earlier) as made:
        if earlier.exists() and not out.exists():
            earlier.rename(out)
        _require_replaceable(out)
        shutil.rmtree(earlier, ignore_errors=True)
        yield made
    shutil.rmtree(earlier, ignore_errors=True)


def _require_replaceable(out: Path) -> None:
    """Check that a folder contains nothing but an earlier export."""
    if not out.exists():
        return
    if not out.is_dir():
        raise FileFault("the output is not a folder", where=str(out), todo="give a folder for the tables")
    try:
        tables = json.loads((out / MANIFEST_FILE).read_text())["tables"]
        mine = {MANIFEST_FILE, *(f"{name}.parquet" for name in tables)}
    except (OSError, ValueError, KeyError, TypeError):
        mine = set()
    others = sorted({path.name for path in out.iterdir()} - mine)
    if others:
        raise FileFault(
            "the output folder contains other files",
            where=str(out),
            got=others[0],
            expected="a new or empty folder, or only an earlier export, which is replaced",
            todo="give another folder",
        )
