"""No text of a CSV table is a formula for a spreadsheet, and all are read back as they were."""

from pathlib import Path

import pandas as pd

from consignments.files.table_files import read_files
from consignments.files.table_writers import write_table

TEXTS = [
    *["=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "'=1", "''@", "'plain", "a=1", "RB1", "-", "'", "日本"],
    "\tx",
    None,
    "=1\n=2",
]


def test_formulas_are_quoted_and_read_back_equal(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    write_table(pd.DataFrame({"consignment_id": TEXTS, "gross_weight_kg": [-1.5] * len(TEXTS)}), path)
    text = path.read_text()
    assert "'=HYPERLINK(1)" in text
    assert ",-1.5" in text  # a number is no text
    cells = [line.split(",")[0].strip('"') for line in text.splitlines()[1:]]
    assert not [cell for cell in cells if cell[:1] in ("+", "-", "@", "\t")]
    (part,) = read_files(path).parts
    assert part.table.column("consignment_id").to_pylist() == TEXTS
