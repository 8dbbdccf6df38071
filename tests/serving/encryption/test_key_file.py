"""The file of the keys by month: private, whole, wrapped by the data key; what goes from it is overwritten."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.databases import database_in
from support.serving_examples import vault_in
from support.serving_keys import APRIL, FIELDS, MARCH, SUBJECT, erasure_of, keys_in

from consignments.errors import BadSetting, ServiceFault
from serving.encryption.key_file import FILE_NAME, OLD_FILE_NAME
from serving.encryption.monthly_keys import MonthlyKeys
from serving.encryption.vault import Vault
from serving.event_log.events import Event
from serving.event_log.key_erasures import load_or_create_data_key
from serving.event_log.log import EventLog
from serving.process.state_directory import get_part_path


def test_the_file_is_private_and_shows_no_key(tmp_path: Path) -> None:
    keys = keys_in(tmp_path)
    secret = keys.get_key(MARCH).secret
    assert keys.path.stat().st_mode & 0o777 == 0o600
    content = keys.path.read_bytes()
    assert secret not in content
    assert secret.hex().encode() not in content
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_a_file_that_cannot_be_written_is_a_fault_and_no_key_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    keys = keys_in(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", no_room)
        with pytest.raises(
            ServiceFault, match=r"period.keys: the monthly key file cannot be written; got No space"
        ):
            keys.get_key(MARCH)
    assert (len(keys), keys.list_missing(MARCH)[0]) == (0, "2024-03")
    assert keys.get_key(MARCH).month == "2024-03"


def test_the_bytes_of_the_file_before_are_overwritten_and_a_hard_link_of_it_too(tmp_path: Path) -> None:
    keys = keys_in(tmp_path)
    keys.create_keys(["2024-03"])
    backup = tmp_path / "backup"
    os.link(keys.path, backup)
    keys.create_keys(["2024-04"])
    assert backup.read_bytes().count(b"wrapped") == 1  # a further key leaves the file before alone
    os.link(keys.path, tmp_path / "later")
    keys.record_erasures([erasure_of(keys, MARCH)])
    keys.erase_keys()
    assert set((tmp_path / "later").read_bytes()) == {0}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "later", FILE_NAME]


def copy_of(path: Path, name: str) -> None:
    path.with_name(name).write_bytes(path.read_bytes())


@pytest.mark.parametrize("left", [OLD_FILE_NAME, get_part_path(Path(FILE_NAME)).name])
def test_what_a_kill_left_beside_the_file_is_overwritten_the_next_time(tmp_path: Path, left: str) -> None:
    keys = keys_in(tmp_path)
    keys.create_keys(["2024-03"])
    copy_of(keys.path, left)
    os.link(tmp_path / left, tmp_path / "seen")
    keys_in(tmp_path).erase_keys()
    assert not (tmp_path / left).exists()
    assert set((tmp_path / "seen").read_bytes()) == {0}
    assert len(keys_in(tmp_path)) == 1


def test_a_kill_before_the_new_file_had_its_name_does_not_cost_the_old_one(tmp_path: Path) -> None:
    keys = keys_in(tmp_path)
    keys.create_keys(["2024-03"])
    os.link(keys.path, tmp_path / OLD_FILE_NAME)
    keys_in(tmp_path).erase_keys()
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    assert keys_in(tmp_path).get_key(MARCH)[:6] == keys.get_key(MARCH)[:6]


def test_lines_that_somebody_put_into_the_file_are_kept(tmp_path: Path) -> None:
    """Of two files, as of two machines that served the same log, one can be made: the lines of both."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    here, there = vault_in(one), vault_in(other)
    sealed = [each.encrypt_all([FIELDS], [SUBJECT], MARCH)[0] for each in (here, there)]
    with (one / FILE_NAME).open("ab") as file:
        file.writelines((other / FILE_NAME).read_bytes().splitlines(keepends=True)[1:])
    here.encrypt_all([FIELDS], [SUBJECT], APRIL)
    assert [vault_in(one).decrypt(each, SUBJECT) for each in sealed] == [FIELDS] * 2


def test_another_data_key_is_told_from_a_damaged_file(tmp_path: Path) -> None:
    keys = keys_in(tmp_path)
    keys.create_keys(["2024-03", "2024-04"])
    with pytest.raises(
        BadSetting,
        match=r"period.keys: the monthly key file was written with another data key.* restore the data key",
    ):
        MonthlyKeys(keys.path, bytes(32))
    good = keys.path.read_text()
    for number, other in (
        (1, good.replace('"format"', '"f"')),
        (2, good.replace("2024-03", "2024-02")),
        (3, good[:-20]),
        (1, ""),
    ):
        keys.path.write_text(other)
        with pytest.raises(ServiceFault, match=rf"period.keys line {number}: .* damaged; .*backup"):
            keys_in(tmp_path)
    keys.path.write_text(good.replace('"format":1', '"format":2'))
    with pytest.raises(
        ServiceFault, match="the monthly key file has another format; got format 2; expected format 1"
    ):
        keys_in(tmp_path)


def test_a_data_key_is_created_only_in_the_state_directory_and_only_for_a_new_log(tmp_path: Path) -> None:
    state, url = tmp_path / "state", f"sqlite:///{tmp_path / 'state' / 'events.db'}"
    state.mkdir()
    elsewhere = tmp_path / "not mounted" / "data.key"
    with pytest.raises(BadSetting, match="no data key in the given file"):
        load_or_create_data_key(elsewhere, state, url)
    assert not elsewhere.parent.exists()
    key = load_or_create_data_key(state / "data.key", state, url)
    assert load_or_create_data_key(state / "data.key", state, url) == key
    EventLog.open(url, Vault.load(state, key)).close()
    (state / "data.key").unlink()
    assert load_or_create_data_key(state / "data.key", state, url) != key  # the log has no entry
    (state / "data.key").unlink()
    (state / "period.keys").write_text("{}")
    with pytest.raises(BadSetting, match=r"the data key is missing.*monthly keys.*restore data.key"):
        load_or_create_data_key(state / "data.key", state, url)
    assert not (state / "data.key").exists()


@pytest.mark.parametrize("entries", [1])
def test_no_data_key_is_created_if_the_log_has_entries(
    tmp_path: Path, open_log: Callable[[], EventLog], entry: Callable[..., Event], entries: int
) -> None:
    open_log().append([entry(entries)])
    with pytest.raises(BadSetting, match="1 log entries"):
        load_or_create_data_key(tmp_path / "data.key", tmp_path, database_in(tmp_path))
