"""Helpers of the verbs that compute over whole tables: pseudonyms of one batch, and the number of processes."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from features.history.pseudonyms import Pseudonyms


def create_batch_pseudonyms() -> "Pseudonyms":
    """Create the pseudonyms of a batch. A batch writes none of them to a file or log."""
    from features.batch import BATCH_KEY
    from features.history.pseudonyms import Pseudonyms

    return Pseudonyms(BATCH_KEY)


def count_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
