"""Keys by month: made ahead, kept whole on disk, wrapped by the data key; lost is not erased."""

from pathlib import Path
from typing import Any

import pytest
from support.databases import database_in, execute, reader_of, remove_log
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import DATA_KEY, publish, refused, scored, serving, settings_in, vault_in
from support.serving_keys import APRIL, FIELDS, MARCH, MAY, SUBJECT, erasure_of, keys_in
from support.serving_past import Clock, run

from consignments.errors import ServiceFault
from consignments.records import Consignment
from consignments.timestamps import to_us
from serving.encryption.cipher import NONCE_BYTES
from serving.encryption.key_file import (
    FILE_NAME,
    MARK,
    PREFIX_BYTES,
    extract_key_id,
)
from serving.encryption.monthly_keys import MonthlyKeys
from serving.encryption.vault import Vault
from serving.event_log.event_codec import EventCodec
from serving.event_log.key_erasures import read_key_erasures
from serving.event_log.log import EventLog


def keys_of(folder: Path) -> MonthlyKeys:
    """The keys of a state directory, for its log."""
    keys, log = keys_in(folder), reader_of(folder)
    keys.bind_log(log.log_id, read_key_erasures(log))
    log.close()
    return keys


def encrypt(vault: Vault, recorded_us: int | None = None) -> bytes:
    """The personal fields of one record, encrypted."""
    (sealed,) = vault.encrypt_all([FIELDS], [SUBJECT], recorded_us)
    return sealed


def test_what_is_recorded_in_one_month_is_under_one_key_and_the_next_month_has_another(
    tmp_path: Path,
) -> None:
    vault = vault_in(tmp_path)
    last, first, later = (encrypt(vault, at_us) for at_us in (APRIL - 1, APRIL, MAY - 1))
    assert last[:PREFIX_BYTES] != first[:PREFIX_BYTES] == later[:PREFIX_BYTES]
    assert {vault.decrypt(each, SUBJECT) for each in (last, first, later)} == {FIELDS}
    assert encrypt(vault, MARCH)[:PREFIX_BYTES] == last[:PREFIX_BYTES]  # the clock went back


def test_a_key_that_was_made_ahead_is_taken_without_a_file(tmp_path: Path) -> None:
    keys = keys_in(tmp_path)
    assert keys.list_missing(MARCH) == ["2024-03", "2024-04"]
    keys.create_keys(keys.list_missing(MARCH))
    keys.path.unlink()
    assert [keys.get_key(at_us).month for at_us in (APRIL - 1, APRIL)] == ["2024-03", "2024-04"]
    assert keys.list_missing(APRIL) == ["2024-05"]
    assert not keys.path.exists()


def test_keys_are_the_same_after_a_restart_and_a_month_gets_one_once(tmp_path: Path) -> None:
    keys = keys_in(tmp_path)
    keys.create_keys(["2024-03", "2024-04"])
    before = keys.path.read_bytes()
    again = keys_in(tmp_path)
    again.create_keys(["2024-04", "2024-03"])
    assert again.get_key(APRIL)[:6] == keys.get_key(APRIL)[:6]
    assert keys.path.read_bytes() == before


def test_fields_of_before_there_were_months_still_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = encrypt(Vault(DATA_KEY), MARCH)
    by_chance = (MARK + bytes(NONCE_BYTES))[:NONCE_BYTES]
    monkeypatch.setattr("serving.encryption.cipher.os.urandom", lambda _count: by_chance)
    looks_new = encrypt(Vault(DATA_KEY))
    monkeypatch.undo()
    vault = vault_in(tmp_path)
    encrypt(vault, MARCH)
    assert vault.decrypt(old, SUBJECT) == vault.decrypt(looks_new, SUBJECT) == FIELDS


def test_what_is_kept_for_good_does_not_depend_on_a_month(tmp_path: Path) -> None:
    vault = vault_in(tmp_path)
    entries = EventCodec(vault, Consignment, ())
    assert entries.encode_outcome(1, make_outcome(), "a test").sealed is None
    assert Vault(DATA_KEY).decrypt(encrypt(vault), SUBJECT) == FIELDS
    sealed = entries.pack(make_consignment(), MARCH).sealed
    assert sealed is not None
    assert sealed.startswith(keys_in(tmp_path).get_key(MARCH).prefix)


