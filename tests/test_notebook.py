"""docs/retraining.ipynb runs from top to bottom, each cell after the one before, as plain Python: no Jupyter is needed for that."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from support.pages import REPOSITORY

NOTEBOOK = json.loads((REPOSITORY / "docs" / "retraining.ipynb").read_text())


def code() -> list[str]:
    return ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


@pytest.mark.slow
def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    names: dict[str, Any] = {}
    for number, source in enumerate(code(), start=1):
        exec(compile(source, f"cell {number} of the notebook", "exec"), names)
    assert all(row["found"] <= row["bound"] for row in names["second"].trained.leaks)
    assert names["record"].forced
    assert names["found"].pair.b.counts.known >= 10
    assert names["registry"].find_version("champion", "nps") is not None
    assert names["drift"].verdict == "investigate data"


def test_every_step_is_taught_before_it_is_done() -> None:
    kinds = [cell["cell_type"] for cell in NOTEBOOK["cells"]]
    headings = [cell for cell in NOTEBOOK["cells"] if "".join(cell["source"]).startswith("## ")]
    assert kinds[0] == kinds[-1] == "markdown"
    assert len(headings) == 11
