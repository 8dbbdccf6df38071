"""The ledger counts versions together as one by one, and a full table takes events again when its keys are forgotten."""

import numpy as np
import pytest
from numpy.typing import NDArray
from support.history_worlds import get_counted

from consignments.errors import ServiceFault
from features.history.kernels import WIDTH
from features.history.keys import KeyKind
from features.history.live import LiveHistory
from features.history.table import History

KINDS = tuple(KeyKind(name, name, None, ()) for name in ("sender", "consignee"))
START = 19_783


def keys(*numbers: int) -> NDArray[np.uint64]:
    return np.array(numbers, dtype=np.uint64)


NOBODY = keys(0, 0)


def test_a_late_version_needs_no_room_and_leaves_a_full_table_as_it_was() -> None:
    ledger = LiveHistory(History(KINDS, max_keys=4))
    ledger.record_arrival("A", START, keys(1, 2), keys(3, 4), issued_us=2)
    before = get_counted(ledger.history)
    ledger.record_arrival("A", START + 1, keys(5, 6), keys(7, 8), issued_us=1)
    assert get_counted(ledger.history) == before
    row = np.zeros(ledger.history.width, dtype=np.float32)
    ledger.read_instead(ledger.states.get("A", START + 1), START + 1, keys(1, 2), keys(9, 9), row)
    assert get_counted(ledger.history) == before
    assert row[[0, WIDTH]].tolist() == [1, 1]


def test_a_full_table_takes_events_again_when_its_keys_are_forgotten() -> None:
    ledger = LiveHistory(History(KINDS, max_keys=4))
    for number in range(2):
        ledger.record_arrival(f"a{number}", START, keys(10 + number, 20 + number), NOBODY)
    with pytest.raises(ServiceFault):
        ledger.record_arrival("b", START + 366, keys(1, 2), NOBODY)
    ledger.record_arrival("b", START + 367, keys(1, 2), NOBODY)
    assert len(ledger.history) == 2
