"""The buckets of a kept state."""

import os
from pathlib import Path

import numpy as np

from features.buckets.state import BucketState
from features.history.kept_table import create_empty
from features.history.keys import KeyKind

KIND = KeyKind("sender", "sender", "consignee", (), side="sender")
TODAY, BUCKETS = 19_783, 12


def test_the_buckets_of_the_next_table_are_opened_one_at_a_time(tmp_path: Path) -> None:
    state = BucketState.split(None, TODAY, tmp_path, BUCKETS)
    for bucket in range(BUCKETS):
        history, taken = state.start_history((KIND,), range(bucket, bucket + 1), np.empty(0, dtype=np.uint64))
        state.write_counted(0, range(bucket, bucket + 1), history, taken)
        state.merge(1, bucket)
    files = []
    keys = []
    for part in state.open_merged(BUCKETS):
        files.append(len(os.listdir("/proc/self/fd")))  # noqa: PTH208
        keys += part.keys.tolist()
    assert max(files) - min(files) <= len(part)
    assert keys == create_empty().keys.tolist()
