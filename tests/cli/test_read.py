"""`npsrisk read`: tables, rejects, answers of customs, exit codes, and runs that are taken up again."""

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import Result
from support.messages import BROKEN, DIRECT, HOUSE, MASTER, MESSAGES, POUNDS
from support.verbs import read_json, refuse, run_verb, succeed

from consignments.messages import reading
from consignments.messages.reading import ReadOptions, fill_spool
from consignments.messages.sources import list_files
from consignments.messages.spool import Spool, Topic
from consignments.records import Consignment
from consignments.tables import read_table

PSN = b"PSN\n160-48103823-WHX26030917\nCSN/7H/12MAR1902/PACT HOLD\n"
CUT = BROKEN / "xfzb_cut.xml"


def run(*words: str | Path) -> Result:
    return run_verb("read", *words, "--jobs", "1")


def read(*words: str | Path) -> dict[str, Any]:
    """Read messages, and return what the verb says as JSON."""
    return read_json(succeed("read", *words, "--jobs", "1", "--json"))


def read_frame(path: Path) -> pd.DataFrame:
    return read_table(path, Consignment).frame


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_a_folder_becomes_a_table_that_is_read_back(tmp_path: Path, suffix: str) -> None:
    folder, out, states, rejects = (tmp_path / name for name in ("in", f"c{suffix}", f"s{suffix}", "r.csv"))
    folder.mkdir()
    for path in (HOUSE, MASTER, DIRECT, POUNDS):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / os.fsdecode(b"b\xe4r.xml")).write_bytes(CUT.read_bytes())
    (folder / os.fsdecode(b"b\xfcro")).write_bytes(PSN)
    told = read(folder, "--out", out, "--events", states, "--rejects", rejects)
    assert (told["consignments"], told["rejected"]) == (4, 1)
    assert told["kinds"] == {"XFZB": 3, "XFWB": 2, "PSN": 1}
    assert told["states"] == {"request_for_information": 1}
    assert told["quality"]["consolidation_without_houses"] == 1
    assert told["filled"]["route"] == {"2026-03": 1.0}
    table = read_table(out, Consignment)
    assert table.rejects == ()
    assert set(table.frame["level"]) == {"house", "direct", "master"}
    assert table.frame["quality"].notna().all()
    assert "customs_notes" in table.report.unknown_columns
    assert "cut in half" in rejects.read_text()
    assert "b\\xe4r.xml" in rejects.read_text(), "a name that is no UTF-8"
    assert not list(tmp_path.glob(".*reading*"))
    if suffix == ".csv":
        assert "160-48103823/WHX26030917" in states.read_text()


def test_a_link_in_a_folder_does_not_lead_out_of_it_and_a_pipe_is_left_out(tmp_path: Path) -> None:
    folder, secret, out = tmp_path / "in", tmp_path / "secret.xml", tmp_path / "c.csv"
    folder.mkdir()
    for path in (secret, folder / "own.xml"):
        path.write_bytes(HOUSE.read_bytes())
    (folder / "again.xml").symlink_to("own.xml")
    os.mkfifo(folder / "pipe.xml")
    assert [path.name for path in list_files([folder])] == ["again.xml", "own.xml"]
    assert read(folder, "--out", out)["consignments"] == 1
    (folder / "out.xml").symlink_to(secret)
    assert "a link leads out of the folder" in refuse("read", folder, "--out", tmp_path / "d.csv")
    assert not (tmp_path / "d.csv").exists()
    assert run(folder / "out.xml", "--out", out).exit_code == 0, "it is named itself"


def test_a_run_of_rejects_alone_fails_and_any_reject_fails_a_strict_run(tmp_path: Path) -> None:
    out, rejects = ("--out", tmp_path / "c.csv"), tmp_path / "r.csv"
    assert "no valid message" in refuse("read", CUT, *out)
    assert list(tmp_path.iterdir()) == []
    last = refuse("read", CUT, CUT, *out, "--rejects", rejects).splitlines()[-1]
    assert f"got 2 of 2 messages rejected ({CUT}: " in last
    assert last.endswith(f"and 1 more); see {rejects} for each message and its reason")
    assert len(rejects.read_text().splitlines()) == 3
    assert run(HOUSE, CUT, *out).exit_code == 0
    assert "invalid messages with --strict" in refuse("read", HOUSE, CUT, *out, "--strict")


def test_messages_without_goods_give_an_empty_table_and_a_line_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "m.xml").write_text('<FlightManifest xmlns="iata:flightmanifest:1"/>')
    done = run(tmp_path / "m.xml", "--out", tmp_path / "c.parquet")
    assert done.exit_code == 0
    assert "Read no consignment from 1 messages: they contain no goods" in done.stdout
    assert "XFFM: it holds no goods of its own" in done.stderr
    assert len(read_frame(tmp_path / "c.parquet")) == 0


def test_the_time_of_receipt_is_the_one_given(tmp_path: Path) -> None:
    run(HOUSE, "--out", tmp_path / "c.jsonl", "--received-at", "2026-04-01")
    row = json.loads((tmp_path / "c.jsonl").read_text())
    assert row["received_at"] == "2026-04-01T00:00:00.000000Z"
    assert row["issued_at"] == "2026-03-10T00:42:00.000000Z"


