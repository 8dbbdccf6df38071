"""Numba kernels of history: they count steps in the table, read a key, and purge old keys. `features.history.table` holds their arrays.

Everything that a kernel uses is in this file: its compiled form is cached on disk, and numba recompiles it only if this file
changes.
"""

from itertools import accumulate, repeat
from operator import mul
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

kernel = njit(nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False)  # type: ignore[call-overload]
"""Decorator of a kernel that only kernels call. It has no cache and no wrapper of its own: both would cost a third of the compilation."""
entry_point = njit(cache=True, nogil=True, _nrt=False)  # type: ignore[call-overload]
"""Decorator of a kernel that Python calls, without numba's reference counts, which take two thirds of the time; it creates no array."""

REMEMBERED_DAYS = 366
WINDOW_DAYS = (1, 7, 30, 90, 365)
"""Lengths of the windows in days. A window of w days on day d holds the days d-w+1 to d."""
DAILY_DECAY = (0.9057236642639067, 0.977159968434245)
"""Daily decay for half-lives of 7 and 30 days, 0.5 ** (1 / 7) and 0.5 ** (1 / 30), equal on all machines."""
PACE_DAYS = 7
NORM_DAYS = 90
COUNTERPARTS_CAP = 9
"""Cap of the number of distinct counterparts. They are counted exactly to 8; 9 means nine or more."""
RATE_STRENGTH = 10.0
"""Number of known inspections after which the detection rate of a key weighs as much as the common rate (assumed)."""
PRIOR_STRENGTH = 100.0
"""Number of known inspections after which the common detection rate weighs as much as the prior rate (assumed)."""
HUB_ARRIVALS = 50
"""Number of arrivals up to which a key joins its network. More consignments share only what strangers share: a forwarder, a hotel."""
NETWORK_ARRIVALS = 1000
"""Number of arrivals up to which two networks are merged: chance joins ever more of them as traffic grows."""
ADDED_ARRIVALS = 5.0
"""Added to the consignments of a key when its detections are divided by them: one in one is no certainty (assumed)."""
PRIOR_RATES = (0.01, 0.01, 0.05)
"""Prior detection rates of nps, controlled_drug and any_offence before any result is known (assumed)."""

# Counters: arrivals, and known results by class.
ARRIVALS, NPS, CONTROLLED_DRUG, OTHER_OFFENCE, CLEAR = range(5)
COUNTERS = 5
TARGETS = 3
COMMON_DAY, COMMON_TODAY = TARGETS, TARGETS + 1
"""Positions after the common rates: the day for which they were read, and `today` at that time; NaN if results came since."""
RESULTS = {"nps": NPS, "controlled_drug": CONTROLLED_DRUG, "other_offence": OTHER_OFFENCE, "clear": CLEAR}

# Positions of the readings (features.history.readings) in their block of the row.
NEW, ARRIVALS_IN, ARRIVALS_EVER, SINCE_FIRST, SINCE_LAST, DECAYED, VELOCITY = 0, 1, 6, 7, 8, 9, 11
COUNTERPARTS, INSPECTIONS, FINDS, SINCE_FIND, RATES, WIDTH = 12, 13, 15, 21, 22, 25
SIDE_COUNT = 2
EITHER = SIDE_COUNT
NETWORKS_WIDTH = SIDE_COUNT * WIDTH
"""Number of readings of the networks of the sides. They follow the readings of all keys."""
SIDES_WIDTH = (SIDE_COUNT + 1) * TARGETS
"""Number of readings of each side and of either side. They follow those of the networks."""
NO_SIDE = -1

STEP = np.dtype("<i4,<i4,<i8,<i8,<i4,<i4")
STEP.names = "change", "counter", "row", "out_row", "day", "today"
"""Type of a step: a change of a counter, for the keys in `row`. An arrival is first read into `out_row`, unless that is -1."""
REMOVE, READ_ONLY, ADD, RESTORE = range(-1, 3)
"""Changes of a step: -1, nothing, +1, and +1 again after a `REMOVE` of the same event. `RESTORE` leaves no trace: it needs no
room, and a key without another event is not a new one."""

# The head of a key: 16 int32. Its arrivals and its results are two *series* of day tiles. A series of a single day needs no
# tile: the head has the counts of that day, and the day in place of the block.
KEY_LOW, KEY_HIGH, FIRST_ARRIVAL, EVER = range(4)
SERIES = EVER + COUNTERS
BLOCK, SIZE = 0, 1
OTHERS_BLOCK = SERIES + 4
OTHERS = OTHERS_BLOCK + 1
LINK_LOW, LINK_HIGH = OTHERS + 1, OTHERS + 2
"""Words of the number of the network that a key belongs to, or into which a network was merged; 0 for none."""
HEAD_WORDS = LINK_HIGH + 1
OF_ARRIVALS, OF_RESULTS = 0, 1
ROOM_BITS = 4
"""Bits of the room in SIZE. SIZE is the number of used tiles times 16, plus the room: 0 for no block, r for a block of 1 << r tiles."""
MAX_ROOM = 9
MAX_DAYS_WORDS = COUNTERS << MAX_ROOM
MAX_EXACT_COUNTERPARTS = COUNTERPARTS_CAP - 1
SCRATCH_BLOCK = 0  # block into which a series without tiles is written before it is read
NO_BLOCK = 0
FIRST_BLOCK = COUNTERS

