"""The record of who read personal data: a command writes a line before it reads, and the service takes it into the chain."""

from pathlib import Path

from click.testing import CliRunner
from pyarrow import parquet
from support.databases import state_environment
from support.examples import make_consignment
from support.serving_examples import Client, publish, serving, settings_in

from npsrisk import main
from serving.event_log.reader import LogReader
from serving.maintenance.access_log import FILE_NAME, decode_access


def list_accesses(client: Client) -> list[str]:
    client.look()
    client.post(
        "/v1/scores", make_consignment("RB9")
    )  # its answer comes when all entries before it are on disk
    with LogReader.open_to_read(client.service.settings.database_url) as log:
        return [decode_access(event).command for event in log.read_events(kinds=("access",))]


def test_an_export_of_personal_data_is_in_the_chain_once(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    settings = settings_in(tmp_path)
    with serving(settings) as client:
        client.post("/v1/scores", make_consignment("RB1"))
        words = ["export", "--out", str(tmp_path / "out"), "--personal"]
        done = CliRunner().invoke(main, words, env=state_environment(tmp_path))
        assert done.exit_code == 0, done.output
        assert list_accesses(client) == ["export --personal"]
    with (tmp_path / FILE_NAME).open("ab") as file:
        file.write(b"half of a line that a kill cut")
    with serving(settings) as client:  # which reads the file from its start
        assert list_accesses(client) == ["export --personal"]
    done = CliRunner().invoke(
        main, ["export", "--out", str(tmp_path / "out")], env=state_environment(tmp_path)
    )
    assert done.exit_code == 0, done.output
    assert parquet.read_table(tmp_path / "out" / "accesses.parquet")["command"].to_pylist() == [
        "export --personal"
    ]
    done = CliRunner().invoke(main, ["verify-log"], env=state_environment(tmp_path))
    assert done.exit_code == 0, done.output


def test_without_its_line_there_is_no_export(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    with serving(settings_in(tmp_path)) as client:
        client.post("/v1/scores", make_consignment("RB1"))
    (tmp_path / FILE_NAME).mkdir()  # it cannot be written
    words = ["export", "--out", str(tmp_path / "out"), "--personal"]
    done = CliRunner().invoke(main, words, env=state_environment(tmp_path))
    assert (done.exit_code, (tmp_path / "out").exists()) == (2, False)
    assert "cannot be recorded" in done.output
