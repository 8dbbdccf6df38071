"""Claims about scored traffic."""

import numpy as np
import pytest
from support.training_judged import make_scored_period as traffic

from consignments.errors import BadInput


def test_scores_that_are_not_numbers_are_refused():
    with pytest.raises(BadInput, match=r"row 1 of 2 .*got nan; expected .*; score"):
        traffic([0.1, np.nan], [True, False])