NO_DAY = -(2**31)
NO_PLACE, NO_KEY = -1, -2
TOTALS_PLACE = 0
"""Place of the key that counts every known result. The common rates are computed from it."""
HASH_FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""2**64 divided by the golden ratio: Fibonacci hashing (Knuth, vol. 3, 6.4)."""
LOW_WORD, WORD_BITS = np.uint64(0xFFFFFFFF), np.uint64(32)

# The state of the table: the used size of each store, and the heads of the lists of free blocks, by room.
FORMAT, TODAY, HEADS_USED, DAYS_USED, OTHERS_USED, FREE_TILES = range(6)
FREE_OTHERS = FREE_TILES + 2 * (MAX_ROOM + 1)
FOUNDED = FREE_OTHERS + 4  # position of the number of networks founded so far, for each side
STATE_SIZE = FOUNDED + SIDE_COUNT

PREFETCH_STEPS = 16  # number of steps whose keys are looked up together
Steps = NDArray[Any]
Keys = NDArray[np.uint64]
Rows = NDArray[np.float32]
Words = NDArray[np.int32]
Longs = NDArray[np.int64]
Floats = NDArray[np.float64]
Slots = NDArray[np.uint32]
Number = Any
"""A number inside a kernel. Numba infers its type and width."""


def _compute_decay_table() -> Floats:
    """Compute the weights of counts by age in days, (ages, half-lives), by multiplication only, so that all machines agree."""
    columns = [list(accumulate(repeat(daily, REMEMBERED_DAYS), mul, initial=1.0)) for daily in DAILY_DECAY]
    return np.array(columns, dtype=np.float64).T.copy()


DECAY = _compute_decay_table()


class HistoryArrays(NamedTuple):
    """The arrays of a table of history, or of some of its keys; the compiled kernel checks no bounds.

    `state` has the used sizes and the lists of free blocks, `heads` a head for each place of a key. `days` has tiles and `counterparts`
    the numbers of counterparts, both in blocks.
    """

    state: Longs
    heads: Words
    days: Words
    counterparts: Keys

    @property
    def keys(self) -> Keys:
        """Return a view of the keys."""
        keys: Keys = self.heads.view(np.uint64)[:, 0]
        return keys

    @property
    def links(self) -> Keys:
        """Return a view of the numbers of the networks to which the keys are linked, 0 for none."""
        links: Keys = self.heads.view(np.uint64)[:, LINK_LOW // 2]
        return links

    @property
    def today(self) -> int:
        """Return the latest day of any event."""
        return int(self.state[TODAY])


@entry_point
def apply_steps(
    steps: Steps,
    start: Number,
    keys: Keys,
    counterparts: Keys,
    out: Rows,
    at: Number,
    slots: Slots,
    table: HistoryArrays,
    sides: Longs,
    joins: Longs,
    ahead: Longs,
    touched: Longs,
    removed: Keys,
    common: Floats,
) -> Number:
    """Apply the steps from `start` on. Return the number of the step that was reached, or -1 - number of a bad step."""
    kinds, networks = keys.shape[1], count_networks(joins)
    for number in range(start, len(steps)):
        turn = (number - start) % PREFETCH_STEPS
        if turn == 0:
            _prefetch_places(steps, number, keys, slots, table, ahead, touched)
        places = ahead[turn]
        step = steps[number]
        row, out_row = step.row, step.out_row
        # No literals and of one width, so that each helper is compiled once.
        day, today = np.int64(step.day), np.int64(step.today)
        counter, change = np.int64(step.counter), np.int64(step.change)
        if today < day or today < table.state[TODAY] or row < 0 or row >= len(keys) or out_row >= len(out):
            return -1 - number
        new = networks
        for kind in range(kinds):
            if places[kind] == NO_PLACE and turn > 0:  # it may have been added since
                places[kind] = _find_place(slots, table, keys[row, kind])
            new += keys[row, kind] != 0 and places[kind] == NO_PLACE
        if change == ADD and not _has_room(slots, table, new, kinds):
            return number
        if change != READ_ONLY:
            table.state[TODAY] = today
        arrival = counter == ARRIVALS and READ_ONLY <= change <= ADD
        if arrival and out_row >= 0:
            _read_common(table, day, today, common)
            for kind in range(len(sides)):
                column = at + kind * WIDTH
                if keys[row, kind] == 0:
                    out[out_row, column : column + WIDTH] = np.nan
                else:
                    _read_key(table, places[kind], day, today, common, out[out_row], column)
            _find_networks(slots, table, joins, places, today, touched[turn])
            for side in range(SIDE_COUNT):
                column = at + (len(sides) + side) * WIDTH
                network = _choose_network(table, joins, np.int64(side), keys[row], touched[turn])
                if network == NO_KEY:
                    out[out_row, column : column + WIDTH] = np.nan
                else:
                    _read_key(table, network, day, today, common, out[out_row], column)
            _read_sides(sides, out[out_row], at)
        if change == READ_ONLY or day < today - REMEMBERED_DAYS:
            continue
        if not arrival:
            _find_networks(slots, table, joins, places, today, touched[turn])
        for kind in range(kinds):
            if keys[row, kind] == 0 or (places[kind] == NO_PLACE and change != ADD):
                continue
            if places[kind] == NO_PLACE:
                places[kind] = _add_key(slots, table, keys[row, kind])
            _update_count(table, places[kind], day, counter, change)
            if arrival and counterparts[row, kind] != 0:
                _add_counterpart(table, places[kind], counterparts[row, kind])
        if arrival:
            for side in range(SIDE_COUNT):
                _join_networks(slots, table, joins, np.int64(side), places, day, touched[turn])
        else:
            series = OF_ARRIVALS if counter == ARRIVALS else OF_RESULTS
            if change == RESTORE:
                _find_removed(slots, table, removed[series], touched[turn])
            elif change == REMOVE:
                _keep_removed(table, removed[series], touched[turn])
            for kind in range(kinds):
                if touched[turn, kind] == NO_PLACE:
                    continue
                if not _update_count(table, touched[turn, kind], day, counter, change) and change == REMOVE:
                    removed[series, kind] = 0  # it never counted the event
        if counter != ARRIVALS:
            _update_count(table, np.int64(TOTALS_PLACE), day, counter, change)
            common[COMMON_DAY] = np.nan
    return len(steps)


@kernel
def _prefetch_places(
    steps: Steps, first: Number, keys: Keys, slots: Slots, table: HistoryArrays, places: Longs, touched: Longs
) -> None:
    """Find the places of the keys of several steps in rounds of independent reads: the processor waits for all of a round at once."""
    count = 0
    while count < min(PREFETCH_STEPS, len(steps) - first) and 0 <= steps[first + count].row < len(keys):
        count += 1
    kinds = keys.shape[1]
    for turn in range(count):
        for kind in range(kinds):
            touched[turn, kind] = slots[_compute_first_slot(slots, keys[steps[first + turn].row, kind])]
    for turn in range(count):
        for kind in range(kinds):
            place = max(touched[turn, kind] - 1, TOTALS_PLACE)
            touched[turn, kind] = table.heads[place, KEY_LOW] + table.heads[place, OTHERS]
    for turn in range(count):
        for kind in range(kinds):
            place = _find_place(slots, table, keys[steps[first + turn].row, kind])
            places[turn, kind] = place
            if place != NO_PLACE:
                touched[turn, kind] = _get_last_day(table, place, OF_ARRIVALS)
                touched[turn, kind] += np.int64(table.counterparts[table.heads[place, OTHERS_BLOCK]])


@entry_point
def count_networks(joins: Longs) -> Number:
    """Count the networks that an arrival can found: one for each side that a kind joins."""
    count = 0
    for side in range(SIDE_COUNT):
        for kind in range(len(joins)):
            if joins[kind] == side:
                count += 1
                break
    return count


@entry_point
def compute_room_of_step(kinds: Number) -> Number:
    """Compute the most words of tiles that a step can need."""
    return (3 * kinds + 1) * MAX_DAYS_WORDS


@kernel
def _has_room(slots: Slots, table: HistoryArrays, new: Number, kinds: Number) -> Number:
    """Check if there is room for the new keys, and for the most that the blocks of all keys of a step can need."""
    return (
        table.state[HEADS_USED] + new <= len(table.heads)
        and 2 * (table.state[HEADS_USED] + new) <= len(slots)
        and table.state[DAYS_USED] + compute_room_of_step(kinds) <= len(table.days)
        and table.state[OTHERS_USED] + kinds * MAX_EXACT_COUNTERPARTS <= len(table.counterparts)
    )


# Networks: the keys of a side that consignments have in common, one after the other. A network is a key itself, with a number for a name. Its
# members, and the networks that were merged into it, link to it. Those keep their counts, so that they are remembered as long as a member.


@kernel
def _find_networks(
    slots: Slots, table: HistoryArrays, joins: Longs, places: Longs, today: Number, networks: Longs
) -> None:
    """Find the network of each key of a step that joins one; NO_PLACE if it has none, or an earlier key has the same."""
    for kind in range(len(joins)):
        networks[kind] = NO_PLACE
        if joins[kind] == NO_SIDE or places[kind] == NO_PLACE or not _joins(table, places[kind], today):
            continue
        networks[kind] = _follow_links(slots, table, places[kind], today)
        if _is_repeated(networks, kind):
            networks[kind] = NO_PLACE


@kernel
def _is_repeated(networks: Longs, kind: Number) -> Number:
    """Check if an earlier key has the network of a kind."""
    found = 0
    for earlier in range(kind):
        found += networks[earlier] == networks[kind]
    return found > 0


@kernel
def _joins(table: HistoryArrays, place: Number, today: Number) -> Number:
    """Check if a key is remembered, and shared by few enough to join a network."""
    return table.heads[place, EVER + ARRIVALS] <= HUB_ARRIVALS and _is_remembered(table, place, today)


@kernel
def _follow_links(slots: Slots, table: HistoryArrays, place: Number, today: Number) -> Number:
    """Return the network that a key, or a merged network, belongs to; NO_PLACE if there is none, or it is forgotten."""
    network = np.int64(NO_PLACE)
    while True:
        link = _get_number(table, place, LINK_LOW)
        if link == 0:
            return network
        place = _find_place(slots, table, link)
        if place == NO_PLACE or not _is_remembered(table, place, today):
            return np.int64(NO_PLACE)
        network = place


@kernel
def _get_number(table: HistoryArrays, place: Number, low: Number) -> Number:
    """Return the key of a head, or its link, from two of its words."""
    word = np.uint64(table.heads[place, low]) & LOW_WORD
    return word | (np.uint64(table.heads[place, low + 1]) & LOW_WORD) << WORD_BITS


@kernel
def _set_link(table: HistoryArrays, place: Number, network: Number) -> None:
    table.heads[place, LINK_LOW] = table.heads[network, KEY_LOW]
    table.heads[place, LINK_HIGH] = table.heads[network, KEY_HIGH]


@kernel
def _choose_network(table: HistoryArrays, joins: Longs, side: Number, keys: Keys, networks: Longs) -> Number:
    """Choose the network of a side that is read: the one with the most NPS, then other finds, then arrivals; NO_KEY if no key joins one."""
    chosen = np.int64(NO_KEY)
    for kind in range(len(joins)):
        if joins[kind] == side and keys[kind] != 0:
            chosen = max(chosen, np.int64(NO_PLACE))
            if networks[kind] != NO_PLACE and _has_more(table, networks[kind], chosen):
                chosen = networks[kind]
    return chosen


@kernel
def _has_more(table: HistoryArrays, network: Number, other: Number) -> Number:
    for counter in (NPS, CONTROLLED_DRUG, OTHER_OFFENCE, ARRIVALS):
        if other == NO_PLACE or table.heads[network, EVER + counter] > table.heads[other, EVER + counter]:
            return True
        if table.heads[network, EVER + counter] < table.heads[other, EVER + counter]:
            return False
    return False


@kernel
def _join_networks(
    slots: Slots,
    table: HistoryArrays,
    joins: Longs,
    side: Number,
    places: Longs,
    day: Number,
    networks: Longs,
) -> None:
    """Merge the networks of the keys of an arrival on a side, or found one; count the arrival in them, and link the keys that have none."""
    today, root, joined = table.state[TODAY], np.int64(NO_PLACE), False
    for kind in range(len(joins)):
        if joins[kind] == side and places[kind] != NO_PLACE and _joins(table, places[kind], today):
            joined = True
            root = _merge_networks(table, root, _follow_links(slots, table, places[kind], today))
    if not joined:
        return
    if root == NO_PLACE:
        table.state[FOUNDED + side] += 1
        number = SIDE_COUNT * table.state[FOUNDED + side] + side
        root = _add_key(slots, table, np.uint64(number) * HASH_FACTOR)
    _update_count(table, root, day, np.int64(ARRIVALS), np.int64(ADD))
    for kind in range(len(joins)):
        networks[kind] = NO_PLACE
        if joins[kind] != side or places[kind] == NO_PLACE or not _joins(table, places[kind], today):
            continue
        networks[kind] = _follow_links(slots, table, places[kind], today)
        if networks[kind] == NO_PLACE:
            table.heads[root, OTHERS] = min(table.heads[root, OTHERS] + 1, COUNTERPARTS_CAP)
            networks[kind] = root
        _set_link(table, places[kind], networks[kind])
        if networks[kind] != root and not _is_repeated(networks, kind):
            _update_count(table, networks[kind], day, np.int64(ARRIVALS), np.int64(ADD))


@kernel
def _merge_networks(table: HistoryArrays, root: Number, other: Number) -> Number:
    """Add the counts of the smaller of two networks to the larger one and link it, unless they are too large; return the larger one."""
    if other in (root, NO_PLACE):
        return root
    if root == NO_PLACE:
        return other
    if table.heads[other, EVER + ARRIVALS] > table.heads[root, EVER + ARRIVALS]:
        root, other = other, root
    if table.heads[root, EVER + ARRIVALS] + table.heads[other, EVER + ARRIVALS] > NETWORK_ARRIVALS:
        return root
    for series in range(2):
        _expand_series(table, root, series)
        block, used, _ = _expand_series(table, other, series)
        words = _get_tile_words(series)
        gone = _count_old_days(table, series, block, used, table.state[TODAY])
        for old in range(block + gone * words, block + used * words, words):
            new = _find_tile(table, root, series, np.int64(table.days[old]), True)
            for word in range(1, words):
                table.days[new + word] += table.days[old + word]
    for counter in range(COUNTERS):
        table.heads[root, EVER + counter] += table.heads[other, EVER + counter]
    first = np.int64(table.heads[other, FIRST_ARRIVAL])
    if first != NO_DAY:
        _update_first_day(table, root, first, np.int64(ADD))
    table.heads[root, OTHERS] = min(table.heads[root, OTHERS] + table.heads[other, OTHERS], COUNTERPARTS_CAP)
    _set_link(table, other, root)
    return root


@kernel
def _keep_removed(table: HistoryArrays, removed: Keys, networks: Longs) -> None:
    """Keep the networks from which an event was removed, because the event may be restored."""
    for kind in range(len(networks)):
        removed[kind] = 0
        if networks[kind] != NO_PLACE:
            removed[kind] = _get_number(table, networks[kind], KEY_LOW)


@kernel
def _find_removed(slots: Slots, table: HistoryArrays, removed: Keys, networks: Longs) -> None:
    """Find the networks from which the event that is restored was removed."""
    for kind in range(len(networks)):
        networks[kind] = NO_PLACE
        if removed[kind] != 0:
            networks[kind] = _find_place(slots, table, removed[kind])


# Places of keys.


@kernel
def _find_place(slots: Slots, table: HistoryArrays, key: Number) -> Number:
    low, high = np.int32(key & LOW_WORD), np.int32(key >> WORD_BITS)
    slot = _compute_first_slot(slots, key)
    while slots[slot] != 0:
        place = np.int64(slots[slot]) - 1
        if table.heads[place, KEY_LOW] == low and table.heads[place, KEY_HIGH] == high:
            return place
        slot = (slot + 1) & (len(slots) - 1)
    return NO_PLACE


@kernel
def _compute_first_slot(slots: Slots, key: Number) -> Number:
    return np.int64((key * HASH_FACTOR) >> WORD_BITS) & (len(slots) - 1)


@kernel
def _add_key(slots: Slots, table: HistoryArrays, key: Number) -> Number:
    """Add a key at a new place, or return the place that it got within the same step."""
    place = _find_place(slots, table, key)
    if place == NO_PLACE:
        place = table.state[HEADS_USED]
        table.state[HEADS_USED] += 1
        table.heads[place, :] = 0
        table.heads[place, KEY_LOW] = np.int32(key & LOW_WORD)
        table.heads[place, KEY_HIGH] = np.int32(key >> WORD_BITS)
        _fill_slot(slots, key, place)
    return place


@kernel
def _fill_slot(slots: Slots, key: Number, place: Number) -> None:
    slot = _compute_first_slot(slots, key)
    while slots[slot] != 0:
        slot = (slot + 1) & (len(slots) - 1)
    slots[slot] = place + 1


@kernel
def _is_remembered(table: HistoryArrays, place: Number, today: Number) -> Number:
    """Check if a remembered day has an event of a key."""
    oldest = today - REMEMBERED_DAYS
    return (
        _get_last_day(table, place, OF_ARRIVALS) >= oldest
        or _get_last_day(table, place, OF_RESULTS) >= oldest
    )


@kernel
def _get_last_day(table: HistoryArrays, place: Number, series: Number) -> Number:
    """Return the latest day of a series."""
    block, used, room = _get_series(table, place, series)
    if used == 0:
        return NO_DAY
    return block if room == 0 else np.int64(table.days[block + (used - 1) * _get_tile_words(series)])


@kernel
def _get_series(table: HistoryArrays, place: Number, series: Number) -> Any:
    """Return the block of a series (its day if it has no room), the number of used tiles, and its room."""
    size = np.int64(table.heads[place, SERIES + 2 * series + SIZE])
    block = np.int64(table.heads[place, SERIES + 2 * series + BLOCK])
    return block, size >> ROOM_BITS, size & (1 << ROOM_BITS) - 1


@kernel
def _set_series(
    table: HistoryArrays, place: Number, series: Number, block: Number, used: Number, room: Number
) -> None:
    table.heads[place, SERIES + 2 * series + BLOCK] = block
    table.heads[place, SERIES + 2 * series + SIZE] = used << ROOM_BITS | room


@kernel
def _get_tile_words(series: Number) -> Number:
    """Return the number of words of a tile: a day and its counts of arrivals, or of the four classes of results."""
    return 2 if series == OF_ARRIVALS else COUNTERS


@kernel
def _reset_key(table: HistoryArrays, place: Number) -> None:
    """Reset a key to the state of a new key."""
    _free_blocks(table, place)
    table.heads[place, FIRST_ARRIVAL:] = 0
    table.heads[place, FIRST_ARRIVAL] = NO_DAY


@kernel
def _free_blocks(table: HistoryArrays, place: Number) -> None:
    for series in range(2):
        block, _, room = _get_series(table, place, series)
        if room > 0:
            _free_tiles(table, series, block, room)
    count, block = np.int64(table.heads[place, OTHERS]), np.int64(table.heads[place, OTHERS_BLOCK])
    if block != NO_BLOCK and count < COUNTERPARTS_CAP:
        _free_others(table, block, _compute_room(count))


# Counting.


@kernel
def _update_count(
    table: HistoryArrays, place: Number, day: Number, counter: Number, change: Number
) -> Number:
    """Apply a change to the counter of a day."""
    series = OF_ARRIVALS if counter == ARRIVALS else OF_RESULTS
    if change != RESTORE and not _is_remembered(table, place, table.state[TODAY]):
        if change == REMOVE:
            return False
        _reset_key(table, place)
    amount = min(change, np.int64(ADD))
    block, used, room = _get_series(table, place, series)
    if used == 0 and room == 0 and change > 0:
        block, used = day, 1
        _set_series(table, place, series, day, 1, 0)
    if room == 0 and used > 0 and block == day:
        if amount < 0 and table.heads[place, EVER + counter] == 0:  # a network never counted the event
            return False
        table.heads[place, EVER + counter] += amount
        if _is_empty(table.heads[place], EVER + series, _get_tile_words(series) - 1):
            _set_series(table, place, series, 0, 0, 0)
    else:
        tile = _find_tile(table, place, series, day, change > 0)
        if tile == NO_PLACE or (amount < 0 and table.days[tile + 1 + counter - series] == 0):
            return False
        table.heads[place, EVER + counter] += amount
        table.days[tile + 1 + counter - series] += amount
        if _is_empty(table.days, tile + 1, _get_tile_words(series) - 1):
            _drop_tile(table, place, series, tile)
    if counter == ARRIVALS:
        _update_first_day(table, place, day, change)
    return True


@kernel
def _is_empty(words: Words, start: Number, length: Number) -> Number:
    for place in range(start, start + length):  # noqa: SIM110
        if words[place] != 0:
            return False
    return True


@kernel
def _find_tile(table: HistoryArrays, place: Number, series: Number, day: Number, make: Number) -> Number:
    """Find the tile of a day by search from the newest. Insert a new tile in order if there is none."""
    words = _get_tile_words(series)
    block, used, room = _get_series(table, place, series)
    if room == 0:
        if not make:
            return NO_PLACE
        block, used, room = _expand_series(table, place, series)
    tile = block + used * words
    while tile > block and table.days[tile - words] > day:
        tile -= words
    if tile > block and table.days[tile - words] == day:
        return tile - words
    if not make:
        return NO_PLACE
    if used == 1 << room:
        tile -= block
        tile -= words * _widen_block(table, place, series)
        block, used, room = _get_series(table, place, series)
        tile += block
    for word in range(block + used * words - 1, tile - 1, -1):
        table.days[word + words] = table.days[word]
    table.days[tile] = day
    table.days[tile + 1 : tile + words] = 0
    _set_series(table, place, series, block, used + 1, room)
    return tile


@kernel
def _expand_series(table: HistoryArrays, place: Number, series: Number) -> Any:
    """Return a series, with a block for its tiles."""
    block, used, room = _get_series(table, place, series)
    if room > 0:
        return block, used, room
    day, block = block, _allocate_tiles(table, series, 1)
    if used > 0:
        _write_tile(table, place, series, day, block)
    _set_series(table, place, series, block, used, 1)
    return block, used, np.int64(1)


@kernel
def _write_tile(table: HistoryArrays, place: Number, series: Number, day: Number, tile: Number) -> None:
    """Write the tile that a head implies."""
    table.days[tile] = day
    for counter in range(_get_tile_words(series) - 1):
        table.days[tile + 1 + counter] = table.heads[place, EVER + series + counter]


@kernel
def _widen_block(table: HistoryArrays, place: Number, series: Number) -> Number:
    """Drop days that are no longer remembered from a full block, or double it; return how many were dropped."""
    words = _get_tile_words(series)
    old, used, room = _get_series(table, place, series)
    gone = _count_old_days(table, series, old, used, table.state[TODAY])
    new = old if gone > 0 else _allocate_tiles(table, series, room + 1)
    for word in range((used - gone) * words):
        table.days[new + word] = table.days[old + gone * words + word]
    if gone == 0:
        _free_tiles(table, series, old, room)
        room += 1
    _set_series(table, place, series, new, used - gone, room)
    return gone


@kernel
def _count_old_days(
    table: HistoryArrays, series: Number, block: Number, used: Number, today: Number
) -> Number:
    """Count the days of a series that are no longer remembered."""
    gone = 0
    while gone < used and table.days[block + gone * _get_tile_words(series)] < today - REMEMBERED_DAYS:
        gone += 1
    return gone


@kernel
def _drop_tile(table: HistoryArrays, place: Number, series: Number, tile: Number) -> None:
    words = _get_tile_words(series)
    block, used, room = _get_series(table, place, series)
    for word in range(tile, block + (used - 1) * words):
        table.days[word] = table.days[word + words]
    _set_series(table, place, series, block, used - 1, room)


@kernel
def _update_first_day(table: HistoryArrays, place: Number, day: Number, change: Number) -> None:
    """Update the day of the first arrival. An arrival that can be removed is remembered, and so are all later ones."""
    first = np.int64(table.heads[place, FIRST_ARRIVAL])
    if change > 0 and (first == NO_DAY or day < first):
        table.heads[place, FIRST_ARRIVAL] = day
    elif change < 0 and day == first:
        begin, end = _get_tiles(table, place, OF_ARRIVALS, day + REMEMBERED_DAYS)
        table.heads[place, FIRST_ARRIVAL] = table.days[begin] if begin < end else NO_DAY


@kernel
def _add_counterpart(table: HistoryArrays, place: Number, counterpart: Number) -> None:
    """Add a counterpart, unless it is known or the cap is reached."""
    count = np.int64(table.heads[place, OTHERS])
    if count == COUNTERPARTS_CAP:
        return
    block = np.int64(table.heads[place, OTHERS_BLOCK])
    for rank in range(count):
        if table.counterparts[block + rank] == counterpart:
            return
    table.heads[place, OTHERS] += 1
    if count == MAX_EXACT_COUNTERPARTS:
        _free_others(table, block, _compute_room(count))
        return
    if count & (count - 1) == 0:  # none yet, or a full block of 1, 2 or 4
        wider = _allocate_others(table, _compute_room(count + 1))
        for rank in range(count):
            table.counterparts[wider + rank] = table.counterparts[block + rank]
        if count > 0:
            _free_others(table, block, _compute_room(count))
        table.heads[place, OTHERS_BLOCK] = wider
        block = wider
    table.counterparts[block + count] = counterpart


# Blocks of 1 << room tiles or counterparts. A free block holds the position of the next free block.


@kernel
def _allocate_tiles(table: HistoryArrays, series: Number, room: Number) -> Number:
    free = FREE_TILES + series * (MAX_ROOM + 1) + room
    block = table.state[free]
    if block != NO_BLOCK:
        table.state[free] = table.days[block]
        return block
    block = table.state[DAYS_USED]
    table.state[DAYS_USED] += _get_tile_words(series) << room
    return block


@kernel
def _free_tiles(table: HistoryArrays, series: Number, block: Number, room: Number) -> None:
    free = FREE_TILES + series * (MAX_ROOM + 1) + room
    table.days[block] = table.state[free]
    table.state[free] = block


@kernel
def _compute_room(count: Number) -> Number:
    """Compute r for the block of 1 << r tiles or counterparts that has room for `count`."""
    room = 0
    while 1 << room < count:
        room += 1
    return room


@kernel
def _allocate_others(table: HistoryArrays, room: Number) -> Number:
    block = table.state[FREE_OTHERS + room]
    if block != NO_BLOCK:
        table.state[FREE_OTHERS + room] = np.int64(table.counterparts[block])
        return block
    block = table.state[OTHERS_USED]
    table.state[OTHERS_USED] += 1 << room
    return block


@kernel
def _free_others(table: HistoryArrays, block: Number, room: Number) -> None:
    table.counterparts[block] = np.uint64(table.state[FREE_OTHERS + room])
    table.state[FREE_OTHERS + room] = block


# Reading.


@kernel
def _get_tiles(table: HistoryArrays, place: Number, series: Number, today: Number) -> Any:
    """Return start and end of the remembered tiles of a series. A single day is written to the scratch block."""
    block, used, room = _get_series(table, place, series)
    if used > 0 and room == 0:
        _write_tile(table, place, series, block, SCRATCH_BLOCK)
        block = SCRATCH_BLOCK
    words = _get_tile_words(series)
    return block + words * _count_old_days(table, series, block, used, today), block + words * used


@kernel
def _read_common(table: HistoryArrays, day: Number, today: Number, common: Floats) -> None:
    """Compute the common detection rate of each target as known now, unless it was computed already."""
    if common[COMMON_DAY] == day and common[COMMON_TODAY] == today:
        return
    common[COMMON_DAY], common[COMMON_TODAY] = day, today
    known, nps, drugs, offences, _ = _sum_results(table, np.int64(TOTALS_PLACE), day, today)
    common[0] = (nps + PRIOR_STRENGTH * PRIOR_RATES[0]) / (known + PRIOR_STRENGTH)
    common[1] = (drugs + PRIOR_STRENGTH * PRIOR_RATES[1]) / (known + PRIOR_STRENGTH)
    common[2] = (offences + PRIOR_STRENGTH * PRIOR_RATES[2]) / (known + PRIOR_STRENGTH)


@kernel
def _sum_results(table: HistoryArrays, place: Number, day: Number, today: Number) -> Any:
    """Sum inspections and detections of each target within the longest window, and find the day of the last detection."""
    begin, end = _get_tiles(table, place, OF_RESULTS, today)
    nps = drugs = offences = clears = 0
    last_find = np.int64(NO_DAY)
    for tile in range(begin, end, _get_tile_words(OF_RESULTS)):
        finds = table.days[tile + NPS] + table.days[tile + CONTROLLED_DRUG] + table.days[tile + OTHER_OFFENCE]
        if finds > 0:
            last_find = np.int64(table.days[tile])
        if day - table.days[tile] < WINDOW_DAYS[-1]:
            nps += table.days[tile + NPS]
            drugs += table.days[tile + CONTROLLED_DRUG]
            offences += finds
            clears += table.days[tile + CLEAR]
    return offences + clears, nps, drugs, offences, last_find


@kernel
def _read_key(
    table: HistoryArrays, place: Number, day: Number, today: Number, common: Floats, out: Rows, column: Number
) -> None:
    """Write the readings of one key."""
    if place == NO_PLACE or not _is_remembered(table, place, today):
        _read_new(common, out, column)
        return
    _read_ever(table.heads[place], day, out, column)
    _read_arrivals(table, place, day, today, out, column)
    known, nps, drugs, offences, last_find = _sum_results(table, place, day, today)
    out[column + INSPECTIONS] = known
    out[column + FINDS] = nps
    out[column + FINDS + 2] = drugs
    out[column + FINDS + 4] = offences
    out[column + SINCE_FIND] = _compute_age(last_find, day)
    out[column + RATES] = (nps + RATE_STRENGTH * common[0]) / (known + RATE_STRENGTH)
    out[column + RATES + 1] = (drugs + RATE_STRENGTH * common[1]) / (known + RATE_STRENGTH)
    out[column + RATES + 2] = (offences + RATE_STRENGTH * common[2]) / (known + RATE_STRENGTH)


@kernel
def _read_new(common: Floats, out: Rows, column: Number) -> None:
    """Write the readings of a key that was never seen or is forgotten."""
    out[column : column + WIDTH] = 0.0
    out[column + NEW] = 1.0
    out[column + SINCE_FIRST] = np.nan
    out[column + SINCE_LAST] = np.nan
    out[column + SINCE_FIND] = np.nan
    out[column + VELOCITY] = 1.0
    for target in range(TARGETS):
        out[column + RATES + target] = RATE_STRENGTH * common[target] / RATE_STRENGTH


@kernel
def _read_ever(head: Words, day: Number, out: Rows, column: Number) -> None:
    """Write the readings that count since the key was created."""
    finds = head[EVER + NPS] + head[EVER + CONTROLLED_DRUG] + head[EVER + OTHER_OFFENCE]
    out[column + NEW] = 1.0 if head[EVER + ARRIVALS] == 0 else 0.0
    out[column + ARRIVALS_EVER] = head[EVER + ARRIVALS]
    out[column + SINCE_FIRST] = _compute_age(np.int64(head[FIRST_ARRIVAL]), day)
    out[column + COUNTERPARTS] = head[OTHERS]
    out[column + INSPECTIONS + 1] = finds + head[EVER + CLEAR]
    out[column + FINDS + 1] = head[EVER + NPS]
    out[column + FINDS + 3] = head[EVER + CONTROLLED_DRUG]
    out[column + FINDS + 5] = finds


@kernel
def _read_arrivals(
    table: HistoryArrays, place: Number, day: Number, today: Number, out: Rows, column: Number
) -> None:
    """Write windows, decayed counts, and the readings derived from them, from the newest tile to the oldest."""
    begin, end = _get_tiles(table, place, OF_ARRIVALS, today)
    words = _get_tile_words(OF_ARRIVALS)
    out[column + SINCE_LAST] = _compute_age(np.int64(table.days[end - words]), day) if end > begin else np.nan
    tile = end - words
    arrivals = pace = norm = 0
    fast = slow = 0.0
    for window in range(len(WINDOW_DAYS)):
        while tile >= begin and day - table.days[tile] < WINDOW_DAYS[window]:
            age = max(day - table.days[tile], 0)
            arrivals += table.days[tile + 1]
            fast += DECAY[age, 0] * table.days[tile + 1]
            slow += DECAY[age, 1] * table.days[tile + 1]
            tile -= words
        out[column + ARRIVALS_IN + window] = arrivals
        if WINDOW_DAYS[window] == PACE_DAYS:
            pace = arrivals
        if WINDOW_DAYS[window] == NORM_DAYS:
            norm = arrivals
    out[column + DECAYED] = fast
    out[column + DECAYED + 1] = slow
    out[column + VELOCITY] = _compute_velocity(pace, norm, np.int64(table.heads[place, FIRST_ARRIVAL]), day)


@kernel
def _read_sides(sides: Longs, out: Rows, at: Number) -> None:
    """Write the most detections per consignment of any key of each side, and of either side, for each target."""
    first = at + len(sides) * WIDTH + NETWORKS_WIDTH
    out[first : first + SIDES_WIDTH] = np.nan
    for kind in range(len(sides)):
        column = at + kind * WIDTH
        if sides[kind] == NO_SIDE or np.isnan(out[column + ARRIVALS_EVER]):
            continue
        consignments = np.float64(out[column + ARRIVALS_EVER]) + ADDED_ARRIVALS
        for target in range(TARGETS):
            share = np.float32(out[column + FINDS + 2 * target + 1] / consignments)
            for side in (sides[kind], EITHER):
                place = first + side * TARGETS + target
                if np.isnan(out[place]) or share > out[place]:
                    out[place] = share


@kernel
def _compute_age(past: Number, day: Number) -> Number:
    return np.nan if past == NO_DAY else np.float64(max(day - past, 0))


@kernel
def _compute_velocity(pace: Number, norm: Number, first: Number, day: Number) -> Number:
    """Compute the ratio of this week's arrivals to the usual week of the key, with one added to both."""
    known_days = PACE_DAYS if first == NO_DAY else min(max(day - first + 1, PACE_DAYS), NORM_DAYS)
    return (pace + 1.0) / (norm * PACE_DAYS / known_days + 1.0)


