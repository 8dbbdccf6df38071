"""Measure the cost of each step of scoring a consignment, and compare it with the budget in docs/benchmarks.md.

    python -m benchmarks.budget [--rows 2000]

One thread, CPU time, every consignment for the first time. The steps run one after the other over some dozens of
consignments, as the service processes a list. The model is that of `benchmarks.deployed`.
"""

import argparse
import re
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import msgspec
import numpy as np
from msgspec.structs import astuple

from benchmarks.deployed import FITTING_ROWS, deploy, grow, make_world
from consignments.records import Consignment
from consignments.timestamps import to_datetime, to_day
from features.history.data_keys import read_data_keys
from features.history.live import LiveHistory
from models.signatures.key_holders import Approvers
from serving.deployment.releases import find_release_folder, read_release
from serving.encryption.vault import PackedRecord, Vault
from serving.event_log.event_codec import Keys, Row, Rows
from serving.event_log.events import DecisionEvent
from serving.event_log.log import EventLog
from serving.event_log.packed_features import pack_rows
from serving.http.scores import ModelName, Score
from serving.scoring.loaded_model import LoadedModel, load_model
from serving.telemetry.metrics import Metrics

T = TypeVar("T")
PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
ROW = re.compile(r"^\| ([^|]+?) \| ([\d.]+) \|", re.MULTILINE)
TITLE = "## The budget of one consignment"
AT_A_TIME = 25
NOW_US = 1_720_000_000_000_000
NO_REASONS = msgspec.msgpack.encode([])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2000, help="number of consignments")
    rows = parser.parse_args().rows
    with TemporaryDirectory(prefix="npsrisk-bench-") as folder:
        print("| piece | budget, µs | measured, µs | |\n|---|---|---|---|")
        budget = read_budget(PAGE.read_text(encoding="utf-8"))
        spent = measure(Path(folder), rows)
        if spent.keys() != budget.keys():
            raise SystemExit(
                f"the page and the benchmark name different pieces: {spent.keys() ^ budget.keys()}"
            )
        for piece, allowed in budget.items():
            verdict = "over" if spent[piece] > allowed else ""
            print(f"| {piece} | {allowed:g} | {spent[piece]:.1f} | {verdict} |")


def read_budget(page: str) -> dict[str, float]:
    """Read the table of the page: piece to microseconds."""
    section = page.partition(TITLE)[2].partition("\n## ")[0]
    return {piece: float(allowed) for piece, allowed in ROW.findall(section)}


def measure(folder: Path, rows: int) -> dict[str, float]:
    """Measure the microseconds of each piece for one consignment."""
    world = make_world(FITTING_ROWS + 2 * rows)
    settings = deploy(grow(world), folder)
    keys, current = (
        read_data_keys(settings.data_key_file, create=True),
        find_release_folder(settings.state_dir),
    )
    vault = Vault(keys)
    assert current is not None
    model = load_model(read_release(current, Approvers.read(settings.approvers_file)), vault)
    bodies = [msgspec.json.encode(c) for c in world.records[FITTING_ROWS:]]
    log = EventLog.open(f"sqlite:///{folder / 'events.db'}", vault)
    path = _ScoringPath(model, log)
    for begin in (0, rows):
        path.spent.clear()  # the first round only warms up
        for start in range(begin, begin + rows, AT_A_TIME):
            path.take(bodies[start : min(start + AT_A_TIME, begin + rows)])
    log.close()
    return {piece: seconds / rows * 1e6 for piece, seconds in path.spent.items()}


class _ScoringPath:
    """Steps of scoring in their order, over some bodies at a time; `spent` sums the seconds of each."""

    def __init__(self, model: LoadedModel, log: EventLog) -> None:
        self.spent: dict[str, float] = {}
        self._model, self._log = model, log
        self._ledger, self._metrics = LiveHistory(model.pipeline.create_history()), Metrics()
        self._decode = msgspec.json.Decoder(Consignment).decode
        self._encode = msgspec.json.Encoder().encode

    def take(self, bodies: Sequence[bytes]) -> None:
        """Process some bodies through all steps."""
        risk, pipeline, entries = self._model.risk, self._model.pipeline, self._model.entries
        X, again = np.zeros((2, len(bodies), len(self._model.spec)), dtype=np.float32)
        keys, counterparts = np.zeros((2, len(bodies), len(pipeline.kinds)), dtype=np.uint64)
        records = self._each("decode the record", self._decode, bodies)
        names = [record.consignment_id for record in records]
        packed = self._once("pack, digest and seal it", entries.consignments.pack_all, records, names)
        self._each("features but history, alone", self._describe, records, again, keys, counterparts)
        self._once("features but history, in a list", pipeline.fill_rows, records, X, keys, counterparts)
        self._each("history, read and counted, alone", self._arrive, records, keys, counterparts, X)
        channels = [record.channel for record in records]
        scores = self._each("score, alone", self._model.score_row, X, channels)
        self._once("score, in a list", risk.score, X, channels)
        self._each("exact reasons, if they are given", risk.explain, X)
        events = self._once(
            "entry of the log", self._encode_entries, records, packed, keys, counterparts, X, scores
        )
        self._once("commit in a group, hash of the chain included", self._log.append, events)
        self._each("answer", self._answer, events)
        self._each("metrics", self._note, scores)

    def _each(self, piece: str, work: Callable[..., T], *columns: Iterable[Any]) -> list[T]:
        return self._once(piece, lambda: list(map(work, *columns)))

    def _once(self, piece: str, work: Callable[..., T], *arguments: Any) -> T:
        start = time.process_time()
        found = work(*arguments)
        self.spent[piece] = self.spent.get(piece, 0.0) + time.process_time() - start
        return found

    def _describe(self, c: Consignment, row: Row, keys: Keys, counterparts: Keys) -> None:
        self._model.pipeline.fill_rows([c], row[None], keys[None], counterparts[None])

    def _arrive(self, c: Consignment, keys: Keys, counterparts: Keys, row: Row) -> None:
        assert c.received_at is not None
        self._ledger.record_arrival(c.consignment_id, to_day(c.received_at), keys, counterparts, row)

    def _encode_entries(
        self,
        records: Sequence[Consignment],
        packed: Sequence[PackedRecord],
        keys: Keys,
        counterparts: Keys,
        X: Rows,
        scores: Sequence[float],
    ) -> list[DecisionEvent]:
        model = self._model
        identity = model.name, model.sha256, model.spec_sha256
        arrivals = model.entries.encode_arrivals(
            self._log.last_sequence + 1, 1, records, packed, keys, counterparts, ["benchmark"] * len(records)
        )
        return [
            DecisionEvent(
                *astuple(arrival), features, score, model.risk.bands.assign(score), NO_REASONS, *identity
            )
            for arrival, features, score in zip(arrivals, pack_rows(X), scores, strict=True)
        ]

    def _answer(self, event: DecisionEvent) -> bytes:
        name, at = ModelName.parse(event.model), to_datetime(event.at_us)
        decision = self._log.format_decision_id(event.sequence)
        return self._encode(
            Score(event.consignment_id, event.score, event.band, [], name, at, decision, False, False)  # type: ignore[arg-type]
        )

    def _note(self, score: float) -> None:
        self._metrics.record_batch([], ["routine"], [score])
        self._metrics.record_answer("scores", 200, 0.01)


if __name__ == "__main__":
    main()
