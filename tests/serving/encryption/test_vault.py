"""Packed records: personal fields are encrypted, equal records have equal digests, nothing is lost."""

import stat
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import DATA_KEYS

from consignments.errors import BadSetting, ServiceFault
from consignments.records import Consignment
from features.history.data_keys import ID_BYTES, DataKeys, encode_data_keys, read_data_keys
from serving.encryption.key_rotation import rotate_sealing_key
from serving.encryption.vault import PackedRecord, RecordPacker, Vault

ASIDE = ("consignment_id", "received_at", "cancelled_at")


def pack(packer: RecordPacker, record: Any, subject: str = "RB1") -> PackedRecord:
    return packer.pack_all([record], [subject])[0]


def unpack(packer: RecordPacker, packed: PackedRecord, subject: str = "RB1", **columns: Any) -> Any:
    return packer.unpack(packed.plain, packed.sealed, subject, consignment_id=subject, **columns)


SEOUL = day(10).astimezone(timezone(timedelta(hours=9)))


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (make_consignment(), make_consignment(received_at=day(3)), True),
        (make_consignment(), make_consignment(consignee_phone=None), False),
        (make_consignment(), make_consignment(pieces=3.0), False),
        (make_consignment(), make_consignment(account_id="a"), False),
        (make_outcome(known_at=day(10)), make_outcome(known_at=SEOUL), True),
    ],
)
def test_equal_content_has_one_digest_in_any_zone(vault: Vault, one: Any, other: Any, equal: bool) -> None:
    aside = ASIDE if isinstance(one, Consignment) else ("consignment_id", "recorded_at")
    first, second = (pack(RecordPacker(type(one), vault, aside), each) for each in (one, other))
    assert (first.content == second.content) == equal
    assert first.sealed is None or first.sealed != second.sealed, "equal names are encrypted differently"
    elsewhere = RecordPacker(type(one), Vault(DataKeys.create()), aside)
    assert pack(elsewhere, one).content != first.content, "it says nothing without the key"


ANOTHER = structs.replace(DATA_KEYS.sealing_keys[0], key=bytes(32).hex())
LOCKED = "log entry of {}: personal fields cannot be decrypted"


@pytest.mark.parametrize(
    ("sealing_keys", "subject", "told"),
    [
        (DATA_KEYS.sealing_keys, "RB2", LOCKED.format("RB2")),
        ([ANOTHER], "RB1", LOCKED.format("RB1")),
        (DataKeys.create().sealing_keys, "RB1", "sealing key .* is missing; got no key 0badc0de"),
    ],
    ids=["another identifier", "another key", "a key that is nowhere"],
)
def test_personal_fields_open_only_under_their_own_key_and_identifier(
    vault: Vault, sealing_keys: Any, subject: str, told: str
) -> None:
    packed = pack(RecordPacker(Consignment, vault, ASIDE), make_consignment())
    other = Vault(structs.replace(DATA_KEYS, sealing_keys=sealing_keys))
    with pytest.raises(ServiceFault, match=told):
        unpack(RecordPacker(Consignment, other, ASIDE), packed, subject)


def test_a_new_sealing_key_is_the_newest_and_nothing_else_changes(tmp_path: Path) -> None:
    path = tmp_path / "data.key"
    before = read_data_keys(path, create=True)
    new = rotate_sealing_key(path)
    after = read_data_keys(path)
    assert after.sealing_keys == [*before.sealing_keys, new]
    assert after.pseudonym_key == before.pseudonym_key
    assert len({each.key for each in after.sealing_keys} | {after.pseudonym_key}) == 3
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(BadSetting, match=r"none\.key: the data key cannot be read; got No such file"):
        rotate_sealing_key(tmp_path / "none.key")


def test_after_a_rotation_new_fields_have_the_new_key_and_old_ones_stay_readable(tmp_path: Path) -> None:
    path = tmp_path / "data.key"
    read_data_keys(path, create=True)
    vault, reader = Vault.load(path), Vault.load(path)
    packer = RecordPacker(Consignment, vault, ASIDE)
    before = pack(packer, make_consignment())
    assert not vault.refresh()
    new = rotate_sealing_key(path)
    assert vault.refresh()
    after = pack(packer, make_consignment())
    assert (after.sealed or b"")[:ID_BYTES].hex() == new.id != (before.sealed or b"")[:ID_BYTES].hex()
    assert after.content == before.content, "digests and pseudonyms do not depend on the sealing key"
    for each in (before, after):  # the other one reads the file again when it meets the new key
        found = unpack(RecordPacker(Consignment, reader, ASIDE), each)
        assert found.sender_name == make_consignment().sender_name


def test_another_pseudonym_key_in_the_file_is_refused_and_the_one_in_use_stays(tmp_path: Path) -> None:
    path = tmp_path / "data.key"
    read_data_keys(path, create=True)
    vault = Vault.load(path)
    fingerprint = vault.fingerprint
    path.unlink()
    path.write_bytes(encode_data_keys(DataKeys.create()))
    with pytest.raises(BadSetting, match="the pseudonym key was replaced"):
        vault.refresh()
    assert vault.fingerprint == fingerprint
