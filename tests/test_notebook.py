"""docs/retraining.ipynb runs from top to bottom, each cell after the one before, as plain Python: no Jupyter is needed for that."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from support.pages import REPOSITORY

NOTEBOOK = json.loads((REPOSITORY / "docs" / "retraining.ipynb").read_text())


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names: dict[str, Any] = {}
    cells = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    for number, source in enumerate(cells, start=1):
        exec(compile(source, f"cell {number} of the notebook", "exec"), names)
    assert all(row["found"] <= row["bound"] for row in names["second"].trained.leaks)
    assert names["record"].forced
    assert names["found"].pair.b.counts.known >= 10
    assert names["registry"].find_version("champion", "nps") is not None
    assert names["drift"].verdict == "investigate data"
