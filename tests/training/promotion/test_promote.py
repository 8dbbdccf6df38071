"""Models that must not pass are really made, on a lane with many NPS of which a lot opens a third; the gate tells which is which."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.approval import APPROVAL
from support.signing import APPROVERS, REVIEWER
from support.stores import create_store

from consignments.errors import PromotionRefused
from consignments.records import Outcome
from consignments.tables import check_frame
from features.batch import Tables
from features.streams import FeatureChunk, FeatureInputs, stream_features
from models.formats import format_number
from models.promotion_record import PromotionRecord
from models.registry import ModelVersion, Registry
from training.config import parse_config
from training.data import table_features
from training.gate.report import GateReport
from training.promotion.compared_versions import ComparedVersions
from training.promotion.comparison import ComparedTraffic
from training.promotion.comparison_report import log_comparison
from training.promotion.evidence import EvidenceOptions, review_version
from training.promotion.promote import promote
from training.promotion.refit import RefitOptions
from training.reporting.mlflow_tracking import NOTE_TAG
from training.runs.registered_run import RegisteredRun, run_training, write_review
from training.runs.task import TrainingTask
from training.simulation.operation import SimulatedTables, simulate
from training.simulation.parameters import load_parameters

CONFIG = {
    "split": {"validation_days": 20, "test_days": 25, "label_delay_days": 10},
    "model": {"trees": 12},
    "weights": {"background_rows": 1500},
    "evaluation": {"name_rows": 60, "smallest_slice": 20, "origins": 0},
}
LONG = CONFIG | {"split": CONFIG["split"] | {"test_days": 30}, "model": {"trees": 25}}
"""Settings for a world with enough finds to tell two good models apart."""
OPENED = 0.33
LATER = pd.Timedelta(days=7)


@dataclass(frozen=True)
class Lane:
    """A simulated lane, a store for its models, and how they are made."""

    world: SimulatedTables
    outcomes: pd.DataFrame
    registry: Registry
    config: dict[str, Any]

    def retrain(self, **changes: Any) -> RegisteredRun:
        """Train and register a model on tables, or with settings, that may be at fault."""
        world = {"consignments": self.world.consignments, "outcomes": self.outcomes}
        tables = Tables(**{name: changes.pop(name, frame) for name, frame in world.items()})
        task = TrainingTask(tables, config=parse_config(self.config | changes))
        return run_training(task, self.registry.tracking_uri, register=True, key=REVIEWER)

    def train(self, **changes: Any) -> ModelVersion:
        return self.registry.resolve(self.retrain(**changes).version or "")

    def compare(self, champion: str, challenger: str) -> str:
        """Compare two versions on the weeks that neither has learnt of, and sign the result; gives the run."""
        a, b = (self.registry.resolve(name) for name in (champion, challenger))
        traffic = ComparedTraffic(Tables(self.world.consignments, self.outcomes))
        found = ComparedVersions.fetch(self.registry, a, b).compare(traffic)
        return log_comparison(self.registry, found, a, b, REVIEWER, APPROVERS)[0]

    def promote(self, version: ModelVersion, *, force: bool = False) -> PromotionRecord:
        done = promote(self.registry, version, APPROVAL, force=force)
        assert (done.signers, done.missing) == (["a reviewer"], 0)
        return done.record

    def review(self, uri: str) -> GateReport:
        return review_version(self.registry, self.registry.resolve(uri), EvidenceOptions(APPROVERS))

    def read_version(self, number: str) -> str:
        name = self.registry.resolve(number).name
        return self.registry.client.get_model_version(name, number).description or ""

    def read_run(self, number: str) -> str:
        return self.registry.get_run_tags(self.registry.resolve(number).run_id)[NOTE_TAG]


def simulate_lane(days: int, per_day: int) -> SimulatedTables:
    many = load_parameters().replace(prevalence={"operation": {"nps": 0.04}})
    return simulate(many, days=days, per_day=per_day, prevalence="operation", seed=3)


@pytest.fixture(scope="module")
def lane(tmp_path_factory: pytest.TempPathFactory) -> Lane:
    """The lane, with a store that has no champion."""
    world, store = simulate_lane(days=85, per_day=60), create_store(tmp_path_factory.mktemp("lane"))
    return Lane(world, opened_by_lot(world), Registry(store), CONFIG)


@pytest.fixture
def ruled(tmp_path: Path) -> Lane:
    """A longer lane, with an empty store of its own for a champion."""
    world = simulate_lane(days=110, per_day=120)
    return Lane(world, opened_by_lot(world), Registry(create_store(tmp_path)), LONG)


def opened_by_lot(world: SimulatedTables) -> pd.DataFrame:
    """Open a third of what comes, each with the same chance; answered nine days after arrival."""
    frame = world.consignments
    chosen = np.random.default_rng(1).random(len(frame)) < OPENED
    received = frame["received_at"][chosen].reset_index(drop=True)
    result = world.truth.set_index("consignment_id")["result"].reindex(frame["consignment_id"][chosen])
    times = {"inspected_at": received + pd.Timedelta(days=1), "known_at": received + pd.Timedelta(days=9)}
    found = pd.DataFrame({"consignment_id": result.index, "result": result.to_numpy()} | times)
    chosen_by = {"selected_by": "random", "selection_probability": OPENED, "status": "inspected"}
    return check_frame(found.assign(**chosen_by), Outcome, strict=True).frame


def dated_at_arrival(outcomes: pd.DataFrame, consignments: pd.DataFrame) -> pd.DataFrame:
    """Give outcomes as one has them whose table lacks the date of the laboratory's answer."""
    received = consignments.set_index("consignment_id")["received_at"]
    mine = received.reindex(outcomes["consignment_id"]).reset_index(drop=True)
    return outcomes.assign(inspected_at=mine, known_at=mine)


