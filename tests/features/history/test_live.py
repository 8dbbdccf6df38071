"""The ledger counts versions together as one by one, and a full table takes events again when its keys are forgotten."""

import numpy as np
import pytest
from numpy.typing import NDArray
from support.history_worlds import get_counted

from consignments.errors import ServiceFault
from consignments.timestamps import NO_TIME, US_PER_DAY
from features.history.kernels import WIDTH
from features.history.keys import KeyKind
from features.history.live import LiveHistory, VisibleOutcome
from features.history.table import History

KINDS = tuple(KeyKind(name, name, None, ()) for name in ("sender", "consignee"))
START = 19_783


def keys(*numbers: int) -> NDArray[np.uint64]:
    return np.array(numbers, dtype=np.uint64)


NOBODY = keys(0, 0)


def test_versions_recorded_together_are_counted_like_one_by_one() -> None:
    arrivals = [("A", 1, 2), ("A", 3, 1), ("B", 1, 2), ("A", 3, 3), ("B", 1, 1)]
    day, width = START + 1, History(KINDS).width
    single, together = LiveHistory(History(KINDS)), LiveHistory(History(KINDS))
    for ledger in (single, together):
        ledger.record_arrival("A", START, keys(1, 2), keys(5, 6), issued_us=2)
        ledger.record_arrival("B", START, keys(1, 2), keys(7, 6), issued_us=2)
        ledger.record_outcome("A", VisibleOutcome(START * US_PER_DAY, NO_TIME, NO_TIME, None, "nps"))
    for first, after in ((0, 1), (1, 3), (3, 5)):
        some = arrivals[first:after]
        read = np.zeros((2, len(some), width), dtype=np.float32)
        own = np.array([(sender, 2) for _, sender, _ in some], dtype=np.uint64)
        for row, (name, _, issued_us) in enumerate(some):
            single.record_arrival(name, day, own[row], own[row], read[0, row], issued_us)
        together.begin_event(day)
        files = [together.states.get(name, day) for name, _, _ in some]
        together.record_arrivals(files, day, own, own, read[1], [issued_us for *_, issued_us in some])
        assert read[0].tobytes() == read[1].tobytes()
        assert get_counted(single.history) == get_counted(together.history)


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