def test_fields_that_were_changed_are_told_from_a_missing_key(tmp_path: Path) -> None:
    vault = vault_in(tmp_path)
    sealed = encrypt(vault, MARCH)
    with pytest.raises(ServiceFault, match="log entry of RB1: personal fields cannot be decrypted"):
        vault.decrypt(sealed[:-1] + bytes([sealed[-1] ^ 1]), SUBJECT)
    with pytest.raises(ServiceFault, match="personal fields cannot be decrypted"):
        vault.decrypt(sealed, b"RB2")
    (tmp_path / FILE_NAME).unlink()
    missing = f"log entry of RB1: the encryption key .* is missing, and no erasure .*; got no key {extract_key_id(sealed)} in .*period.keys; restore"
    with pytest.raises(ServiceFault, match=missing):
        vault_in(tmp_path).decrypt(sealed, SUBJECT)
    with pytest.raises(ServiceFault, match="the encryption key of personal fields is missing"):
        Vault(DATA_KEY).decrypt(sealed, SUBJECT)


def test_an_erased_key_says_when_and_by_whom_and_opens_nothing(tmp_path: Path) -> None:
    vault, copy = vault_in(tmp_path), vault_in(tmp_path)
    sealed = [encrypt(vault, at_us) for at_us in (MARCH, APRIL)]
    assert copy.decrypt(sealed[0], SUBJECT) == FIELDS
    periods = vault.periods
    assert periods is not None
    periods.record_erasures([erasure_of(periods, MARCH)])
    periods.erase_keys()
    for each in (vault, vault_in(tmp_path)):
        with pytest.raises(
            ServiceFault,
            match=r"RB1: the encryption key of 2024-03 was erased on 2025-07-17 by data protection",
        ):
            each.decrypt(sealed[0], SUBJECT)
        assert each.decrypt(sealed[1], SUBJECT) == FIELDS
        assert str(each.find_erasure(sealed[0])).startswith("the encryption key of 2024-03 was erased")
        assert each.find_erasure(sealed[1]) is None


def test_a_month_whose_key_was_erased_gets_another_one_for_what_is_recorded_again(tmp_path: Path) -> None:
    keys = keys_in(tmp_path)
    first = keys.get_key(MARCH)
    keys.record_erasures([erasure_of(keys, MARCH)])
    keys.erase_keys()
    assert keys.get_key(MARCH).prefix != first.prefix
    assert keys_in(tmp_path).find_key(first.prefix) is None


def test_a_reader_finds_keys_that_were_made_after_it_was_opened(tmp_path: Path) -> None:
    reader, writer = vault_in(tmp_path), vault_in(tmp_path)
    for at_us in (MARCH, APRIL):
        assert reader.decrypt(encrypt(writer, at_us), SUBJECT) == FIELDS


@pytest.fixture
def state(tmp_path: Path, bundle: Path) -> Path:
    """A log of two consignments, and the keys it needs."""
    folder = tmp_path / "state"
    publish(folder, bundle, "1")
    with serving(settings_in(folder)) as client:
        assert [scored(client, name) for name in ("RB1", "RB2")] == [200, 200]
    return folder


def sealed_in(folder: Path) -> list[bytes]:
    rows = execute(folder, "SELECT sealed FROM events WHERE sealed IS NOT NULL ORDER BY sequence")
    return [bytes(sealed) for (sealed,) in rows]


def test_a_service_seals_by_month_and_makes_the_next_key_ahead(tmp_path: Path, bundle: Path) -> None:
    publish(tmp_path, bundle, "1")
    clock = Clock()
    with serving(settings_in(tmp_path), clock) as client:
        months = []
        for number, date in enumerate((day(20), day(27.6), day(27.7), day(60))):  # April begins on day 27.625
            clock.date = date
            client.look()
            assert scored(client, f"RB{number}") == 200
            months.append([key.month for key in keys_of(tmp_path).list_ended(to_us(day(1000)))])
    assert months == [["2024-03", "2024-04"]] * 2 + [["2024-03", "2024-04", "2024-05"]] + [
        ["2024-03", "2024-04", "2024-05", "2024-06"]
    ]
    first, second, third, last = [sealed[:PREFIX_BYTES] for sealed in sealed_in(tmp_path)]
    assert first == second
    assert len({second, third, last}) == 3
    assert run(tmp_path, "parity")[0] == 0


