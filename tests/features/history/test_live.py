"""The ledger refuses before it changes anything, and does not keep what history has forgotten."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from consignments.errors import ServiceFault
from features.history.keys import KeyKind
from features.history.live import LiveHistory
from features.history.table import History

KINDS = tuple(KeyKind(name, name, None, ()) for name in ("sender", "consignee"))
START = 19_783


def keys(*numbers: int) -> NDArray[np.uint64]:
    return np.array(numbers, dtype=np.uint64)


NOBODY = keys(0, 0)


def test_the_ledger_says_no_before_it_changes_anything() -> None:
    ledger = LiveHistory(History(KINDS, max_keys=8))
    for number in range(4):
        ledger.record_arrival(f"a{number}", START, keys(10 + number, 20 + number), NOBODY)
    before = ledger.history.to_arrays()
    with pytest.raises(ServiceFault, match=r"history is full; got 8 keys in use; expected room .* within 8"):
        ledger.record_arrival("a0", START, keys(1, 2), NOBODY)
    after = ledger.history.to_arrays()
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)


def test_no_step_keeps_the_counterparts_of_an_earlier_event(monkeypatch: pytest.MonkeyPatch) -> None:
    history, given = History(KINDS), []
    live, run = LiveHistory(history), history.run

    def keep(steps: Any, own: Any, counterparts: Any, out: Any = None) -> None:
        given.append(counterparts[: len(steps)].copy())
        run(steps, own, counterparts, out)

    monkeypatch.setattr(history, "run", keep)
    live.record_arrival("A", 10, keys(1, 2), keys(3, 4))
    live.record_arrival("A", 11, keys(1, 2), keys(5, 6))
    live.cancel("A")
    assert [each.tolist() for each in given] == [[[3, 4]], [[0, 0], [5, 6]], [[0, 0]]]


def test_a_full_table_takes_events_again_when_its_keys_are_forgotten() -> None:
    ledger = LiveHistory(History(KINDS, max_keys=4))
    for number in range(2):
        ledger.record_arrival(f"a{number}", START, keys(10 + number, 20 + number), NOBODY)
    with pytest.raises(ServiceFault):
        ledger.record_arrival("b", START + 366, keys(1, 2), NOBODY)
    ledger.record_arrival("b", START + 367, keys(1, 2), NOBODY)
    assert len(ledger.history) == 2


def test_a_ledger_forgets_old_consignments() -> None:
    ledger = LiveHistory(History(KINDS))
    for number in range(50):
        ledger.record_arrival(f"c{number}", START + 30 * number, NOBODY, NOBODY)
    assert len(ledger) <= 366 // 30 + 2