def write_many(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        data = HOUSE.read_bytes().replace(b"WHX26030917", b"H%05d" % number)
        (folder / f"{number:05d}.xml").write_bytes(data)
    return folder


def fill(folder: Path, *sources: Path, run_id: str = "run 1") -> tuple[int, list[Any], dict[str, int]]:
    """Read messages into a spool that stays; return its entries, rejects and kinds."""
    spool = Spool(folder / "spool", run_id)
    try:
        fill_spool(sources, spool, ReadOptions())
        return spool.count(Topic.VERSION), list(spool.read(Topic.REJECT)), spool.count_texts(Topic.KIND)
    finally:
        spool._connection.close()


def test_a_stopped_run_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_many(tmp_path / "in", 30)
    monkeypatch.setattr(reading, "BATCH_MESSAGES", 10)
    real, parsed = reading.parse_messages, []

    def fail_later(messages: Any, options: ReadOptions) -> Any:
        parsed.append(len(messages))
        if len(parsed) == 3:
            raise KeyboardInterrupt
        return real(messages, options)

    monkeypatch.setattr(reading, "parse_messages", fail_later)
    with pytest.raises(KeyboardInterrupt):
        fill(tmp_path, folder)
    parsed.clear()
    assert fill(tmp_path, folder)[0] == 30
    assert parsed == [10]
    assert fill(tmp_path, run_id="run 2")[0] == 0, "of other options"


def test_a_stopped_run_reads_a_joined_message_once_and_does_not_continue_other_files(tmp_path: Path) -> None:
    head, middle, rest = (MESSAGES / "fwb_direct.txt").read_text().partition("RTG/")
    (tmp_path / "a.txt").write_text(head + middle + "ICNKE\n")
    (tmp_path / "b.txt").write_text(head + rest.partition("\n")[2])
    for _ in range(2):
        assert fill(tmp_path, tmp_path / "a.txt", tmp_path / "b.txt")[0] == 1
    house = tmp_path / "house.xml"
    house.write_bytes(HOUSE.read_bytes())
    assert len(fill(tmp_path, house, CUT)[1]) == 1
    assert fill(tmp_path, house) == fill(tmp_path, house) == (1, [], {"XFZB": 1})
    house.write_bytes(DIRECT.read_bytes())
    assert fill(tmp_path, house) == (1, [], {"XFWB": 1})


def test_several_processes_give_the_bytes_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_many(tmp_path / "in", 40)
    monkeypatch.setattr(reading, "MIN_PARALLEL_BYTES", 1)
    monkeypatch.setattr(reading, "BATCH_MESSAGES", 7)
    for jobs in (1, 2):
        succeed("read", folder, MASTER, "--out", tmp_path / f"{jobs}.csv", "--jobs", jobs)
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()


def test_the_mappings_of_the_service_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = (MESSAGES / "itmatt.edi", MESSAGES / "cds_view.xml", "--out", tmp_path / "c.parquet")
    assert read(*words)["rejected"] == 1
    monkeypatch.setenv("NPSRISK_MAPPINGS_DIR", str(MESSAGES))
    told = read(*words)
    assert (told["kinds"], told["rejected"]) == ({"mapped by own ITMATT": 1, "postal": 1}, 0)
    assert told["warnings"]["items.origin_country: country_read_as"] == 1
    monkeypatch.setenv("NPSRISK_MAPPINGS_DIR", str(tmp_path / "none"))
    assert "no folder of mappings" in run(*words).output


def test_a_row_has_the_office_of_its_message_or_the_given_one_or_that_of_its_place(tmp_path: Path) -> None:
    offices, out = tmp_path / "offices.csv", tmp_path / "c.csv"
    offices.write_text("place,office\nICN,Incheon\nNL,Rotterdam\n")

    def read_offices(*options: str | Path) -> dict[str, str]:
        read(HOUSE, MESSAGES / "flat_itmatt.xml", MESSAGES / "ics2_f26.xml", "--out", out, *options)
        return read_frame(out).set_index("consignment_id")["office"].fillna("").to_dict()

    by_place = read_offices("--offices", offices)
    assert by_place["160-48103823/WHX26030917"] == "Incheon"
    assert by_place["CT123456785US"] == "Rotterdam"
    own = {name: office for name, office in read_offices().items() if office}
    assert own
    assert own.items() <= by_place.items()
    given = read_offices("--office", "Busan", "--offices", offices)
    assert given == {name: own.get(name, "Busan") for name in by_place}
    offices.write_text("harbour,office\n")
    refused = refuse("read", HOUSE, "--out", out, "--offices", offices)
    assert "--offices: the table of offices cannot be used" in refused


def test_a_drafted_mapping_shows_each_guess_and_reads_its_sample(tmp_path: Path) -> None:
    sample, mapping, out = MESSAGES / "flat_itmatt.xml", tmp_path / "post.toml", tmp_path / "c.csv"
    guesses = read("--draft-mapping", mapping, sample)["guesses"]
    assert {each["column"]: each["value"] for each in guesses}["consignment_id"] == "CT123456785US"
    text = run("--draft-mapping", mapping, sample).stdout
    assert 'consignee_city = "ReceiverAddress/City"  # "Den Haag"' in text
    assert "# unsure: weight" in text
    assert f"read the messages with --mapping {mapping}" in text
    assert read(sample, "--mapping", mapping, "--out", out)["consignments"] == 1
    assert read_frame(out)["consignee_city"].tolist() == ["Den Haag"]
