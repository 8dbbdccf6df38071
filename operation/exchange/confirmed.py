"""Confirmed detections of an operation: what seizures and warnings are drafted from."""

from datetime import datetime

import pandas as pd

from consignments.records import Consignment, Target
from consignments.tables import to_consignments, to_outcomes
from consignments.timestamps import to_us
from consignments.versions import select_counting_rows
from features.batch import Tables
from operation.exchange.drafts import ConfirmedSeizure
from training.data.training_set import is_positive, select_current_outcomes


def list_confirmed(tables: Tables, as_of: datetime, target: Target) -> list[ConfirmedSeizure]:
    """List the detections that are confirmed at a time, in the order in which they became known.

    A result that was later withdrawn is not listed: the last visible one stands.
    """
    assert tables.outcomes is not None
    current = select_current_outcomes(tables.outcomes, to_us(as_of))
    result = current["result"] if "result" in current else pd.Series(None, index=current.index, dtype=object)
    positive = (current["status"] == "inspected").to_numpy() & is_positive(result, target)
    found = {outcome.consignment_id: outcome for outcome in to_outcomes(current[positive])}
    frame = tables.consignments[select_counting_rows(tables.consignments)]
    mine = frame[frame["consignment_id"].isin(list(found))]
    pairs = [ConfirmedSeizure(c, found[c.consignment_id]) for c in to_consignments(mine, Consignment)]
    return sorted(pairs, key=lambda each: (each.outcome.known_at or as_of, each.consignment.consignment_id))
