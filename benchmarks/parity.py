"""Measure the cost of reading the log back: parity, export and verification of the chain, over a log of the service.

    python -m benchmarks.parity [--rows 16000]

The service's own code processes a simulated world, arrivals and outcomes in order: a small one and a large one,
because both contain the start-up cost of a process. Reported are CPU time and peak memory, each command in its own process,
one at a time.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
import pandas as pd

from benchmarks.approval import create_approver, sign_record
from consignments.records import Consignment, Outcome
from consignments.tables import check_frame, to_consignments, to_outcomes
from consignments.timestamps import to_us
from features.batch import FeatureParameters, Tables, build_arrival_events, build_outcome_events
from features.config import FeatureConfig
from features.fitted import FittedParameters
from features.history.ordering import ARRIVAL, OUTCOME, order_events
from features.streams import compute_feature_matrix
from models.bundle import Bundle, ModelCard, SelfTestExamples, load_bundle, write_bundle
from models.fitting.boosting import LabelledRows, TreeParams, fit_risk_model
from serving.process.settings import Settings
from serving.scoring.scorer import ScoreRequest
from serving.service import Service
from training.simulation.operation import simulate

PER_DAY = 500
SMALLER = 8
MODEL_ROWS = 2_000
DRAINED_ENTRIES = 500
NPSRISK = Path(sys.executable).with_name("npsrisk")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=16_000, help="number of consignments")
    rows = parser.parse_args().rows
    few, many = (measure_world(size) for size in (rows // SMALLER, rows))
    print(
        "| verb | CPU s of the small log | of the large one | decisions a CPU second | peak MB, small | large |"
    )
    print("|---|---|---|---|---|---|")
    for verb, (seconds, small_mb) in few.items():
        more, large_mb = many[verb]
        rate = (rows - rows // SMALLER) / (more - seconds)
        print(
            f"| `npsrisk {verb}` | {seconds:.1f} | {more:.1f} | {rate:,.0f} | {small_mb:,.0f} | {large_mb:,.0f} |"
        )


def measure_world(rows: int) -> dict[str, tuple[float, float]]:
    """Measure CPU seconds and peak memory (MB) of each command over a log of `rows` decisions."""
    made = simulate(days=-(-rows // PER_DAY), per_day=PER_DAY, seed=1)
    consignments = check_frame(made.consignments.head(rows), Consignment).frame
    with TemporaryDirectory() as folder:
        state_dir = Path(folder) / "state"
        publish_a_model(state_dir, consignments.head(MODEL_ROWS))
        asyncio.run(live(state_dir, consignments, check_frame(made.outcomes, Outcome).frame))
        verbs = (("parity",), ("export", "--personal", "--out", f"{folder}/out"), ("verify-log",))
        return {words[0]: measure(words, state_dir) for words in verbs}


def publish_a_model(state_dir: Path, frame: pd.DataFrame) -> None:
    """Publish a model of the default size for the service; its scores have no meaning."""
    config = FeatureConfig()
    matrix = compute_feature_matrix(Tables(frame), FeatureParameters(config))
    # A model refuses rows of features that were not fitted, which does not matter here.
    X = np.asarray(matrix.X)
    channels = frame["channel"].tolist()
    y = (np.random.default_rng(0).random(len(frame)) < 0.2).astype(np.int8)
    fit = LabelledRows(X, y, np.ones(len(y)), channels)
    model = fit_risk_model(fit, fit, matrix.spec, TreeParams(trees=300, leaves=31, depth=8), seed=0)
    values, arrays = FittedParameters.create_empty().to_plain()
    card = ModelCard(
        name="nps-risk",
        target="nps",
        as_of="2024-01-01T00:00:00Z",
        data_sha256="0" * 64,
        code_version="0",
        feature_spec_sha256=model.spec.compute_digest(),
    )
    folder = state_dir / "models" / "nps-risk-1"
    examples = SelfTestExamples.compute(model, X[:8], channels[:8])
    write_bundle(
        folder / "bundle",
        Bundle(card=card, config=config, fitted=values, arrays=arrays, model=model, examples=examples),
    )
    sha256 = load_bundle(folder / "bundle").sha256
    moment = pd.Timestamp("2024-01-01", tz="UTC").to_pydatetime()
    signed = sign_record(create_approver(state_dir), "1", sha256, moment, [])
    note = {
        "name": "nps-risk",
        "version": "1",
        "bundle_sha256": sha256,
        "envelope": signed.to_envelope(),
    }
    folder = folder.rename(folder.with_name(f"nps-risk-1-{sha256[:12]}"))
    (folder / "release.json").write_text(json.dumps(note))
    (state_dir / "models" / "current.json").write_text(json.dumps({"folder": folder.name}))


async def live(state_dir: Path, consignments: pd.DataFrame, outcomes: pd.DataFrame) -> None:
    """Process everything in the order of history with a service."""
    events = order_events(build_arrival_events(consignments), build_outcome_events(outcomes))
    arrived, results = to_consignments(consignments, Consignment), to_outcomes(outcomes)
    now_us = 0
    service = Service(Settings.model_validate({"NPSRISK_STATE_DIR": str(state_dir)}), lambda: now_us)
    service.open()
    await service.start()
    last = max(to_us(c.received_at) for c in arrived if c.received_at is not None)
    for number, (what, row) in enumerate(zip(events.what.tolist(), events.row.tolist(), strict=True)):
        if what == ARRIVAL:
            c = msgspec.structs.replace(arrived[row], cancelled_at=None)
            assert c.received_at is not None
            received_us = to_us(c.received_at)
            now_us = max(now_us, received_us)
            service.active.score_batch([ScoreRequest(c, received_us, "local", 0)])
        elif what == OUTCOME and now_us < last:
            service.active.intake.record_outcome(results[row], now_us, "local")
        if number % DRAINED_ENTRIES == 0:
            await service.committer.drain()
    await service.stop()


RUN = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
"""
"""Runs a command and prints its CPU seconds and MB, from a small process, because a child starts with its parent's size."""


def measure(words: tuple[str, ...], state_dir: Path) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(NPSRISK), *words],
        env=os.environ | {"NPSRISK_STATE_DIR": str(state_dir)},
        stdout=subprocess.PIPE,
        check=True,
    )
    seconds, peak_mb = map(float, done.stdout.split())
    return seconds, peak_mb


if __name__ == "__main__":
    main()