def test_the_month_of_the_key_is_the_one_that_the_entry_tells(state: Path) -> None:
    keys = keys_of(state)
    rows = execute(state, "SELECT recorded_us, sealed FROM events WHERE sealed IS NOT NULL")
    assert len(rows) == 2
    assert all(bytes(sealed).startswith(keys.get_key(recorded_us).prefix) for recorded_us, sealed in rows)


def test_a_key_that_cannot_be_made_ahead_is_a_warning_and_scores_go_on(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    clock = Clock()
    clock.date = day(20)
    with serving(settings_in(state), clock) as client:
        with monkeypatch.context() as broken:
            broken.setattr("serving.encryption.key_file.write_part", full)
            clock.date = day(30)
            client.look()
            assert "the encryption key of the next month cannot be created" in str(
                client.get("/health/ready").json()
            )
            assert scored(client, "RB3") == 200
            clock.date = day(60)
            assert "cannot be written" in refused(client, "RB4")
        client.look()
        assert "key" not in str(client.get("/health/ready").json()["warnings"])
        assert scored(client, "RB4") == 200


def test_a_service_without_the_keys_that_its_log_needs_does_not_start(state: Path) -> None:
    (state / FILE_NAME).unlink()
    with (
        pytest.raises(
            ServiceFault,
            match=r"log entry 2: the encryption key of personal fields is missing.*period.keys; restore",
        ),
        serving(settings_in(state)),
    ):
        pass
    assert not (state / FILE_NAME).exists()
    for words in (("parity",), ("export", "--personal", "--out", str(state / "out"))):
        code, output = run(state, *words)
        assert (code, "no erasure of it is recorded" in output) == (2, True)
    assert run(state, "verify-log")[0] == 0


def test_an_older_copy_of_the_keys_is_not_enough(state: Path) -> None:
    older = (state / FILE_NAME).read_bytes()
    clock = Clock()
    clock.date = day(100)
    with serving(settings_in(state), clock) as client:
        assert scored(client, "RB3") == 200
    newer = (state / FILE_NAME).read_bytes()
    (state / FILE_NAME).write_bytes(older)
    with pytest.raises(ServiceFault, match="log entry 3: the encryption key of personal fields is missing"):
        EventLog.open(database_in(state), vault_in(state))
    (state / FILE_NAME).write_bytes(newer)
    EventLog.open(database_in(state), vault_in(state)).close()


def test_a_missing_key_in_the_middle_is_told_by_parity(state: Path) -> None:
    lines = (state / FILE_NAME).read_bytes().splitlines(keepends=True)
    clock = Clock()
    clock.date = day(100)
    with serving(settings_in(state), clock) as client:
        assert scored(client, "RB3") == 200
    kept = (state / FILE_NAME).read_bytes().splitlines(keepends=True)[len(lines) :]
    (state / FILE_NAME).write_bytes(b"".join([lines[0], *kept]))
    code, output = run(state, "parity")
    assert code == 1
    assert (
        "2 not compared: the encryption key of personal fields is missing, and no erasure of it is recorded"
        in output
    )


def test_a_log_of_before_there_were_months_goes_on_under_keys(
    state: Path, bundle: Path, tmp_path: Path
) -> None:
    remove_log(state)
    (state / FILE_NAME).unlink()
    for path in (state / "snapshots").glob("*"):
        path.unlink()
    settings = settings_in(state)
    with pytest.MonkeyPatch.context() as before, serving(settings) as client:
        before.setattr(client.service.vault, "periods", None)
        assert scored(client, "RB1") == 200
    (state / FILE_NAME).unlink()
    with serving(settings) as client:
        assert scored(client, "RB2") == 200
    old, new = sealed_in(state)
    assert (old.startswith(MARK), new.startswith(MARK)) == (False, True)
    code, output = run(state, "parity")
    assert (code, "2 of 2 decisions" in output) == (0, True)
