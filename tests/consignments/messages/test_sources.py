"""Where messages come from: folders, archives, files of many messages of mixed kinds; nothing is lost, nothing hangs."""

import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.cases import read_cases
from support.messages import DIRECT, HOUSE, MASTER, MESSAGES, POUNDS, read_messages

from consignments.messages import sources
from consignments.messages.kinds import MessageKind, detect_kind, list_kinds

FWB, FHL = (MESSAGES / "fwb_direct.txt").read_bytes(), (MESSAGES / "fhl_houses.txt").read_bytes()
PARTS = [HOUSE.read_bytes(), FWB, MASTER.read_bytes(), FHL, DIRECT.read_bytes(), POUNDS.read_bytes()]


def identifiers(*given: Path | bytes) -> list[str]:
    return sorted({c.consignment_id for c in read_messages(given).consignments})


def test_a_folder_an_archive_and_one_file_of_all_give_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "in" / "deeper"
    folder.mkdir(parents=True)
    for number, part in enumerate(PARTS):
        (folder / f"{number}.dat").write_bytes(part)  # the name says nothing
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for number, part in enumerate(PARTS):
            file.writestr(f"day/{number}", part)
    whole = tmp_path / "all.txt"
    whole.write_bytes(b"\n".join(PARTS))
    expected = identifiers(*PARTS)
    assert len(expected) == 6
    for source in (tmp_path / "in", archive, whole):
        assert identifiers(source) == expected


@pytest.mark.parametrize("case", read_cases("split_bodies"))
def test_a_body_is_cut_into_its_messages(case: dict[str, Any]) -> None:
    """Each line has a claim, a body, and its messages, with one letter for each byte."""
    parts = sources.split_messages(case["body"].encode("latin-1"))
    assert [part.strip().decode("latin-1") for part in parts] == case["messages"]


def test_a_broken_or_hostile_archive_is_a_reject(tmp_path: Path) -> None:
    broken, nested = tmp_path / "broken.zip", tmp_path / "nested.zip"
    with zipfile.ZipFile(nested, "w") as file:
        file.writestr("a.zip", b"PK\x03\x04rest")
        file.writestr("b.xml", HOUSE.read_bytes())
    broken.write_bytes(nested.read_bytes()[:-30])
    found = read_messages([broken, nested])
    assert [c.consignment_id for c in found.consignments] == ["160-48103823/WHX26030917"]
    assert [reject.place for reject in found.rejects] == [str(broken), f"{nested}/a.zip"]


def test_a_file_of_an_archive_has_its_own_time(tmp_path: Path) -> None:
    path = tmp_path / "old.zip"
    times = ((2024, 5, 6, 7, 8, 10), (1980, 1, 1, 0, 0, 0), (2099, 1, 1, 0, 0, 0))
    with zipfile.ZipFile(path, "w") as file:
        for number, date_time in enumerate(times):
            file.writestr(zipfile.ZipInfo(str(number), date_time), FWB)
    known, unset, later = (message.received_at for message in sources.read_file(path))
    assert known == datetime(2024, 5, 6, 7, 8, 10, tzinfo=UTC)
    assert unset == later == datetime.fromtimestamp(path.stat().st_mtime, UTC)


def test_an_empty_file_and_a_missing_one_are_rejects(tmp_path: Path) -> None:
    empty = tmp_path / "empty.xml"
    empty.touch()
    found = read_messages([empty, tmp_path / "nowhere"])
    assert [reject.reason.split(";")[0] for reject in found.rejects] == ["empty", "cannot be read"]


@given(st.lists(st.sampled_from([*PARTS, b"\n\n", b"no message\n"]), max_size=6))
def test_cutting_loses_no_byte_but_blanks(parts: list[bytes]) -> None:
    data = b"\n".join(parts)
    assert b"".join(b"".join(sources.split_messages(data)).split()) == b"".join(data.split())


@pytest.mark.parametrize(
    ("small", "large"),
    [
        (b"<a/>", b"<b>%b</b>"),
        (b'<a b="\'>"/>', b"<b>%b</b>"),
        (b"<a></a>", b"<b>%b</b>"),
        (b'{"a":\n1}', b'{"b": "%b"}'),
        (b'{"a": 1}', b'{"b": "%b"}'),
    ],
)
def test_small_messages_are_cut_without_a_look_at_the_large_one_behind(small: bytes, large: bytes) -> None:
    last = large % (b"x" * 20_000_000)  # 5,000 looks at it would take minutes
    *parts, end = sources.split_messages((small + b"\n") * 5_000 + last)
    assert [part.strip() for part in parts] == [small] * 5_000
    assert end.strip() == last


@pytest.mark.parametrize(
    "part", [b"<a><!--" * 5_000, b"FWB/16\n" + b"AAAAAAA\n" * 8_000 + b"x\n", b" " * 50_000 + b"x"]
)
def test_what_begins_and_never_ends_is_looked_at_once(part: bytes) -> None:
    # else it takes minutes
    assert b"".join(sources.split_messages(part * 8)).count(b"x") == part.count(b"x") * 8
    messages = [sources.RawMessage("a", FWB), sources.RawMessage("b", part)]
    assert len(list(sources.join_continuations(messages))) == 2


@pytest.mark.parametrize("kind", [kind for kind in list_kinds() if kind.codes[0]], ids=lambda kind: kind.name)
def test_a_code_of_the_registry_names_a_message_and_begins_a_further_one_in_a_file(kind: MessageKind) -> None:
    first_line, other = kind.codes[0], f"{kind.codes[0]} / 3"
    if not kind.bare:
        first_line, other = other, first_line
    assert detect_kind(f"QD ICNXXXX\n {first_line} \r\n".encode()).name == kind.name
    assert sources.TEXT_START.search(f"LAST\r\n{first_line} \r\n".encode())
    is_of_cargo = kind.bare and other.startswith("F")
    assert bool(sources.TEXT_START.search(f"LAST\r\n{other} \r\n".encode())) == is_of_cargo
