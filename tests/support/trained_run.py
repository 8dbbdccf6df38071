"""A small training run, from which tests of its artifacts and pages start."""

from features.batch import Tables
from training.config import parse_config
from training.fitting.diagnostics import DiagnosticsOptions, SearchBudget
from training.runs.task import TrainingTask
from training.runs.train import train_model
from training.simulation.operation import simulate

CONFIG = parse_config(
    {
        "split": {"validation_days": 14, "test_days": 14, "label_delay_days": 10},
        "model": {"trees": 10},
        "evaluation": {"name_rows": 60, "smallest_slice": 10, "origins": 1},
    }
)
GOODS = "<b>pigment</b> & sample"
"""Goods text of the consignments that a test world adds."""


def simulate_tables():
    """Give a world of ninety days, of which some goods texts hold markup, and its truth."""
    world = simulate(days=90, per_day=100, prevalence="operation", seed=8)
    found = set(world.truth.loc[world.truth["result"] != "clear", "consignment_id"])
    marked = world.consignments["consignment_id"].isin(found)
    consignments = world.consignments.assign(
        description=world.consignments["description"].mask(marked, GOODS)
    )
    return Tables(consignments, world.outcomes, world.alerts), world.truth


def train_small_run(*, studies, with_truth=True):
    """Train on the small world: with ablation and search if `studies`."""
    tables, truth = simulate_tables()
    as_of = tables.consignments["received_at"].max().ceil("D").to_pydatetime()
    wanted = (
        DiagnosticsOptions(ablation=("groups",), search=SearchBudget(1)) if studies else DiagnosticsOptions()
    )
    return train_model(
        TrainingTask(tables, as_of, "any_offence", CONFIG, truth if with_truth else None, wanted)
    )
