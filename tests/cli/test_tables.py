"""Tables of a verb: rows at fault of all of them are in one file, and a table without a good row ends the verb."""

from pathlib import Path

import pandas as pd
import pytest
from support.verbs import refuse, succeed

from npsrisk import main

Patch = pytest.MonkeyPatch
HEADER = "consignment_id,channel,received_at\n"
BAD = {
    "consignments": f"{HEADER}A,sea,2024-01-02T00:00:00Z\nB,postal,soon\n",
    "outcomes": "consignment_id,selected_by,status\nA,model,lost\n",
    "alerts": "alert_id,issued_at\nA1,soon\n",
    "truth": "consignment_id,result\nA,maybe\n",
}
GOOD = {
    "consignments": f"{HEADER}A,postal,2024-01-02T00:00:00Z\n",
    "outcomes": "consignment_id,selected_by,status,known_at,result\nA,model,inspected,2024-01-05,clear\n",
    "alerts": "alert_id,issued_at\nA1,2024-01-01\n",
    "truth": "consignment_id,result\nA,clear\n",
}
VERBS = {
    "features": "consignments history outcomes alerts",
    "score --model 1": "consignments history outcomes alerts",
    "train": "consignments outcomes alerts truth",
    "compare 1 2": "consignments outcomes alerts truth",
    "drift --model 1": "consignments history outcomes alerts reference",
    "import": "consignments outcomes alerts",
}
"""Of each verb the tables that it reads."""
CASES = [
    *(("features", table, kind) for table in VERBS["features"].split() for kind in ("csv", "parquet")),
    *((verb, VERBS[verb].split()[-1], "csv") for verb in VERBS),
]


def test_rows_at_fault_are_in_one_file_and_the_rest_goes_on_unless_it_is_strict(tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text(f"{HEADER}A,postal,2024-01-02T00:00:00Z\nB,sea,2024-01-02T00:00:00Z\n")
    (tmp_path / "past.csv").write_text(f"{HEADER}C,postal,2024-01-01T00:00:00Z\nD,postal,soon\n")
    words = f"features --consignments {tmp_path}/new.csv --history {tmp_path}/past.csv --out {tmp_path}/f.csv"
    succeed(f"{words} --rejects {tmp_path}/rejects.csv")
    assert [line[:3] for line in (tmp_path / "f.csv").read_text().splitlines()[1:]] == ['"A"']
    assert all(text in (tmp_path / "rejects.csv").read_text() for text in ("sea", "soon"))
    refused = refuse(f"{words} --strict --rejects {tmp_path}/strict.csv")
    assert all(text in refused for text in ("none is allowed here", f"; see {tmp_path}/strict.csv for each"))
    assert "sea" in (tmp_path / "strict.csv").read_text()


@pytest.mark.parametrize(("verb", "invalid", "suffix"), CASES)
def test_a_table_of_which_every_row_is_rejected_ends_every_verb(
    model_folder: Path, tmp_path: Path, monkeypatch: Patch, verb: str, invalid: str, suffix: str
) -> None:
    monkeypatch.chdir(model_folder)
    monkeypatch.setenv("NPSRISK_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("NPSRISK_DATABASE_URL", f"sqlite:///{tmp_path}/log.db")
    words = f"{verb} --rejects {tmp_path}/rejects.csv"
    for name in VERBS[verb].split():
        kind = "consignments" if name in ("history", "reference") else name
        path = tmp_path / f"{name}.csv"
        path.write_text((BAD if name == invalid else GOOD)[kind])
        if suffix == "parquet":
            pd.read_csv(path).to_parquet(path.with_suffix(".parquet"))
        words += f" --{name} {path.with_suffix(f'.{suffix}')}"
    out = tmp_path / ("out.html" if verb.startswith("drift") else "out.csv")
    if any("--out" in option.opts for option in main.commands[verb.split()[0]].params):
        words += f" --out {out}"
    last = refuse(words).splitlines()[-1]
    rows = 2 if invalid in ("consignments", "history", "reference") else 1
    told = f"{invalid}.{suffix}: all rows were rejected; got {rows} of {rows} rows rejected (1 x "
    assert told in last
    assert last.endswith(f"see {tmp_path / 'rejects.csv'} for each invalid row and its reason")
    assert len((tmp_path / "rejects.csv").read_text().splitlines()) == 1 + rows
    assert not out.exists()


def test_a_table_that_had_no_rows_from_the_start_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text(HEADER)
    succeed(f"features --consignments {tmp_path}/none.csv --out {tmp_path}/f.csv")
    assert len((tmp_path / "f.csv").read_text().splitlines()) == 1
