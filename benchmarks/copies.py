"""Large worlds from a small one: copies of a simulated world, each with persons of its own, woven together in the order of time.

Goods, offices, carriers, routes and times of day stay those of the simulation, so a row costs what a simulated row costs. Names, addresses,
phones, e-mails, accounts and identifiers of a copy have its number, so each copy has its own history keys.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as parquet

from consignments.timestamps import US_PER_DAY, to_us

SLICE_ROWS = 16_384
CONSIGNMENT = ("consignment_id", "master_id")
PERSON = (
    "account_id", "sender_name", "sender_address", "sender_phone", "sender_email",
    "consignee_name", "consignee_address", "consignee_phone", "consignee_email",
)  # fmt: skip
FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
WORLD_DAYS = 300


@dataclass(frozen=True)
class Copies:
    """Copies of a world; `name` is part of their identifiers, and its 300 days are stretched or pressed into `days` from `first_day` on."""

    name: str
    count: int
    first_day: float = 0
    days: float = WORLD_DAYS

    def write(self, world: Path, out: Path) -> int:
        """Write consignments and outcomes into a folder, and return the number of consignments."""
        out.mkdir(parents=True)
        self._weave(world / "outcomes.parquet", out / "outcomes.parquet")
        return self._weave(world / "consignments.parquet", out / "consignments.parquet")

    def _weave(self, source: Path, out: Path) -> int:
        file = parquet.ParquetFile(source)
        written = 0
        with parquet.ParquetWriter(out, file.schema_arrow) as writer:
            for batch in file.iter_batches(SLICE_ROWS):
                rows = self._move(pa.Table.from_batches([batch]))
                made = pa.concat_tables([self._make_own(rows, number) for number in range(self.count)])
                order = np.arange(len(made)).reshape(self.count, -1).T.ravel()
                writer.write_table(made.take(pa.array(order)))
                written += len(made)
        return written

    def _move(self, rows: pa.Table) -> pa.Table:
        """Convert all times, in the same order."""
        for place, field in enumerate(rows.schema):
            if pa.types.is_timestamp(field.type):
                rows = rows.set_column(place, field, self._convert(rows.column(place)))
        return rows

    def _convert(self, times: pa.ChunkedArray) -> pa.ChunkedArray:
        begin = to_us(FIRST_DAY)
        after = pc.subtract(times.cast(pa.int64()), begin).cast(pa.float64())
        moved = pc.floor(pc.multiply(after, self.days / WORLD_DAYS)).cast(pa.int64())
        return pc.add(moved, begin + round(self.first_day * US_PER_DAY)).cast(times.type)

    def _make_own(self, rows: pa.Table, number: int) -> pa.Table:
        """Build rows with persons of their own. Copies of equal number have the same persons under every name."""
        for columns, mark in ((CONSIGNMENT, f"{self.name.upper()}{number}"), (PERSON, f" {number}")):
            for name in columns:
                if name in rows.column_names:
                    place = rows.schema.get_field_index(name)
                    field = rows.schema.field(place)
                    parts = (pa.scalar(text, field.type) for text in (mark, ""))
                    marked = pc.binary_join_element_wise(rows.column(place), *parts)
                    rows = rows.set_column(place, field, marked)
        return rows
