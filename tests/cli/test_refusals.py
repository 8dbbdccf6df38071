"""What a verb cannot do it refuses in one line that says why, with exit code 2, and it leaves no trace."""

from pathlib import Path
from typing import Any

import pytest
from support.cases import read_cases
from support.examples import day, make_consignment, make_outcome
from support.messages import HOUSE
from support.table_examples import write_records
from support.verbs import refuse, succeed

from consignments.records import Consignment, Outcome

HEADER = "consignment_id,score,band,model_version,office,received_at\n"
SCORE = "C1,0.1,routine,1,Incheon,2024-03-04\n"
FILES = {
    **{"s.csv": HEADER + SCORE, "no_scores.csv": HEADER, "twice.csv": HEADER + 2 * SCORE},
    **{"busan.csv": HEADER + SCORE.replace("Incheon", "Busan"), "house.xml": HOUSE.read_text()},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tables, a message, the key of one approver, a plan, and the state of a first batch."""
    made = tmp_path_factory.mktemp("asked")
    consignments = [make_consignment("SEIZED"), make_consignment("RB4", received_at=day(12))]
    write_records(made / "c.parquet", consignments)
    write_records(made / "o.parquet", [make_outcome("SEIZED", result="nps")])
    write_records(made / "no_outcomes.parquet", [], Outcome)
    for suffix in ("csv", "parquet"):
        write_records(made / f"none.{suffix}", [], Consignment)
    for name, content in FILES.items():
        (made / name).write_text(content)
    (made / "empty").mkdir()
    state = {"NPSRISK_STATE_DIR": str(made / "state")}
    succeed("keys create --name first", **state)
    succeed(f"features --consignments {made}/c.parquet --out {made}/f.csv --state {made}/kept", **state)
    succeed(f"plan --scores {made}/s.csv --capacity Incheon=2 --out {made}/plan.html", **state)
    return made


def read_files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("case", read_cases("refused_commands"))
def test_what_cannot_be_done_is_refused_in_one_line_and_changes_nothing(
    model_folder: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, case: dict[str, Any]
) -> None:
    """Each line has a command, words of its message in their order, and files that are there before."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NPSRISK_STATE_DIR", str(folder / "state"))
    for name, content in case.get("files", {}).items():
        (folder / name).write_text(content)
    before = read_files(folder)
    (line,) = refuse(case["words"]).splitlines()
    place = 0
    for words in case["told"]:
        assert words in line[place:]
        place = line.index(words, place)
    assert read_files(folder) == before
