"""What verbs that compute over whole tables share: pseudonyms that are kept nowhere, and the number of processes."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from features.history.pseudonyms import Pseudonyms


def create_batch_pseudonyms() -> "Pseudonyms":
    """Create pseudonyms for a batch, which writes none of them anywhere."""
    from features.batch import BATCH_KEY
    from features.history.pseudonyms import Pseudonyms

    return Pseudonyms(BATCH_KEY)


def count_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
