"""What a verb cannot do it refuses in one line that says why, with exit code 2, and it leaves no trace."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from support.cases import read_cases
from support.examples import day, make_consignment, make_outcome
from support.messages import HOUSE
from support.table_examples import write_records
from support.verbs import refuse, succeed

from consignments.records import Consignment

SCORES = "consignment_id,score,band,model_version,office,received_at\nC1,0.1,routine,1,Incheon,2024-03-04\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tables, a message, the key of one approver, and the state of a first batch."""
    made = tmp_path_factory.mktemp("asked")
    rows = [make_consignment("SEIZED"), make_consignment("RB4", received_at=day(12))]
    write_records(made / "c.parquet", rows)
    write_records(made / "o.parquet", [make_outcome("SEIZED", result="nps")])
    for suffix in ("csv", "parquet"):
        write_records(made / f"none.{suffix}", [], Consignment)
    (made / "s.csv").write_text(SCORES)
    (made / "house.xml").write_bytes(HOUSE.read_bytes())
    (made / "empty").mkdir()
    state = {"NPSRISK_STATE_DIR": str(made / "state")}
    succeed("keys create --name first", **state)
    succeed(f"features --consignments {made}/c.parquet --out {made}/f.csv --state {made}/kept", **state)
    return made


def read_files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", read_cases("refused_commands"))
def test_what_cannot_be_done_is_refused_in_one_line_and_changes_nothing(
    model_folder: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, case: Mapping[str, str]
) -> None:
    """Each line has a command, what its message says, and the content of the file `given.csv` if there is one."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NPSRISK_STATE_DIR", str(folder / "state"))
    (folder / "given.csv").write_text(case.get("content", ""))
    before = read_files(folder)
    (line,) = refuse(case["words"]).splitlines()
    assert case["told"] in line
    assert read_files(folder) == before
