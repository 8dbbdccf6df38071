"""Rolling origins of made-up rows, for tests of what looks at them."""

import numpy as np
from support.small_model import SPEC, make_rows

from features.spec import Spec
from training.config import TrainConfig, parse_config
from training.fitting.rolling_origin import RollingOrigin

CONFIG: TrainConfig = parse_config({"model": {"trees": 15, "rows_in_leaf": 10}})


def made_origins(count: int = 2, rows: int = 600, spec: Spec = SPEC) -> list[RollingOrigin]:
    """Make origins whose first features tell; every fifth training row is background."""
    return [_origin(10 * place, rows, spec) for place in range(count)]


def _origin(seed: int, rows: int, spec: Spec) -> RollingOrigin:
    train, window = make_rows(seed + 1, rows), make_rows(seed + 2, rows)
    background = (np.arange(rows) % 5 == 0) & (train.y == 0)
    return RollingOrigin(train, background, window._replace(weight=np.ones(rows)), np.arange(rows) % 28, spec)
