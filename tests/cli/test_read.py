"""`npsrisk read`: tables, rejects, answers of customs, exit codes, and runs that are taken up again."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.messages import BROKEN, DIRECT, HOUSE, MASTER, MESSAGES, POUNDS

from consignments.messages import reading
from consignments.messages.reading import ReadOptions, fill_spool
from consignments.messages.spool import Spool
from consignments.records import Consignment
from consignments.tables import read_table
from npsrisk import main

PSN = b"PSN\n160-48103823-WHX26030917\nCSN/7H/12MAR1902/PACT HOLD\n"


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["read", *map(str, words)])


def result_of(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_a_folder_becomes_a_table_that_is_read_back(tmp_path: Path, suffix: str) -> None:
    out, states, rejects = tmp_path / f"c{suffix}", tmp_path / f"s{suffix}", tmp_path / "r.csv"
    (tmp_path / "in").mkdir()
    for path in (HOUSE, MASTER, DIRECT, POUNDS, BROKEN / "xfzb_cut.xml"):
        (tmp_path / "in" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "in" / "psn").write_bytes(PSN)
    told = result_of(
        run(tmp_path / "in", "--out", out, "--events", states, "--rejects", rejects, "--jobs", "1", "--json")
    )
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
    assert not list(tmp_path.glob(".*reading*"))
    if suffix == ".csv":
        assert "160-48103823/WHX26030917" in states.read_text()


def test_a_file_whose_name_is_no_utf8_is_read_and_named(tmp_path: Path) -> None:
    folder, rejects = tmp_path / "in", tmp_path / "r.csv"
    folder.mkdir()
    for name, path in ((b"b\xfcro.xml", HOUSE), (b"b\xe4r.xml", BROKEN / "xfzb_cut.xml")):
        (folder / os.fsdecode(name)).write_bytes(path.read_bytes())
    done = run(folder, "--out", tmp_path / "c.csv", "--rejects", rejects, "--jobs", "1", "--json")
    assert (result_of(done)["consignments"], result_of(done)["rejected"]) == (1, 1)
    assert "b\\xe4r.xml" in rejects.read_text()


def test_a_link_in_a_folder_does_not_lead_out_of_it(tmp_path: Path) -> None:
    folder, secret = tmp_path / "in", tmp_path / "secret.xml"
    folder.mkdir()
    secret.write_bytes(HOUSE.read_bytes())
    (folder / "own.xml").write_bytes(HOUSE.read_bytes())
    (folder / "again.xml").symlink_to("own.xml")
    done = run(folder, "--out", tmp_path / "c.csv", "--jobs", "1", "--json")
    assert result_of(done)["consignments"] == 1
    (folder / "out.xml").symlink_to(secret)
    done = run(folder, "--out", tmp_path / "d.csv", "--jobs", "1")
    assert (done.exit_code, "a link leads out of the folder" in done.output) == (2, True)
    assert not (tmp_path / "d.csv").exists()
    assert run(folder / "out.xml", "--out", tmp_path / "e.csv", "--jobs", "1").exit_code == 0, (
        "it is named itself"
    )


def test_a_run_of_rejects_alone_fails_and_writes_nothing(tmp_path: Path) -> None:
    cut, rejects = BROKEN / "xfzb_cut.xml", tmp_path / "r.csv"
    words = ("--out", tmp_path / "c.csv", "--jobs", "1")
    done = run(cut, *words)
    assert done.exit_code == 2
    assert "no valid message" in done.stderr
    assert list(tmp_path.iterdir()) == []
    last = run(cut, cut, *words, "--rejects", rejects).stderr.splitlines()[-1]
    assert f"got 2 of 2 messages rejected ({cut}: " in last
    assert last.endswith(f"and 1 more); see {rejects} for each message and its reason")
    assert len(rejects.read_text().splitlines()) == 3


def test_any_reject_fails_a_strict_run(tmp_path: Path) -> None:
    words = (HOUSE, BROKEN / "xfzb_cut.xml", "--out", tmp_path / "c.csv", "--jobs", "1")
    assert run(*words).exit_code == 0
    done = run(*words, "--strict")
    assert done.exit_code == 2
    assert "invalid messages with --strict" in done.stderr


def test_messages_without_goods_give_an_empty_table_and_a_line_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "m.xml").write_text('<FlightManifest xmlns="iata:flightmanifest:1"/>')
    done = run(tmp_path / "m.xml", "--out", tmp_path / "c.parquet", "--jobs", "1")
    assert done.exit_code == 0
    assert "Read no consignment from 1 messages: they contain no goods" in done.stdout
    assert "XFFM: it holds no goods of its own" in done.stderr
    assert len(read_table(tmp_path / "c.parquet", Consignment).frame) == 0


def test_a_table_of_an_unknown_kind_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    for words in (("--out", tmp_path / "c.txt"), ("--out", tmp_path / "no" / "c.csv")):
        done = run(HOUSE, *words)
        assert done.exit_code == 2
        assert list(tmp_path.iterdir()) == []


def test_the_time_of_receipt_is_the_one_given(tmp_path: Path) -> None:
    run(HOUSE, "--out", tmp_path / "c.jsonl", "--received-at", "2026-04-01", "--jobs", "1")
    row = json.loads((tmp_path / "c.jsonl").read_text())
    assert row["received_at"] == "2026-04-01T00:00:00.000000Z"
    assert row["issued_at"] == "2026-03-10T00:42:00.000000Z"


def write_many(folder: Path, count: int) -> None:
    folder.mkdir()
    for number in range(count):
        data = HOUSE.read_bytes().replace(b"WHX26030917", b"H%05d" % number)
        (folder / f"{number:05d}.xml").write_bytes(data)


def test_a_run_that_was_stopped_goes_on_behind_the_last_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_many(tmp_path / "in", 30)
    monkeypatch.setattr(reading, "BATCH_MESSAGES", 10)
    spool = Spool(tmp_path / "spool", "run 1")
    real, parsed = reading.parse_messages, []

    def fail_later(messages: Any, options: ReadOptions) -> Any:
        parsed.append(len(messages))
        if len(parsed) == 3:
            raise KeyboardInterrupt
        return real(messages, options)

    monkeypatch.setattr(reading, "parse_messages", fail_later)
    with pytest.raises(KeyboardInterrupt):
        fill_spool([tmp_path / "in"], spool, ReadOptions())
    spool.close(remove=False)
    parsed.clear()
    again = Spool(tmp_path / "spool", "run 1")
    fill_spool([tmp_path / "in"], again, ReadOptions())
    assert parsed == [10]
    assert again.count_entries() == 30
    again.close(remove=False)
    other = Spool(tmp_path / "spool", "run 2")  # of other options
    assert other.count_entries() == 0
    other.close(remove=True)
    assert list(tmp_path.glob("spool*")) == []


def test_a_message_joined_across_files_is_read_once_if_the_run_is_stopped(tmp_path: Path) -> None:
    head, middle, rest = (MESSAGES / "fwb_direct.txt").read_text().partition("RTG/")
    (tmp_path / "a.txt").write_text(head + middle + "ICNKE\n")
    (tmp_path / "b.txt").write_text(head + rest.partition("\n")[2])
    for _ in range(2):
        spool = Spool(tmp_path / "spool", "run 1")
        fill_spool([tmp_path / "a.txt", tmp_path / "b.txt"], spool, ReadOptions())
        assert (spool.count_messages(), spool.count_entries()) == (2, 1)
        spool.close(remove=False)


def test_a_stopped_run_of_other_or_changed_files_is_not_continued(tmp_path: Path) -> None:
    cut, house = BROKEN / "xfzb_cut.xml", tmp_path / "house.xml"
    house.write_bytes(HOUSE.read_bytes())

    def fill(*files: Path) -> tuple[int, list[Any], dict[str, int]]:
        spool = Spool(tmp_path / "spool", "run 1")
        fill_spool(files, spool, ReadOptions())
        found = spool.count_entries(), list(spool.read_rejects()), spool.read_counts("kind")
        spool.close(remove=False)
        return found

    assert len(fill(house, cut)[1]) == 1
    assert fill(house) == fill(house) == (1, [], {"XFZB": 1})
    house.write_bytes(DIRECT.read_bytes())
    assert fill(house) == (1, [], {"XFWB": 1})


def test_several_processes_give_the_bytes_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_many(tmp_path / "in", 40)
    monkeypatch.setattr(reading, "MIN_PARALLEL_BYTES", 1)
    monkeypatch.setattr(reading, "BATCH_MESSAGES", 7)
    for jobs in (1, 2):
        assert (
            run(tmp_path / "in", MASTER, "--out", tmp_path / f"{jobs}.csv", "--jobs", str(jobs)).exit_code
            == 0
        )
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()


def test_a_mapping_reads_a_feed_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "feed.json").write_text(
        '{"parcel": {"no": "RB123456785GB", "what": "tea", "grams": 250, "from": "Ann"}}'
    )
    (tmp_path / "map.toml").write_text(
        'name = "ours"\nchannel = "postal"\nformat = "json"\n[record]\neach = "parcel"\nconsignment_id = "no"\n'
        'description = "what"\ngross_weight_kg = "grams"\nsender_name = "from"\n[units]\nweight = "g"\n'
    )
    out = tmp_path / "c.jsonl"
    told = result_of(
        run(tmp_path / "feed.json", "--mapping", tmp_path / "map.toml", "--out", out, "--jobs", "1", "--json")
    )
    assert told["consignments"] == 1
    row = json.loads(out.read_text())
    assert (row["consignment_id"], row["gross_weight_kg"], row["sender_name"]) == (
        "RB123456785GB",
        0.25,
        "Ann",
    )


def test_messages_are_recognised_by_the_mappings_of_the_folder_of_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "c.parquet"
    words = (MESSAGES / "itmatt.edi", MESSAGES / "cds_view.xml", "--out", out, "--json")
    assert result_of(run(*words))["rejected"] == 1
    monkeypatch.setenv("NPSRISK_MAPPINGS_DIR", str(MESSAGES))
    told = result_of(run(*words))
    assert (told["kinds"], told["rejected"]) == ({"mapped by own ITMATT": 1, "postal": 1}, 0)
    assert told["warnings"]["items.origin_country: country_read_as"] == 1
    monkeypatch.setenv("NPSRISK_MAPPINGS_DIR", str(tmp_path / "none"))
    assert "no folder of mappings" in run(*words).output


def test_a_simulated_world_writes_messages_that_are_read_back(tmp_path: Path) -> None:
    words = [
        "simulate",
        "--out",
        str(tmp_path / "w"),
        "--days",
        "2",
        "--per-day",
        "40",
        "--messages",
        "--json",
    ]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["consignments"] == told["messages"]["cargo_xml"] + told["messages"]["postal"]
    archives = tmp_path / "w" / "messages"
    result = result_of(
        run(
            archives / "cargo_xml.zip",
            archives / "postal.zip",
            "--out",
            tmp_path / "c.csv",
            "--jobs",
            "1",
            "--json",
        )
    )
    assert result["rejected"] == 0
    frame = read_table(tmp_path / "c.csv", Consignment).frame
    sent = read_table(tmp_path / "w" / "consignments.parquet", Consignment).frame
    assert set(frame["consignment_id"]) == set(sent["consignment_id"])


def test_a_row_has_the_office_of_its_message_else_the_one_given_else_that_of_its_destination(
    tmp_path: Path,
) -> None:
    (tmp_path / "offices.csv").write_text("place,office\nICN,Incheon\nNL,Rotterdam\n")
    samples = [HOUSE, MESSAGES / "flat_itmatt.xml", MESSAGES / "ics2_f26.xml"]

    def read_offices(*options: str | Path) -> dict[str, str]:
        result_of(run(*samples, "--out", tmp_path / "c.csv", "--json", *options))
        frame = read_table(tmp_path / "c.csv", Consignment).frame
        return dict(zip(frame["consignment_id"], frame["office"].fillna(""), strict=True))

    by_place = read_offices("--offices", tmp_path / "offices.csv")
    assert by_place["160-48103823/WHX26030917"] == "Incheon"
    assert by_place["CT123456785US"] == "Rotterdam"
    own = {name: office for name, office in read_offices().items() if office}
    assert own
    assert own.items() <= by_place.items()
    given = read_offices("--office", "Busan", "--offices", tmp_path / "offices.csv")
    assert given == {name: own.get(name, "Busan") for name in by_place}
    (tmp_path / "offices.csv").write_text("harbour,office\n")
    refused = run(HOUSE, "--out", tmp_path / "c.csv", "--offices", tmp_path / "offices.csv")
    assert refused.exit_code == 2
    assert "--offices: the table of offices cannot be used" in refused.stderr


def test_a_drafted_mapping_shows_each_guess_and_reads_its_sample(tmp_path: Path) -> None:
    sample, mapping = MESSAGES / "flat_itmatt.xml", tmp_path / "post.toml"
    done = run("--draft-mapping", mapping, sample, "--json")
    guesses = {each["column"]: each["value"] for each in result_of(done)["guesses"]}
    assert guesses["consignment_id"] == "CT123456785US"
    text = run("--draft-mapping", mapping, sample).stdout
    assert 'consignee_city = "ReceiverAddress/City"  # "Den Haag"' in text
    assert "# unsure: weight" in text
    assert f"read the messages with --mapping {mapping}" in text
    result_of(run(sample, "--mapping", mapping, "--out", tmp_path / "c.csv", "--json"))
    frame = read_table(tmp_path / "c.csv", Consignment).frame
    assert frame["consignee_city"].tolist() == ["Den Haag"]


@pytest.mark.parametrize(
    "words", [(), ("--out", "c.csv", "--draft-mapping", "post.toml")], ids=["neither", "both"]
)
def test_either_a_table_or_a_draft_is_written(words: tuple[str, ...]) -> None:
    refused = run(HOUSE, *words)
    assert refused.exit_code == 2
    assert "either --out T or --draft-mapping OUT.toml" in refused.stderr
