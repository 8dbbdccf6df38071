"""Packed records: personal fields are encrypted, equal records have equal digests, nothing is lost."""

from datetime import UTC, timedelta, timezone
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import DATA_KEYS

from consignments.errors import BadSetting, ServiceFault
from consignments.records import Alert, Consignment, Item, Outcome, create_consignment_type, get_fields
from features.history.data_keys import (
    ID_BYTES,
    DataKeys,
    encode_data_keys,
    read_data_keys,
    rotate_sealing_key,
)
from serving.encryption.vault import NONCE_BYTES, PackedRecord, RecordPacker, Vault

ASIDE = ("consignment_id", "received_at", "cancelled_at")


def pack(packer: RecordPacker, record: Any, subject: str) -> PackedRecord:
    return packer.pack_all([record], [subject])[0]


def unpacked(packer: RecordPacker, c: Consignment) -> Consignment:
    packed = pack(packer, c, c.consignment_id)
    found: Consignment = packer.unpack(
        packed.plain,
        packed.sealed,
        c.consignment_id,
        consignment_id=c.consignment_id,
        received_at=c.received_at,
    )
    return found


def test_a_consignment_comes_back_as_it_was(vault: Vault) -> None:
    packer = RecordPacker(Consignment, vault, ASIDE)
    whole = make_consignment(
        items=(Item(description="socks", quantity=2.0), Item()), sender_email="a@b.example"
    )
    for c in (whole, Consignment("X", "postal", day(0))):
        assert unpacked(packer, c) == c


def test_declared_columns_are_kept(vault: Vault) -> None:
    record = create_consignment_type(numeric=["tax_rate"], category=["tax_type"])
    c = record("X", "postal", day(0), tax_rate=8.0, tax_type="A")  # type: ignore[call-arg]
    assert unpacked(RecordPacker(record, vault, ASIDE), c) == c


def test_a_column_that_another_model_declared_does_not_disturb(vault: Vault) -> None:
    record = create_consignment_type(numeric=["tax_rate"])
    packed = pack(RecordPacker(record, vault, ASIDE), record("X", "postal", day(0), tax_rate=8.0), "X")  # type: ignore[call-arg]
    here = RecordPacker(Consignment, vault, ASIDE)
    assert here.unpack(packed.plain, packed.sealed, "X", consignment_id="X") == Consignment("X", "postal")


def test_no_personal_value_can_be_read_in_what_is_kept(vault: Vault) -> None:
    personal = {f.name: f"secret {f.name}" for f in get_fields(Consignment) if f.personal}
    packed = pack(RecordPacker(Consignment, vault, ASIDE), make_consignment(**personal), "RB123456785GB")
    assert b"secret" not in packed.plain + (packed.sealed or b"")


def test_equal_records_have_equal_digests_whenever_they_were_received(vault: Vault) -> None:
    packer = RecordPacker(Consignment, vault, ASIDE)
    first, later = make_consignment(), make_consignment(received_at=day(3))
    assert pack(packer, first, "RB1").content == pack(packer, later, "RB1").content


@pytest.mark.parametrize("change", [{"consignee_phone": None}, {"pieces": 3.0}, {"account_id": "a"}])
def test_any_other_content_has_another_digest(vault: Vault, change: dict[str, object]) -> None:
    packer = RecordPacker(Consignment, vault, ASIDE)
    one, other = pack(packer, make_consignment(), "RB1"), pack(packer, make_consignment(**change), "RB1")
    assert one.content != other.content


def test_the_same_moment_in_another_zone_is_the_same_outcome(vault: Vault) -> None:
    packer = RecordPacker(Outcome, vault, ("consignment_id", "recorded_at"))
    seoul = day(10).astimezone(timezone(timedelta(hours=9)))
    assert seoul.tzinfo is not UTC
    one, other = make_outcome(), make_outcome(known_at=seoul)
    assert pack(packer, one, "RB1").content == pack(packer, other, "RB1").content


def test_the_digest_says_nothing_without_the_key() -> None:
    record = make_outcome()
    aside = ("consignment_id", "recorded_at")
    one, other = (
        pack(RecordPacker(Outcome, Vault(DataKeys.create()), aside), record, "RB1") for _ in range(2)
    )
    assert one.content != other.content


def test_equal_names_are_encrypted_differently_each_time(vault: Vault) -> None:
    packer = RecordPacker(Consignment, vault, ASIDE)
    assert pack(packer, make_consignment(), "RB1").sealed != pack(packer, make_consignment(), "RB1").sealed


