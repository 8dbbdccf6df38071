"""Doubts about the values of tables: the rules of `consignments.doubts` for whole columns."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from consignments.columns import SHOWN_VALUE, TEXT, Mask, normalize_array, to_mask
from consignments.doubts import CodeRule, Rule, correct_value, list_rules

MAX_EXAMPLES = 3


@dataclass(frozen=True)
class ColumnDoubt:
    """A doubt about one column, as `column: doubt`, with the mask of its rows and some of the values."""

    text: str
    rows: Mask
    examples: tuple[str, ...] = ()


def correct_table(table: Any, record: type[msgspec.Struct]) -> tuple[Any, list[ColumnDoubt]]:
    """Read the countries of rows in canonical form as what they are, and find all doubtful values."""
    doubts: list[ColumnDoubt] = []
    for name, rule in list_rules(record).items():
        values, found = _correct_column(normalize_array(table.column(name)), name, rule)
        if found:
            doubts += found
            table = table.set_column(table.column_names.index(name), name, values)
    return table, doubts


def _correct_column(values: Any, name: str, rule: Rule) -> tuple[Any, list[ColumnDoubt]]:
    if not isinstance(rule, CodeRule):
        bounds = [pa.scalar(bound, values.type) for bound in (rule.low, rule.high)]
        outside = to_mask(pc.or_(pc.less(values, bounds[0]), pc.greater(values, bounds[1])))
        return values, [ColumnDoubt(f"{name}: {rule.text}", outside)] if outside.any() else []
    strange = pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, pa.array(sorted(rule.known), TEXT))))
    if not pc.any(strange).as_py():
        return values, []
    coded = values.filter(strange).dictionary_encode()
    given = coded.dictionary.to_pylist()
    corrected = [correct_value(value, rule) for value in given]
    read = pa.array([value for value, _ in corrected], TEXT).take(coded.indices)
    places, kinds = np.flatnonzero(to_mask(strange)), np.array([text for _, text in corrected])
    doubts = []
    for text in filter(None, dict.fromkeys(kinds.tolist())):
        rows = np.zeros(len(values), dtype=bool)
        rows[places[(kinds == text)[coded.indices.to_numpy()]]] = True
        pairs = ((value, new) for value, (new, kind) in zip(given, corrected, strict=True) if kind == text)
        doubts.append(ColumnDoubt(f"{name}: {text}", rows, _list_examples(pairs)))
    return pc.replace_with_mask(values, strange, read), doubts


def _list_examples(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """List some values with what they were read as; an unknown value is shown if it is one short word, for it may be a name."""
    shown = (
        f"{value} as {new}" if new != value else value
        for value, new in pairs
        if new != value or SHOWN_VALUE.fullmatch(value)
    )
    return tuple(example for example, _ in zip(shown, range(MAX_EXAMPLES), strict=False))


def select_doubts(doubts: Iterable[ColumnDoubt], good: Mask) -> list[ColumnDoubt]:
    """Return the doubts about rows that are kept, with their masks among these."""
    kept = (replace(doubt, rows=doubt.rows[good]) for doubt in doubts)
    return [doubt for doubt in kept if doubt.rows.any()]


def count_doubts(doubts: Iterable[ColumnDoubt]) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
    """Count the rows of each doubt, most frequent first, and list examples of each."""
    rows: Counter[str] = Counter()
    examples: dict[str, tuple[str, ...]] = {}
    for doubt in doubts:
        rows[doubt.text] += int(doubt.rows.sum())
        shown = dict.fromkeys((*examples.get(doubt.text, ()), *doubt.examples))
        examples[doubt.text] = tuple(shown)[:MAX_EXAMPLES]
    return dict(rows.most_common()), {text: shown for text, shown in examples.items() if shown}
