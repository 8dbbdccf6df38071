"""The table of history grows, forgets, and says no, and none of it shows in what is read."""

import numpy as np
import pytest
from support.history_worlds import copy_arrays, list_bytes, sort_history

from consignments.errors import BadSetting, ServiceFault
from features.history.kept_table import join_parts, sort_table
from features.history.kernels import ARRIVALS, ARRIVALS_EVER, HEAD_WORDS, STEP
from features.history.keys import KeyKind
from features.history.table import History

KINDS = tuple(KeyKind(name, name, None, (), side=name) for name in ("sender", "consignee"))


def steps_of(count: int, days: "np.ndarray[tuple[int], np.dtype[np.int64]]"):
    steps = np.zeros(count, dtype=STEP)
    steps["change"], steps["counter"] = 1, ARRIVALS
    steps["row"] = steps["out_row"] = np.arange(count)
    steps["day"] = steps["today"] = days
    return steps


def read_all(history: History, keys, counterparts, days):
    out = np.zeros((len(keys), history.width), dtype=np.float32)
    history.run(steps_of(len(keys), days), keys, counterparts, out)
    return out


def random_keys(count: int, distinct: int, seed: int = 0):
    random = np.random.default_rng(seed)
    keys = random.integers(1, distinct, (count, len(KINDS))).astype(np.uint64)
    keys[:, 1] += np.uint64(distinct)
    return keys, random.integers(0, 20, keys.shape).astype(np.uint64), np.sort(random.integers(0, 900, count))


def test_neither_growing_nor_clearing_away_changes_what_is_read() -> None:
    keys, counterparts, days = random_keys(6_000, 1_200)
    expected = read_all(History(KINDS, capacity=1 << 15), keys, counterparts, days)
    history = History(KINDS, capacity=1)
    for begin in range(0, len(keys), 500):
        part = slice(begin, begin + 500)
        found = read_all(history, keys[part], counterparts[part], days[part])
        assert found.tobytes() == expected[part].tobytes()
        history.purge_forgotten()


def test_forgotten_keys_give_their_memory_back() -> None:
    history = History(KINDS, capacity=1 << 12)
    for year in range(12):
        keys, counterparts, days = random_keys(2_000, 10_000, seed=year)
        read_all(history, keys, counterparts, 1_270 * year + days)
        if year == 1:
            held = history.nbytes
    assert history.nbytes <= 1.5 * held


def test_hot_keys_need_a_tile_for_each_remembered_day_and_no_more() -> None:
    count = 5_000
    keys = np.full((count, len(KINDS)), (1, 2), dtype=np.uint64)
    out = read_all(History(KINDS), keys, np.zeros_like(keys), np.arange(count))
    assert out[-1, [ARRIVALS_EVER, ARRIVALS_EVER - 1]].tolist() == [count - 1, 364]


def test_a_full_table_says_so_and_its_readings_stay_also_after_a_restart() -> None:
    history = History(KINDS, max_keys=10)
    keys = np.arange(1, 21, dtype=np.uint64).reshape(-1, 2)
    for table in (history, History.from_arrays(KINDS, copy_arrays(history), max_keys=10)):
        with pytest.raises(ServiceFault, match=r"is full; got 10 keys .* within 10; raise NPSRISK_MAX"):
            read_all(table, keys, np.zeros_like(keys), np.zeros(10, dtype=np.int64))
        known = read_all(table, keys[:5].copy(), np.zeros_like(keys[:5]), np.ones(5, dtype=np.int64))
        assert known[:, ARRIVALS_EVER].tolist() == [1] * 5
    told = "no room for a single consignment; got max_keys 1; expected at least 2"
    with pytest.raises(BadSetting, match=told):
        History(KINDS, max_keys=1)


@pytest.mark.parametrize(
    ("name", "value"), [("row", 5), ("row", -1), ("out_row", 5), ("today", 1), ("day", 9)]
)
def test_a_step_outside_its_arrays_or_against_time_is_refused(name: str, value: int) -> None:
    keys = np.ones((5, 2), dtype=np.uint64)
    steps = steps_of(3, np.full(3, 2))
    steps[2][name] = value
    with pytest.raises(ValueError, match="bad step 2"):
        History(KINDS).run(steps, keys, keys, np.zeros((5, History(KINDS).width), dtype=np.float32))


def test_arrays_of_another_shape_or_type_are_refused() -> None:
    history, keys = History(KINDS), np.ones((3, 2), dtype=np.uint64)
    steps, out = steps_of(3, np.zeros(3)), np.zeros((3, History(KINDS).width), dtype=np.float32)
    bad = [
        (steps, keys.astype(np.int64), keys, out),
        (steps, keys[:, :1].copy(), keys, out),
        (steps, keys, keys[:2], out),
        (steps, keys, keys, out.astype(np.float64)),
        (steps, keys, keys, out[:, 1:].copy()),
        (steps, keys, keys, out[:, ::2]),
    ]
    for arguments in bad:
        with pytest.raises(ValueError, match=r"expected|no room"):
            history.run(*arguments)
    assert len(history) == 0


def test_arrays_of_another_version_or_that_do_not_belong_together_are_refused() -> None:
    arrays = copy_arrays(History(KINDS))
    for name in ("heads", "days", "counterparts"):
        with pytest.raises(ServiceFault, match="do not belong together"):
            History.from_arrays(KINDS, arrays._replace(**{name: getattr(arrays, name)[:-1]}))
    arrays.state[0] -= 1
    with pytest.raises(ServiceFault, match="another version of npsrisk"):
        History.from_arrays(KINDS, arrays)


def test_a_key_of_one_day_fits_in_ninety_bytes() -> None:
    keys, counterparts, days = random_keys(30_000, 1 << 40)
    history = History(KINDS)
    read_all(history, keys, np.zeros_like(counterparts), days)
    arrays = history.get_arrays()
    slots = 4 * 4 * len(history)
    assert len(history) == 60_000
    assert (arrays.heads.nbytes + arrays.days.nbytes + slots) / len(history) < 90
    assert HEAD_WORDS * 4 == 64


def test_a_state_whose_blocks_cannot_be_addressed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(KINDS)
    keys, counterparts, days = random_keys(50, 20)
    read_all(history, keys, counterparts, days)
    table = sort_history(history, history.today)
    largest = max(map(len, table[2:]))
    monkeypatch.setattr("features.history.kept_table.MAX_STORE_SIZE", largest)
    History.from_arrays(KINDS, table)
    monkeypatch.setattr("features.history.kept_table.MAX_STORE_SIZE", largest - 1)
    for use in (lambda: History.from_arrays(KINDS, table), lambda: join_parts([table], history.today)):
        with pytest.raises(ServiceFault, match="full: its days and counterparts cannot be addressed"):
            use()


def test_parts_of_any_size_give_the_same_table_and_history_goes_on_from_it() -> None:
    history = History(KINDS)
    keys, counterparts, days = random_keys(1_000, 400)
    read_all(history, keys, counterparts, days)
    today = history.today + 200  # many keys are forgotten by then
    table = sort_history(history, today)
    assert 0 < len(table.keys) < len(history)
    for part_keys in (1, 7, 100):
        parts = list(sort_table(history.get_arrays(), today, part_keys))
        assert len(parts) > 1
        assert list_bytes(join_parts(parts, today)) == list_bytes(table)
    assert list_bytes(sort_history(History.from_arrays(KINDS, table), today)) == list_bytes(table)