# Cleaning up.


@entry_point
def purge_keys(slots: Slots, table: HistoryArrays) -> None:
    """Free the memory of forgotten keys, and close the gaps."""
    kept = TOTALS_PLACE + 1
    for place in range(TOTALS_PLACE + 1, table.state[HEADS_USED]):
        if _is_remembered(table, place, table.state[TODAY]):
            for word in range(HEAD_WORDS):
                table.heads[kept, word] = table.heads[place, word]
            kept += 1
        else:
            _free_blocks(table, place)
    table.state[HEADS_USED] = kept
    fill_slots(slots, table)


@entry_point
def mark_remembered(table: HistoryArrays, today: Number, marks: NDArray[np.bool_]) -> None:
    """Mark the keys of which a remembered day has an event."""
    for place in range(len(marks)):
        marks[place] = _is_remembered(table, place, today)


@entry_point
def copy_keys(places: Longs, today: Number, table: HistoryArrays, new: HistoryArrays, ends: Longs) -> None:
    """Copy keys in this order without forgotten days, in the smallest blocks that end at `ends`; without new heads only move the ends."""
    copies = len(new.heads) > 0
    for row in range(len(places)):
        place = places[row]
        for word in range(HEAD_WORDS if copies else 0):
            new.heads[row, word] = table.heads[place, word]
        if not _is_remembered(table, place, today):
            if copies:
                new.heads[row, FIRST_ARRIVAL:] = 0
                new.heads[row, FIRST_ARRIVAL] = NO_DAY
            continue
        for series in range(2):
            begin, end = _get_tiles(table, place, series, today)
            words = _get_tile_words(series)
            room = _compute_series_room(table, place, series, begin, end)
            if copies:
                block = ends[0]
                for word in range(end - begin if room > 0 else 0):
                    new.days[block + word] = table.days[begin + word]
                if room == 0:
                    block = table.days[begin] if end > begin else 0
                _set_series(new, row, series, block, (end - begin) // words, room)
            ends[0] += words << room if room > 0 else 0
        count = np.int64(table.heads[place, OTHERS])
        listed = table.heads[place, OTHERS_BLOCK] != NO_BLOCK and count < COUNTERPARTS_CAP
        exact = count if listed else 0
        if copies:
            new.heads[row, OTHERS_BLOCK] = ends[1] if exact > 0 else 0
            source = np.int64(table.heads[place, OTHERS_BLOCK])
            _copy_sorted(table.counterparts, source, new.counterparts, ends[1], exact)
        ends[1] += 1 << _compute_room(exact) if exact > 0 else 0
    for word in range(FIRST_BLOCK):
        table.days[SCRATCH_BLOCK + word] = 0


@kernel
def _compute_series_room(
    table: HistoryArrays, place: Number, series: Number, begin: Number, end: Number
) -> Number:
    """Compute the room of the smallest block for tiles; 0 if the head implies them: a single day that has all counts, or no counts."""
    words = _get_tile_words(series)
    used = (end - begin) // words
    if used <= 1:
        implied = True
        for counter in range(words - 1):
            count = table.days[begin + 1 + counter] if used == 1 else 0
            implied = implied and count == table.heads[place, EVER + series + counter]
        if implied:
            return 0
    return max(_compute_room(used), 1)


@kernel
def _copy_sorted(others: Keys, begin: Number, new_others: Keys, block: Number, count: Number) -> None:
    """Copy counterparts in ascending order."""
    for rank in range(count):
        value, slot = others[begin + rank], block + rank
        while slot > block and new_others[slot - 1] > value:
            new_others[slot] = new_others[slot - 1]
            slot -= 1
        new_others[slot] = value


@entry_point
def count_forgotten(table: HistoryArrays, today: Number) -> Number:
    """Count the keys that are forgotten on the day `today`."""
    forgotten = 0
    for place in range(TOTALS_PLACE + 1, table.state[HEADS_USED]):
        forgotten += not _is_remembered(table, place, today)
    return forgotten


@entry_point
def fill_slots(slots: Slots, table: HistoryArrays) -> None:
    """Fill the slots from the keys of the heads."""
    slots[:] = 0
    for place in range(TOTALS_PLACE + 1, table.state[HEADS_USED]):
        _fill_slot(slots, _get_number(table, place, KEY_LOW), place)