def test_records_packed_together_equal_those_packed_alone(vault: Vault) -> None:
    packer = RecordPacker(Consignment, vault, ASIDE)
    nobody: dict[str, None] = {f.name: None for f in get_fields(Consignment) if f.personal}
    records = [make_consignment("rb 1"), make_consignment("RB2", **nobody), make_consignment("RB3")]
    names = ["RB1", "RB2", "RB3"]
    together = packer.pack_all(records, names)
    alone = [pack(packer, record, name) for record, name in zip(records, names, strict=True)]
    assert [(each.plain, each.content) for each in together] == [(each.plain, each.content) for each in alone]
    assert [each.sealed is None for each in together] == [False, True, False]
    opened = [
        packer.unpack(each.plain, each.sealed, name, consignment_id=name)
        for each, name in zip(together, names, strict=True)
    ]
    assert [each.sender_name for each in opened] == [each.sender_name for each in records]
    nonces = {each.sealed[ID_BYTES : ID_BYTES + NONCE_BYTES] for each in together if each.sealed is not None}
    assert len(nonces) == 2


def test_personal_fields_open_only_under_their_own_key_and_identifier(vault: Vault) -> None:
    packed = pack(RecordPacker(Consignment, vault, ASIDE), make_consignment(), "RB1")
    assert packed.sealed is not None
    another = structs.replace(DATA_KEYS.sealing_keys[0], key=bytes(32).hex())
    imposter = Vault(structs.replace(DATA_KEYS, sealing_keys=[another]))
    for other, subject in ((vault, "RB2"), (imposter, "RB1")):
        with pytest.raises(
            ServiceFault, match=f"log entry of {subject}: personal fields cannot be decrypted"
        ):
            RecordPacker(Consignment, other, ASIDE).unpack(
                packed.plain, packed.sealed, subject, consignment_id=subject
            )


def test_a_record_without_personal_fields_has_nothing_sealed(vault: Vault) -> None:
    alert = Alert("A1", day(0), description_pattern="research chem*")
    assert pack(RecordPacker(Alert, vault, ()), alert, "A1").sealed is None


@pytest.mark.parametrize("count", [0, 1, 13, 14, 15, 16, 25])
def test_another_spelling_is_one_more_field_whatever_their_number(vault: Vault, count: int) -> None:
    names = [f"field_{place}" for place in range(count)]
    record = msgspec.defstruct("Many", ["consignment_id", *((name, int) for name in names)])
    packer = RecordPacker(record, vault, ("consignment_id",))
    spelled = pack(packer, record("rb 1", *range(count)), "RB1")
    plain = pack(packer, record("RB1", *range(count)), "RB1")
    assert msgspec.msgpack.decode(spelled.plain) == msgspec.msgpack.decode(plain.plain) | {
        "consignment_id": "rb 1"
    }
    assert spelled.plain == msgspec.msgpack.encode(msgspec.msgpack.decode(spelled.plain))
    assert spelled.content == plain.content


def test_after_a_rotation_new_fields_have_the_new_key_and_old_ones_stay_readable(tmp_path: Path) -> None:
    path = tmp_path / "data.key"
    read_data_keys(path, create=True)
    vault, reader = Vault.load(path), Vault.load(path)
    packer = RecordPacker(Consignment, vault, ASIDE)
    before = pack(packer, make_consignment(), "RB1")
    assert not vault.refresh()
    new = rotate_sealing_key(path)
    assert vault.refresh()
    after = pack(packer, make_consignment(), "RB1")
    assert (after.sealed or b"")[:ID_BYTES].hex() == new.id != (before.sealed or b"")[:ID_BYTES].hex()
    assert after.content == before.content, "digests and pseudonyms do not depend on the sealing key"
    for each in (before, after):  # the other one reads the file again when it meets the new key
        opened = RecordPacker(Consignment, reader, ASIDE).unpack(
            each.plain, each.sealed, "RB1", consignment_id="RB1"
        )
        assert opened.sender_name == make_consignment().sender_name


def test_a_sealing_key_that_is_nowhere_is_named(vault: Vault) -> None:
    packed = pack(RecordPacker(Consignment, vault, ASIDE), make_consignment(), "RB1")
    another = Vault(structs.replace(DATA_KEYS, sealing_keys=DataKeys.create().sealing_keys))
    with pytest.raises(ServiceFault, match=r"sealing key .* is missing; got no key 0badc0de"):
        RecordPacker(Consignment, another, ASIDE).unpack(
            packed.plain, packed.sealed, "RB1", consignment_id="RB1"
        )


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
