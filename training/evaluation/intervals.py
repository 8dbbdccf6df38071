"""The earlier name of `training.evaluation.estimate`."""

from training.evaluation.estimate import (
    INTERVAL_QUANTILES as INTERVAL_QUANTILES,
)
from training.evaluation.estimate import (
    MIN_RESAMPLE_SHARE as MIN_RESAMPLE_SHARE,
)
from training.evaluation.estimate import (
    Estimate as Estimate,
)
from training.evaluation.estimate import (
    ResampledMetric as ResampledMetric,
)
from training.evaluation.estimate import (
    compute_interval as compute_interval,
)
from training.evaluation.estimate import (
    compute_share_interval as compute_share_interval,
)
