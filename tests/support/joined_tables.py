"""Past and given consignments as one table, to compare with tables that are read as two."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from consignments.columns import adopt_spellings
from features.batch import Tables, mask_past_rows


def join_history(given: Tables, history: pd.DataFrame) -> tuple[Tables, NDArray[np.bool_]]:
    past = history[mask_past_rows(history, given.consignments)]
    both = pd.concat([past, given.consignments], ignore_index=True)
    outcomes = given.outcomes
    if outcomes is not None:
        outcomes = adopt_spellings(outcomes, both["consignment_id"])
    return Tables(both, outcomes, given.alerts), np.arange(len(both)) >= len(past)
