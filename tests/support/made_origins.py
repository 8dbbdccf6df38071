"""Rolling origins of made-up rows, for tests of what looks at them."""

import numpy as np
from support.small_model import SPEC, make_rows

from features.spec import Spec
from training.config import TrainConfig, parse_config
from training.fitting.rolling_origin import RollingOrigin

CONFIG: TrainConfig = parse_config({"model": {"trees": 15, "rows_in_leaf": 10}})


def made_origins(count: int = 2, rows: int = 600, spec: Spec = SPEC) -> list[RollingOrigin]:
    """Make origins whose first features tell; every fifth training row is background."""
    origins, number = list[RollingOrigin](), np.arange(rows)
    for seed in range(0, 10 * count, 10):
        train, window = make_rows(seed + 1, rows), make_rows(seed + 2, rows)
        background = (number % 5 == 0) & (train.y == 0)
        even = window._replace(weight=np.ones(rows))
        origins.append(RollingOrigin(train, background, even, number % 28, spec))
    return origins
