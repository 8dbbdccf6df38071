"""The verb brief: a page and a JSON file of the same numbers."""

import json
from pathlib import Path

from click.testing import CliRunner
from mlflow import MlflowClient
from support.examples import day, make_consignment, make_outcome

from consignments.files.table_writers import write_table
from consignments.records import Consignment, Outcome
from consignments.tables import build_frame
from npsrisk import main


def test_the_page_the_json_and_the_terminal_agree(tmp_path: Path) -> None:
    consignments = [make_consignment(f"C{n}", received_at=day(n)) for n in (*range(5), 30)]
    outcomes = [
        make_outcome(f"C{n}", selected_at=day(n), inspected_at=day(n), known_at=day(n + 1), result=result)
        for n, result in enumerate(("clear", "clear", "nps", "nps"))
    ]
    write_table(build_frame(consignments, Consignment), tmp_path / "c.parquet")
    write_table(build_frame(outcomes, Outcome), tmp_path / "o.parquet")
    words = [
        "brief",
        "--consignments",
        str(tmp_path / "c.parquet"),
        "--outcomes",
        str(tmp_path / "o.parquet"),
    ]
    words += ["--recent-days", "29", "--out", str(tmp_path / "brief.html")]
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout.splitlines()[-1])
    written = json.loads((tmp_path / "brief.json").read_text())
    assert {name: printed[name] for name in written} == written
    assert (written["arrivals"], written["known"], written["positives"], written["recent_positives"]) == (
        6,
        4,
        2,
        2,
    )
    assert "Detections of new psychoactive substances: 2" in (tmp_path / "brief.html").read_text()
    assert "run_id" not in printed
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    logged = CliRunner().invoke(main, [*words, "--log-run", "--json"], env={"MLFLOW_TRACKING_URI": uri})
    assert logged.exit_code == 0, logged.output
    client = MlflowClient(uri)
    run = client.get_run(json.loads(logged.stdout.splitlines()[-1])["run_id"])
    assert (run.data.tags["kind"], run.data.params["target"]) == ("brief", "nps")
    assert (run.data.metrics["brief/arrivals"], run.data.metrics["brief/positives"]) == (6, 2)
    path = client.download_artifacts(run.info.run_id, "tables/trends.json", str(tmp_path))
    table = json.loads(Path(path).read_text())
    assert [dict(zip(table["columns"], row, strict=True)) for row in table["data"]] == written["trends"]
    empty = CliRunner().invoke(main, [*words, "--as-of", "2000-01-01"])
    assert empty.exit_code == 2
    assert "no consignment to report" in empty.stderr
