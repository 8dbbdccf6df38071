"""Kernels that run as Python (`NUMBA_DISABLE_JIT=1`): numpy must give their records attributes, as the compiler does."""

from typing import Any, TypeVar

import numpy as np
from numba import config as numba_config

from features.goods.tables import load_goods_tables
from features.normalization.tables import create_tables
from features.pipeline import Pipeline
from features.rows import described_rows
from features.rows.plans import FeaturePlan, KeyPlan

Plan = TypeVar("Plan", KeyPlan, FeaturePlan)


def prepare_tables() -> None:
    """Give the tables of kernels attributes, if kernels are not compiled."""
    if numba_config.DISABLE_JIT:
        goods = load_goods_tables().view(np.recarray)
        described_rows.create_tables = lambda: create_tables().view(np.recarray)
        described_rows.load_goods_tables = lambda: goods
        described_rows.PARTIES_ONLY = prepare_plan(described_rows.PARTIES_ONLY)
        described_rows.NO_KEYS = prepare_plan(described_rows.NO_KEYS)


def prepare_plan(plan: Plan) -> Plan:
    """Return a plan whose record has attributes, if kernels are not compiled."""
    record: Any = plan.record.view(np.recarray) if numba_config.DISABLE_JIT else plan.record
    return plan._replace(record=record)


def prepare_pipeline(pipeline: Pipeline) -> Pipeline:
    """Return a pipeline whose plans and tables have attributes, if kernels are not compiled."""
    prepare_tables()
    pipeline.key_plan = prepare_plan(pipeline.key_plan)
    pipeline.feature_plan = prepare_plan(pipeline.feature_plan)
    return pipeline