def date_at_arrival(lane: Lane) -> dict[str, Any]:
    return {"outcomes": dated_at_arrival(lane.outcomes, lane.world.consignments)}


def fill_in_from_results(lane: Lane) -> dict[str, Any]:
    found = lane.outcomes.set_index("consignment_id")["result"].eq("nps")
    duty = found.reindex(lane.world.consignments["consignment_id"]).astype("float64").to_numpy()
    noise = np.random.default_rng(2).normal(100, 5, len(duty))
    filled = lane.world.consignments.assign(duty_assessed=noise + 100 * duty)
    return {"consignments": filled, "columns": {"numeric": ["duty_assessed"]}}


def shuffle_labels(lane: Lane) -> dict[str, Any]:
    shuffled = lane.outcomes["result"].sample(frac=1, random_state=4).to_numpy()
    return {"outcomes": lane.outcomes.assign(result=shuffled)}


def report_little_but_finds(lane: Lane) -> dict[str, Any]:
    """Let an office report little but its finds in the weeks that calibrate: scores promise many times what is found."""
    received = lane.world.consignments.set_index("consignment_id")["received_at"]
    weeks = received.reindex(lane.outcomes["consignment_id"]).between("2024-01-28", "2024-02-27").to_numpy()
    unreported = weeks & lane.outcomes["result"].ne("nps").to_numpy() & (np.arange(len(weeks)) % 12 > 0)
    return {"outcomes": lane.outcomes[~unreported]}


FAULTS: dict[Callable[[Lane], dict[str, Any]], str] = {
    date_at_arrival: "results after arrivals: 100 % of",
    fill_in_from_results: "no column is the result: the most predictive single column, “Duty assessed: .*”: area",
    shuffle_labels: "better than chance: area under the ROC curve 0.",
    report_little_but_finds: "calibrated: .*, predicted positives of all traffic are .*: the scores are too high",
}


