"""History never sees the future, and batch, one by one and the plain definition agree to the last bit."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.history_oracle import US_PER_DAY, Arrival, Outcome, PlainHistory, as_floats, in_order
from support.history_worlds import (
    GAPS,
    KINDS,
    ROW,
    START,
    arrivals_of,
    copy_arrays,
    get_counted,
    numbers,
    outcomes_of,
    process_table,
    worlds,
)

from consignments.timestamps import NO_TIME
from features.history.kernels import WIDTH
from features.history.live import LiveHistory, VisibleOutcome
from features.history.ordering import (
    ARRIVAL,
    CANCELLATION,
    OUTCOME,
    order_events,
)
from features.history.readings import READINGS
from features.history.table import History
from features.history.table_fold import TableFold

SIDES_AT = len(KINDS) * WIDTH
SIDES_OF_KINDS = tuple(kind.side for kind in KINDS)
NAMES = tuple(reading.name for reading in READINGS)


def batch(arrivals: Sequence[Arrival], outcomes: Sequence[Outcome], as_of_us=None, **options):
    """Readings of every arrival, in the order of `arrivals`."""
    out = np.full((len(arrivals), ROW), -1, dtype=np.float32)
    history = History(KINDS, capacity=options.pop("capacity", 4))
    process_table(
        TableFold(arrivals_of(arrivals), outcomes_of(outcomes), as_of_us),
        history,
        numbers([row.keys for row in arrivals]),
        numbers([row.counterparts for row in arrivals]),
        out,
        np.arange(len(arrivals)),
        **options,
    )
    return out


def one_by_one(
    arrivals: Sequence[Arrival],
    outcomes: Sequence[Outcome],
    restart_every: int = 0,
    kills: Collection[int] = (),
    *,
    compare: bool = False,
):
    """The same through the ledger, event by event, with a restart from a snapshot now and then, and before `kills`.

    To compare is to check that no late version changes a bit of the table. It then has room, so that no forgotten key is purged.
    """
    ledger = LiveHistory(History(KINDS, capacity=64 if compare else 4))
    out = np.full((len(arrivals), ROW), -1, dtype=np.float32)
    keys = numbers([row.keys for row in arrivals])
    counterparts = numbers([row.counterparts for row in arrivals])
    events = order_events(arrivals_of(arrivals), outcomes_of(outcomes))
    for place, (what, row) in enumerate(zip(events.what, events.row, strict=True)):
        if (restart_every and place % restart_every == 0) or place in kills:
            ledger = restarted(ledger)
        if what == ARRIVAL:
            day = arrivals[row].received_us // US_PER_DAY
            issued_us = NO_TIME if arrivals[row].issued_us is None else arrivals[row].issued_us
            before = get_counted(ledger.history) if compare else {}
            ledger.record_arrival(arrivals[row].name, day, keys[row], counterparts[row], out[row], issued_us)
            if compare and ledger.states.get(arrivals[row].name, ledger.today).is_late(issued_us):
                assert get_counted(ledger.history) == before
        elif what == OUTCOME:
            told = outcomes[row]
            ledger.record_outcome(
                told.name,
                VisibleOutcome(
                    told.visible_us,
                    NO_TIME if told.known_us is None else told.known_us,
                    NO_TIME if told.recorded_us is None else told.recorded_us,
                    told.sequence,
                    told.result,
                ),
            )
        else:
            ledger.cancel(arrivals[row].name)
    return out


def restarted(ledger: LiveHistory) -> LiveHistory:
    """The table from a snapshot; what is known of each consignment is kept elsewhere."""
    history = History.from_arrays(KINDS, copy_arrays(ledger.history))
    return LiveHistory(history, ledger.states, ledger.today)


def oracle(arrivals: Sequence[Arrival], outcomes: Sequence[Outcome], as_of_us=None):
    read = PlainHistory(SIDES_OF_KINDS).fold(in_order(list(arrivals), list(outcomes), as_of_us))
    rows = {id(arrival): values for arrival, values in read}
    return as_floats([rows[id(arrival)] for arrival in arrivals])


def same(left, right) -> bool:
    return left.shape == right.shape and left.tobytes() == right.tobytes()


any_world = st.booleans().flatmap(worlds)


@settings(max_examples=300)
@given(any_world)
def test_the_batch_reads_what_the_definition_says(world) -> None:
    arrivals, outcomes = world
    assert same(batch(arrivals, outcomes), oracle(arrivals, outcomes))


@settings(max_examples=150)
@given(any_world, st.integers(0, 3))
def test_one_by_one_with_restarts_reads_what_the_batch_reads(world, restart_every: int) -> None:
    arrivals, outcomes = world
    assert same(one_by_one(arrivals, outcomes, restart_every), batch(arrivals, outcomes))


@settings(max_examples=150)
@given(worlds(sequenced=True))
def test_a_late_version_changes_no_bit_of_the_table(world) -> None:
    one_by_one(*world, compare=True)


@settings(max_examples=150)
@given(any_world, st.integers(1, 5))
def test_splitting_a_batch_anywhere_changes_nothing(world, chunk_events: int) -> None:
    arrivals, outcomes = world
    assert same(batch(arrivals, outcomes, piece_rows=chunk_events), batch(arrivals, outcomes))


@settings(max_examples=150)
@given(any_world, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_changes_nothing(world, random) -> None:
    arrivals, outcomes = world
    expected = batch(arrivals, outcomes)
    order = list(range(len(arrivals)))
    random.shuffle(order)
    random.shuffle(outcomes)
    assert same(batch([arrivals[place] for place in order], outcomes), expected[order])


@settings(max_examples=150)
@given(any_world, st.integers(0, 20), worlds(sequenced=False))
def test_what_comes_later_changes_nothing_that_was_read(world, past: int, other_world) -> None:
    arrivals, outcomes = world
    events = order_events(arrivals_of(arrivals), outcomes_of(outcomes))
    seen = list(zip(events.what[:past].tolist(), events.row[:past].tolist(), strict=True))
    rows = [row for what, row in seen if what == ARRIVAL]
    cancelled = {row for what, row in seen if what == CANCELLATION}
    only_past = [
        arrivals[row] if row in cancelled else replace(arrivals[row], cancelled_us=None) for row in rows
    ]
    known = [outcomes[row] for what, row in seen if what == OUTCOME]
    future, more = later(other_world, arrivals, outcomes)
    read = batch(only_past + future, known + more)[: len(rows)]
    assert same(read, batch(arrivals, outcomes)[rows])


def later(world, arrivals: list[Arrival], outcomes: list[Outcome]):
    """Move a world behind everything in another."""
    last = max(
        [row.received_us for row in arrivals]
        + [row.cancelled_us or 0 for row in arrivals]
        + [row.visible_us for row in outcomes]
    )
    shift = last - START * US_PER_DAY + 400 * US_PER_DAY
    sequenced = arrivals[0].sequence is not None
    moved_arrivals = [
        replace(
            row,
            name=row.name if sequenced else f"later {row.name}",
            received_us=row.received_us + shift,
            cancelled_us=None if row.cancelled_us is None else row.cancelled_us + shift,
            sequence=1_000 + place if sequenced else None,
        )
        for place, row in enumerate(world[0])
    ]
    moved_outcomes = [
        replace(
            row,
            known_us=None if row.known_us is None else row.known_us + shift + 1200 * US_PER_DAY,
            opened_us=row.opened_us + shift + 1200 * US_PER_DAY,
            recorded_us=None,
            sequence=2_000 + place if sequenced else None,
        )
        for place, row in enumerate(world[1])
    ]
    return moved_arrivals, moved_outcomes


@settings(max_examples=150)
@given(any_world, st.sampled_from(GAPS))
def test_as_of_hides_what_became_visible_later(world, days: int) -> None:
    arrivals, outcomes = world
    as_of_us = (START + days) * US_PER_DAY
    read = batch(arrivals, outcomes, as_of_us)
    assert same(read, oracle(arrivals, outcomes, as_of_us))
    shown = [outcome for outcome in outcomes if outcome.visible_us <= as_of_us]
    kept = [
        replace(row, cancelled_us=None) if (row.cancelled_us or 0) > as_of_us else row for row in arrivals
    ]
    assert same(read, batch(kept, shown))


# Small worlds by hand: 1 March 2024 is day 0 here.


def moment(day: float) -> int:
    return int((START + day) * US_PER_DAY)


def arrival(name: str, day: float, sender: int = 1, **changes) -> Arrival:
    consignee = changes.pop("consignee", 0)
    return Arrival(name, moment(day), (sender, consignee), (changes.pop("with_", 0), 0), **changes)


def outcome(name: str, day: float, result: str | None = "nps", **changes) -> Outcome:
    return Outcome(name, moment(day), result, opened_us=moment(day), **changes)


def read_last(arrivals: Sequence[Arrival], outcomes: Sequence[Outcome] = ()) -> dict[str, float]:
    """What the last arrival reads of its sender, by the batch and by the ledger."""
    values = batch(arrivals, outcomes)[-1]
    assert same(values, one_by_one(arrivals, outcomes)[-1])
    return dict(zip((reading.name for reading in READINGS), values[:WIDTH].tolist(), strict=True))


def test_the_worked_example_of_the_page() -> None:
    nine, noon, three, five, six = 9 / 24, 12 / 24, 15 / 24, 17 / 24, 18 / 24
    arrivals = [
        arrival("a", 0 + nine, sequence=1),
        arrival("b", 0 + three, sequence=2, cancelled_us=moment(19 + noon)),
        arrival("c", 8 + noon, sequence=4),
        arrival("a", 8 + five, sequence=5, issued_us=moment(8)),
        arrival("a", 8 + six, sequence=6, issued_us=moment(7)),
        arrival("d", 12, sequence=8),
        arrival("e", 20, sequence=9),
    ]
    outcomes = [outcome("a", 8 + noon, sequence=3), outcome("a", 11 + nine, "clear", sequence=7)]
    read = batch(arrivals, outcomes)
    columns = [NAMES.index(name) for name in ("arrivals_30d", "nps_365d", "inspections_365d")]
    expected = [[0, 0, 0], [1, 0, 0], [2, 1, 1], [2, 0, 0], [2, 0, 0], [3, 0, 1], [3, 0, 1]]
    assert read[:, columns].tolist() == expected
    assert same(read, one_by_one(arrivals, outcomes))


@pytest.mark.parametrize(
    ("days_later", "windows"),
    [
        (0, [1, 1, 1, 1, 1]),
        (1, [0, 1, 1, 1, 1]),
        (6, [0, 1, 1, 1, 1]),
        (7, [0, 0, 1, 1, 1]),
        (29, [0, 0, 1, 1, 1]),
        (30, [0, 0, 0, 1, 1]),
        (89, [0, 0, 0, 1, 1]),
        (90, [0, 0, 0, 0, 1]),
        (364, [0, 0, 0, 0, 1]),
        (365, [0, 0, 0, 0, 0]),
    ],
)
def test_a_window_holds_its_own_day_and_the_days_before(days_later: int, windows: list[int]) -> None:
    read = read_last([arrival("a", 0), arrival("b", days_later)])
    assert [read[f"arrivals_{days}d"] for days in (1, 7, 30, 90, 365)] == windows
    assert (read["arrivals_ever"], read["days_since_last"]) == (1, days_later)


@pytest.mark.parametrize(("days_later", "finds"), [(0, 1), (364, 1), (365, 0)])
def test_results_count_for_365_days_and_then_only_ever(days_later: int, finds: int) -> None:
    told = [outcome("a", 1, "other_offence")]
    read = read_last([arrival("a", 0), arrival("x", 300), arrival("b", 1 + days_later + 0.5)], told)
    assert (read["any_offence_365d"], read["inspections_365d"]) == (finds, finds)
    assert (read["any_offence_ever"], read["days_since_find"]) == (1, days_later)


@pytest.mark.parametrize(("days_later", "new", "ever"), [(366, 0, 1), (367, 1, 0)])
def test_a_key_is_forgotten_when_its_last_event_is_more_than_366_days_old(
    days_later: int, new: int, ever: int
) -> None:
    read = read_last([arrival("a", 0), arrival("b", days_later)])
    assert (read["new"], read["arrivals_ever"]) == (new, ever)


def test_a_result_keeps_a_key_and_its_first_day() -> None:
    read = read_last([arrival("a", 0), arrival("b", 400)], [outcome("a", 100)])
    assert (read["new"], read["arrivals_ever"], read["days_since_first"]) == (0, 1, 400)
    assert np.isnan(read["days_since_last"])
    assert (read["nps_ever"], read["nps_365d"], read["days_since_find"]) == (1, 1, 300)


def test_a_new_key_reads_zeros_and_no_days_since() -> None:
    read = read_last([arrival("a", 0)])
    empty = {"days_since_first", "days_since_last", "days_since_find"}
    assert all(np.isnan(read[name]) for name in empty)
    rates = {
        "nps_rate": 0.01,
        "controlled_drug_rate": 0.01,
        "any_offence_rate": 0.05,
        "velocity": 1.0,
        "new": 1.0,
    }
    assert {name: round(read[name], 6) for name in rates} == rates
    assert all(read[name] == 0 for name in read if name not in empty | rates.keys())


def test_a_missing_key_reads_missing_and_is_not_counted() -> None:
    arrivals = [arrival("a", 0, sender=0), arrival("b", 1, sender=0)]
    assert np.isnan(batch(arrivals, [])).all()


def test_a_seizure_known_tomorrow_does_not_change_what_is_read_today() -> None:
    arrivals = [arrival("a", 0), arrival("b", 5)]
    assert read_last(arrivals, [outcome("a", 5.1)]) == pytest.approx(read_last(arrivals), nan_ok=True)
    assert read_last(arrivals, [outcome("a", 5)])["nps_365d"] == 1


def test_a_late_record_of_an_old_result_counts_from_the_day_it_was_recorded() -> None:
    told = [outcome("a", 1, recorded_us=moment(30))]
    assert read_last([arrival("a", 0), arrival("b", 29)], told)["nps_ever"] == 0
    assert read_last([arrival("a", 0), arrival("b", 40)], told)["days_since_find"] == 10


def test_a_corrected_result_is_what_it_was_until_then() -> None:
    told = [outcome("a", 2, "nps"), outcome("a", 10, "clear")]
    before = read_last([arrival("a", 0), arrival("b", 9)], told)
    after = read_last([arrival("a", 0), arrival("b", 11)], told)
    assert (before["nps_ever"], before["inspections_ever"]) == (1, 1)
    assert (after["nps_ever"], after["inspections_ever"]) == (0, 1)


@pytest.mark.parametrize("result", ["pending", None])
def test_pending_and_missed_are_no_results(result: str | None) -> None:
    told = [Outcome("a", None, result, opened_us=moment(1))]
    assert read_last([arrival("a", 0), arrival("b", 2)], told)["inspections_ever"] == 0


def test_a_repeated_outcome_changes_nothing() -> None:
    told = [outcome("a", 2)] * 3
    assert read_last([arrival("a", 0), arrival("b", 3)], told)["nps_ever"] == 1


def test_a_result_confirmed_later_counts_once_from_when_it_was_confirmed() -> None:
    told = [outcome("a", 2), outcome("a", 6), outcome("a", 2)]
    read = read_last([arrival("a", 0), arrival("b", 8)], told)
    assert (read["nps_ever"], read["days_since_find"]) == (1, 2)


def test_of_two_results_of_one_moment_the_later_in_the_log_stands() -> None:
    rows = [arrival("a", 0, sequence=1), arrival("b", 3, sequence=4)]
    for first, second in (("nps", "clear"), ("clear", "nps")):
        told = [outcome("a", 2, first, sequence=2), outcome("a", 2, second, sequence=3)]
        for rows_given in (told, told[::-1]):
            read = read_last(rows, rows_given)
            assert (read["nps_ever"], read["inspections_ever"]) == (int(second == "nps"), 1)


def test_an_outcome_of_an_unknown_consignment_waits_for_it() -> None:
    rows = [arrival("x", 3), arrival("a", 4), arrival("b", 6)]
    read = batch(rows, [outcome("a", 2)])
    find, since_find = NAMES.index("nps_ever"), NAMES.index("days_since_find")
    assert read[:, find].tolist() == [0, 0, 1]
    assert read[2, since_find] == 4


def test_a_cancelled_consignment_is_out_from_then_on_with_its_result() -> None:
    rows = [arrival("a", 0, cancelled_us=moment(5)), arrival("b", 4), arrival("c", 5)]
    told = [outcome("a", 2), outcome("a", 6, "other_offence")]
    read = batch([*rows, arrival("d", 7)], told)
    columns = [NAMES.index(name) for name in ("arrivals_ever", "any_offence_ever")]
    assert read[:, columns].tolist() == [[0, 0], [1, 1], [1, 0], [2, 0]]


def test_a_consignment_cancelled_before_it_came_is_read_and_never_counts() -> None:
    rows = [arrival("a", 2, cancelled_us=moment(1)), arrival("b", 2), arrival("c", 3)]
    assert batch(rows, [])[:, NAMES.index("arrivals_ever")].tolist() == [0, 0, 1]


def test_a_cancellation_has_its_own_place_in_the_log() -> None:
    rows = [
        arrival("a", 0, sequence=1, cancelled_us=moment(0), cancelled_sequence=3),
        arrival("b", 1, sequence=2),
        arrival("c", 2, sequence=4),
    ]
    assert batch(rows, [])[:, NAMES.index("arrivals_ever")].tolist() == [0, 1, 1]


def test_an_amendment_reads_neither_itself_nor_its_own_result() -> None:
    rows = [arrival("a", 0, sequence=1), arrival("a", 4, sequence=3), arrival("b", 5, sequence=4)]
    read = batch(rows, [outcome("a", 2, sequence=2)])
    columns = [NAMES.index(name) for name in ("new", "arrivals_ever", "nps_ever", "days_since_first")]
    assert np.nan_to_num(read[:, columns], nan=-1).tolist() == [[1, 0, 0, -1], [1, 0, 0, -1], [0, 1, 1, 1]]


def test_an_amendment_moves_its_counts_to_its_new_keys() -> None:
    rows = [arrival("a", 0, sender=1, sequence=1), arrival("a", 1, sender=2, sequence=3)]
    told = [outcome("a", 0.5, sequence=2)]
    old = read_last([*rows, arrival("b", 2, sender=1, sequence=4)], told)
    new = read_last([*rows, arrival("b", 2, sender=2, sequence=4)], told)
    assert (old["arrivals_ever"], old["nps_ever"]) == (0, 0)
    assert (new["arrivals_ever"], new["nps_ever"]) == (1, 1)


def test_a_late_version_reads_like_an_amendment_and_leaves_everything_as_it_was() -> None:
    first = arrival("a", 0, sequence=1, with_=5, issued_us=2)
    for sender in (1, 2):
        late = arrival("a", 1, sender, sequence=2, with_=6, issued_us=1)
        assert (read_last([first, late])["new"], read_last([first, late])["counterparts"]) == (1, 0)
        read = read_last([first, late, arrival("b", 2, sequence=3)])
        assert (read["arrivals_ever"], read["counterparts"], read["days_since_first"]) == (1, 1, 2)


def test_a_late_version_does_not_make_history_forget_a_find() -> None:
    rows = [
        arrival("a", 0, sequence=1, with_=5),
        arrival("b", 300, sequence=3, with_=6, issued_us=moment(299)),
        arrival("b", 400, sequence=4, with_=7, issued_us=moment(298)),
        arrival("c", 400, sequence=5),
    ]
    read = read_last(rows, [outcome("a", 1, sequence=2)])
    assert (read["arrivals_ever"], read["days_since_first"], read["nps_ever"]) == (2, 400, 1)
    assert read["counterparts"] == 2


def test_a_late_version_leaves_its_own_result_and_a_cancellation() -> None:
    rows = [
        arrival("a", 0, sequence=1, issued_us=2),
        arrival("a", 2, sequence=3, issued_us=1),
        arrival("b", 2, sequence=4),
        arrival("c", 4, sequence=7),
    ]
    told = [outcome("a", 1, sequence=2)]
    gone = [replace(rows[0], cancelled_us=moment(3), cancelled_sequence=5), *rows[1:3]]
    late = arrival("a", 3, sequence=6, issued_us=1)
    columns = [NAMES.index(name) for name in ("arrivals_ever", "nps_ever", "days_since_find")]
    assert np.nan_to_num(batch(rows, told)[:, columns], nan=-1).tolist() == [
        [0, 0, -1], [0, 0, -1], [1, 1, 1], [2, 1, 3]
    ]  # fmt: skip
    assert read_last([*gone, late, rows[3]], told)["arrivals_ever"] == 1


def test_when_days_go_backwards_later_days_count_as_today() -> None:
    rows = [arrival("a", 5, sequence=1), arrival("b", 3, sequence=2)]
    read = read_last(rows)
    assert (read["arrivals_1d"], read["days_since_last"]) == (1, 0)


def test_an_outcome_of_an_unknown_consignment_moves_the_day_across_a_restart() -> None:
    keys, nobody = numbers([(1, 0)])[0], numbers([(0, 0)])[0]
    ledger = LiveHistory(History(KINDS))
    ledger.record_arrival("a", START, keys, nobody)
    ledger.record_outcome("unknown", VisibleOutcome(moment(400), moment(400), NO_TIME, None, "nps"))
    row = np.zeros(ROW, dtype=np.float32)
    restarted(ledger).record_arrival("b", START + 100, keys, nobody, row)
    assert row[NAMES.index("new")] == 1


def test_an_event_older_than_history_remembers_is_not_counted() -> None:
    rows = [
        arrival("a", 367, sender=9, sequence=1),
        arrival("b", 0, sequence=2),
        arrival("c", 0, sequence=3),
    ]
    assert read_last(rows)["new"] == 1


@pytest.mark.parametrize(("others", "read"), [(1, 1), (8, 8), (9, 9), (12, 9)])
def test_counterparts_are_counted_to_eight_and_then_nine_or_more(others: int, read: int) -> None:
    rows = [arrival(f"a{n:02}", n / 100, with_=1 + n % others) for n in range(2 * others)]
    assert read_last([*rows, arrival("z", 1)])["counterparts"] == read


def test_results_come_before_arrivals_of_the_same_instant_and_names_decide_among_arrivals() -> None:
    rows = [arrival("b", 1), arrival("a", 1), arrival("c", 1)]
    read = batch(rows, [outcome("a", 1)])
    columns = [NAMES.index(name) for name in ("arrivals_ever", "nps_ever")]
    assert read[:, columns].tolist() == [[1, 1], [0, 0], [2, 1]]


def test_a_share_is_drawn_to_the_common_one() -> None:
    rows = [arrival(f"a{n}", 0, sender=2) for n in range(20)] + [arrival("b", 0), arrival("c", 3)]
    told = [outcome(f"a{n}", 1, "clear") for n in range(20)] + [outcome("b", 2, "nps")]
    common = (1 + 100 * 0.01) / (21 + 100)
    assert read_last(rows, told)["nps_rate"] == pytest.approx((1 + 10 * common) / (1 + 10))


def test_a_side_reads_the_key_whose_finds_weigh_most_in_what_it_sends() -> None:
    rows = [arrival(f"a{n:02}", 0) for n in range(15)] + [arrival("b", 0, sender=2, consignee=9)]
    told = [outcome("a00", 1, "nps"), outcome("b", 1, "nps")]
    both = [*rows, arrival("z", 2, sender=1, consignee=9)]
    assert batch(both, told)[-1, SIDES_AT : SIDES_AT + 3] == pytest.approx([1 / 6, 0, 1 / 6])
    one = [*rows, arrival("z", 2, sender=1)]
    assert batch(one, told)[-1, SIDES_AT : SIDES_AT + 3] == pytest.approx([1 / 20, 0, 1 / 20])


def test_a_side_without_a_key_is_missing_and_one_of_new_keys_had_no_finds() -> None:
    rows = [arrival("a", 0), arrival("b", 2, sender=0), arrival("c", 2, sender=7)]
    read = batch(rows, [outcome("a", 1)])[:, SIDES_AT : SIDES_AT + 3]
    assert np.isnan(read[1]).all()
    assert read[2].tolist() == [0, 0, 0]


def test_velocity_compares_this_week_with_the_usual_week() -> None:
    rows = [arrival(f"a{n:02}", n) for n in range(90)] + [arrival(f"b{n}", 89.5) for n in range(14)]
    assert read_last([*rows, arrival("z", 90)])["velocity"] == pytest.approx((20 + 1) / (103 * 7 / 90 + 1))


def test_an_outcome_long_after_its_consignment_was_forgotten_is_kept_but_not_counted() -> None:
    rows = [arrival("a", 0), arrival("b", 366), arrival("c", 380)]
    assert read_last(rows, [outcome("a", 366.5)])["nps_ever"] == 1
    assert read_last(rows, [outcome("a", 367)])["nps_ever"] == 0


def test_the_readings_that_are_not_wanted_are_not_written() -> None:
    rows = [arrival("a", 0), arrival("b", 1)]
    out = np.full((1, 3 + ROW), 7, dtype=np.float32)
    keys = numbers([row.keys for row in rows])
    nobody = np.zeros_like(keys)
    fold = TableFold(arrivals_of(rows), outcomes_of([]))
    process_table(fold, History(KINDS), keys, nobody, out, np.array([-1, 0]))
    assert out[0, :3].tolist() == [7, 7, 7]
    assert same(out[0, 3:], batch(rows, [])[1])


def test_empty_tables_are_no_events() -> None:
    assert batch([], []).shape == (0, ROW)
    assert len(order_events(arrivals_of([]), outcomes_of([outcome("a", 1)])).row) == 1


CONSIGNEES = 1_000_000
"""Numbers of two kinds never meet: the kind is in the pseudonym."""


def large_world(count: int, seed: int):
    """A log of a year and a half: repeats, amendments, corrections, late results, cancellations, hot and rare keys."""
    random = np.random.default_rng(seed)
    days = np.sort(random.integers(0, 540, count)) + START
    arrivals: list[Arrival] = []
    outcomes: list[Outcome] = []
    for number in range(count):
        at = int(days[number] - (random.integers(0, 3) if random.random() < 0.05 else 0)) * US_PER_DAY
        at += int(random.integers(0, US_PER_DAY))
        old = arrivals and random.random() < 0.1
        name = arrivals[random.integers(max(0, number - 3_000), number)].name if old else f"c{number}"
        sender = 1 if random.random() < 0.5 else int(random.integers(2, count // 3))
        keys = (sender, CONSIGNEES + int(random.integers(0, 200)))
        cancelled = at + int(random.integers(0, 40)) * US_PER_DAY if random.random() < 0.02 else None
        issued = at - int(random.integers(0, 40)) * US_PER_DAY if random.random() < 0.7 else None
        arrivals.append(Arrival(name, at, keys, (keys[1], sender), 10 * number, cancelled, issued_us=issued))
        if random.random() < 0.1:
            told = arrivals[random.integers(max(0, number - 2_000), number + 1)].name
            result = ("nps", "controlled_drug", "other_offence", "clear", "clear", "clear")[
                random.integers(0, 6)
            ]
            late = int(random.integers(0, 30)) * US_PER_DAY
            outcomes.append(Outcome(told, at - late, result, at, 10 * number + 1))
            if random.random() < 0.1:
                outcomes.append(replace(outcomes[-1], sequence=10 * number + 2))
    return arrivals, outcomes


def check_large_world(count: int, seed: int, sampled: int) -> None:
    """Four ways to the same bits, and what may not matter, over a world of many rows."""
    arrivals, outcomes = large_world(count, seed)
    random = np.random.default_rng(seed)
    read = batch(arrivals, outcomes)
    assert same(read, batch(arrivals, outcomes, piece_rows=int(random.integers(1_000, 9_000))))
    kills = {*random.integers(0, count, 5).tolist()}
    assert same(read, one_by_one(arrivals, outcomes, kills=kills))
    order = random.permutation(count)
    mixed = [outcomes[place] for place in random.permutation(len(outcomes))]
    assert same(read[order], batch([arrivals[place] for place in order], mixed))
    cut = int(random.integers(count // 3, count))
    assert same(read[:cut], batch(*another_future(arrivals, outcomes, cut))[:cut])
    check_by_definition(arrivals, outcomes, read, range(seed, count, count // sampled))


def another_future(arrivals: list[Arrival], outcomes: list[Outcome], cut: int):
    """Keep what the log knew when arrival number `cut` came, and change, drop or add to all that came after."""
    last = 10 * cut
    told = [row for row in outcomes if row.sequence < last]
    clock = max(row.received_us for row in arrivals[:cut])
    clock = max(clock, *(row.visible_us for row in told))
    past = [
        replace(row, cancelled_us=clock + 1) if (row.cancelled_us or 0) > clock else row
        for row in arrivals[:cut]
    ]
    future = [replace(row, keys=row.keys[::-1], cancelled_us=None) for row in arrivals[cut::2]]
    swapped = {"clear": "nps", "nps": "clear"}
    later = [replace(row, result=swapped.get(row.result)) for row in outcomes if row.sequence >= last]
    return past + future, told + later + [replace(row, sequence=row.sequence + 5) for row in later]


def check_by_definition(arrivals: list[Arrival], outcomes: list[Outcome], read, sampled: range) -> None:
    rows = {id(arrivals[row]): row for row in sampled}
    plain = PlainHistory(SIDES_OF_KINDS, wanted=lambda row: id(row) in rows).fold(
        in_order(arrivals, outcomes)
    )
    assert len(plain) == len(rows)
    for row, values in plain:
        assert same(read[rows[id(row)]], as_floats([values])[0])


def test_twenty_thousand_arrivals_agree_in_every_way_and_with_the_definition() -> None:
    check_large_world(20_000, seed=3, sampled=100)


@pytest.mark.slow
def test_a_million_arrivals_agree_in_every_way_and_with_the_definition() -> None:
    check_large_world(1_000_000, seed=4, sampled=60)


def test_many_outcomes_before_an_arrival_are_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = [Outcome(f"o{number}", START * US_PER_DAY, "clear") for number in range(3_000)]
    arrivals = [Arrival("a", (START + 1) * US_PER_DAY, (1, 2), (1, 1))]
    fold = TableFold(arrivals_of(arrivals), outcomes_of(outcomes))
    searched, search = [], np.flatnonzero

    def count(values: object) -> object:
        searched.append(values)
        return search(values)

    monkeypatch.setattr(np, "flatnonzero", count)
    places = fold._find_next_places(1)
    assert len(places) == 3_001
    assert len(searched) < 20