@pytest.mark.slow
@pytest.mark.parametrize("plant", FAULTS)
def test_a_model_of_faulty_tables_is_refused(lane: Lane, plant: Callable[[Lane], dict[str, Any]]) -> None:
    with pytest.raises(PromotionRefused, match=FAULTS[plant]):
        lane.promote(lane.train(**plant(lane)))


@pytest.mark.slow
def test_a_model_whose_readings_knew_later_results_is_refused(
    lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def knowing(inputs: FeatureInputs, *rest: Any, **options: Any) -> Iterator[FeatureChunk]:
        """Compute features as code at fault would: every result counts from the arrival on."""
        known = dated_at_arrival(inputs.outcomes, inputs.consignments.take_order())
        return stream_features(replace(inputs, outcomes=known), *rest, **options)

    monkeypatch.setattr(table_features, "stream_features", knowing)
    said = r"no future data: 100 % of [\d,]+ test consignments get other features"
    with pytest.raises(PromotionRefused, match=said):
        lane.promote(lane.train())


@pytest.mark.slow
def test_a_better_model_and_then_its_routine_refit_replace_the_champion(ruled: Lane) -> None:
    ruled.promote(ruled.train(outcomes=turned_round(ruled.outcomes)), force=True)
    good = ruled.retrain().version or ""
    assert ruled.read_version(good).startswith("**WAIT.** First compare it with the champion")
    better = ruled.compare("champion", good)
    described = ruled.read_version(good)
    assert described.startswith("**PROMOTE.** This version is better than version 1: ")
    assert "all rules of the gate, charts, explanations" in described
    note = ruled.registry.get_run_tags(better)[NOTE_TAG]
    assert "ranked by themselves, the recipes as deployed: Of " in note
    old, new = (ruled.registry.fetch_fits(ruled.registry.resolve(each)).served.model.bands for each in "12")
    level = f"served scores of version 2 are {format_number(new.high / old.high)} times those of version 1 ("
    assert note.count(level) == described.count(level) == 1
    record = ruled.promote(ruled.registry.resolve(good))
    assert (record.way, record.replaces, record.comparison, record.forced) == ("better", "1", better, False)
    assert record.sentence in record.to_markdown()
    said = f"**PROMOTED.** {record.sentence} Record 2, approved by a reviewer."
    assert ruled.read_run(good).startswith(said)

    outcomes, end = ruled.outcomes, ruled.outcomes["known_at"].max()
    later = outcomes.assign(known_at=outcomes["known_at"].where(outcomes["known_at"] < end, end + LATER))
    refit = ruled.train(outcomes=later)
    ruled.compare("champion", refit.number)
    assert ruled.review(refit.number).recommendation.action != "promote", "its training was not repeated"
    tables = RefitOptions(Tables(ruled.world.consignments, later))
    repeated = review_version(ruled.registry, refit, EvidenceOptions(APPROVERS, refit=tables))
    write_review(ruled.registry, refit, repeated)
    assert "nobody signed" in ruled.review(refit.number).rules["training reproduced"].found
    done = promote(ruled.registry, refit, APPROVAL, EvidenceOptions(refit=tables)).record
    assert (done.way, done.recipe_sha256) == ("routine refit", record.recipe_sha256)
    assert " on results until 20" in done.sentence
    assert ruled.read_run(refit.number).startswith("**PROMOTED.** Routine refit: ")
    page = ruled.registry.read_run_artifact(refit.run_id, "report.html") or b""
    assert b'<span class="word">promoted</span>' in page
    assert f'/runs/{done.comparison}">The comparison in MLflow</a>'.encode() in page


def turned_round(outcomes: pd.DataFrame) -> pd.DataFrame:
    """Report the finds as harmless, and as many others as finds: what is learnt from it is worse than chance."""
    result = outcomes["result"].copy()
    finds = result.eq("nps")
    harmless = result[~finds].sample(finds.sum(), random_state=4).index
    result[finds] = result[harmless].to_numpy()
    result[harmless] = "nps"
    return outcomes.assign(result=result)
