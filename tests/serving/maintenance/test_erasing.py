"""Erasing by dropping a key: a month that was forgotten cannot be read in any copy of the log; on record, and nothing else goes."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest
from msgspec import structs
from support.databases import copy_state, database_in, execute, reader_of
from support.examples import day, make_consignment
from support.serving_examples import publish, scored, serving, settings_in, vault_in
from support.serving_past import (
    APPROVAL,
    BEFORE,
    LATER,
    OLD,
    RECENT,
    WHO,
    WHY,
    Clock,
    forget_old,
    make_past,
    run,
    told,
)

from consignments.errors import ServiceFault
from consignments.records import Consignment
from serving.encryption.key_file import FILE_NAME, OLD_FILE_NAME, PREFIX_BYTES
from serving.event_log.event_codec import EventCodec
from serving.event_log.event_rows import EventRow
from serving.event_log.hash_chain import hash_row
from serving.event_log.key_erasures import check_vault, read_key_erasures
from serving.event_log.log import EventLog
from serving.maintenance.retention import forget

BEFORE_DATE = day(BEFORE).date().isoformat()


@pytest.fixture
def state(tmp_path: Path, bundle: Path) -> Path:
    return make_past(tmp_path / "state", bundle)


def months_in(folder: Path) -> list[str]:
    """Months with a key, as the file has them."""
    lines = [json.loads(line) for line in (folder / FILE_NAME).read_bytes().splitlines()[1:]]
    return [line["month"] for line in lines if "erasure" not in line]


def months_on_record(folder: Path) -> list[str]:
    log = reader_of(folder)
    found = [erasure.month for erasure in read_key_erasures(log)]
    log.close()
    return found


def readable(folder: Path) -> int:
    """Consignments whose personal fields can be read."""
    log = reader_of(folder)
    vault = vault_in(folder)
    check_vault(log, vault)
    entries = EventCodec(vault, Consignment, ())
    found = 0
    for event in log.read_events(kinds=("decision",)):
        if not event.redacted and entries.find_erasure(event) is None:
            found += entries.decode_consignment(event).sender_name is not None
    log.close()
    return found


def restore_log(copy: Path, state: Path) -> None:
    """Put the entries of an older copy of a log in place of those of a state directory, as whoever restores a backup does."""
    rows = execute(copy, "SELECT * FROM events ORDER BY sequence")
    columns = [f":c{place}" for place in range(len(rows[0]))]
    execute(state, "DELETE FROM events")
    for row in rows:
        values = {name[1:]: value for name, value in zip(columns, row, strict=True)}
        execute(state, f"INSERT INTO events VALUES ({', '.join(columns)})", **values)


def test_the_key_of_a_month_that_was_forgotten_goes_and_the_others_stay(state: Path) -> None:
    before = months_in(state)
    done = forget_old(state)
    assert (done.months, months_on_record(state)) == (("2024-03",), ["2024-03"])
    assert months_in(state) == before[1:]
    assert readable(state) == RECENT
    (erasure,) = vault_in(state).periods.erasures.values()  # type: ignore[union-attr]
    assert (erasure.approved_by, erasure.why) == (WHO, WHY)


def rebuild_chain(state: Path, first: int) -> None:
    """Compute the hashes of the entries from `first` on again, so that a changed entry is one of the log."""
    names = ", ".join(EventRow._fields)
    rows = execute(
        state, f"SELECT {names} FROM events WHERE sequence >= :first ORDER BY sequence", first=first
    )
    (previous,) = execute(state, "SELECT hash FROM events WHERE sequence = :at", at=first - 1)[0]
    for row in rows:
        here = hash_row(bytes(previous), EventRow(*row))
        values = {"previous": bytes(previous), "here": here, "at": row[0]}
        execute(
            state, "UPDATE events SET previous_hash = :previous, hash = :here WHERE sequence = :at", **values
        )
        previous = here


def test_the_key_stays_as_long_as_one_entry_needs_it(state: Path) -> None:
    log = reader_of(state)
    march = log.read_event(1).sealed or b""
    log.close()
    late = execute(state, "SELECT max(sequence) FROM events WHERE kind = 'decision'")[0][0]
    prefix, rest = march[:PREFIX_BYTES], os.urandom(60)
    execute(state, "UPDATE events SET sealed = :sealed WHERE sequence = :at", sealed=prefix + rest, at=late)
    rebuild_chain(state, late)
    assert forget_old(state).months == ()
    assert "2024-03" in months_in(state)
    assert months_on_record(state) == []


def test_a_month_that_has_not_ended_by_the_date_keeps_its_key(state: Path) -> None:
    done = forget(settings_in(state), day(25), APPROVAL)
    assert (done.consignments, done.months) == (OLD, ())
    again = forget(settings_in(state), day(BEFORE), APPROVAL)
    assert (again.consignments, again.steps, again.months) == (0, 0, ("2024-03",))
    assert forget_old(state).months == ()
    assert told(state, "verify-log")["fault"] == ""


def test_counting_first_names_the_months_and_changes_nothing(state: Path) -> None:
    before = (state / FILE_NAME).read_bytes()
    words = ("forget", "--before", BEFORE_DATE, "--approved-by", WHO, "--why", WHY)
    assert "Would delete the keys of these months: 2024-03" in run(state, *words, "--dry-run")[1]
    assert ((state / FILE_NAME).read_bytes(), months_on_record(state)) == (before, [])
    assert "Deleted the keys of these months: 2024-03" in run(state, *words)[1]


def test_the_chain_verifies_and_tells_the_erasure(state: Path) -> None:
    head = told(state, "verify-log")["head"]
    forget_old(state)
    found = told(state, "verify-log", "--head", head)
    assert (found["fault"], found["emptied"], found["erased"]) == ("", OLD, 0)
    assert found["erased_months"] == ["2024-03"]
    assert (
        "Monthly keys deleted (recorded in the log): 1; the last: the encryption key of 2024-03 was"
        in run(state, "verify-log")[1]
    )


def test_the_record_cannot_be_changed_unseen(state: Path) -> None:
    forget_old(state)
    execute(state, "UPDATE events SET recorded_us = recorded_us + 1 WHERE kind = 'erasure'")
    assert run(state, "verify-log")[0] == 1


def test_a_copy_of_the_log_can_no_longer_be_read_and_says_so(state: Path, tmp_path: Path) -> None:
    copy_state(state, tmp_path / "copy")
    forget_old(state)
    restore_log(tmp_path / "copy", state)
    log = reader_of(state)
    vault = vault_in(state)
    check_vault(log, vault)
    with pytest.raises(
        ServiceFault,
        match=rf"RB0: the encryption key of 2024-03 was erased on 20.* by {WHO}; these .* cannot be restored",
    ):
        EventCodec(vault, Consignment, ()).decode_consignment(log.read_event(1))
    log.close()
    assert readable(state) == RECENT


def test_parity_export_and_verify_go_on_over_such_a_copy_and_count(state: Path, tmp_path: Path) -> None:
    copy_state(state, tmp_path / "copy")
    forget_old(state)
    restore_log(tmp_path / "copy", state)
    found = told(state, "parity")
    assert (found["equal"], found["compared"], found["decisions"]) == (True, RECENT, RECENT)
    ((reason, count),) = found["erased"].items()
    assert (count, reason.startswith("the encryption key of 2024-03 was erased on")) == (OLD, True)
    assert "12 more cannot be recomputed: the encryption key of 2024-03 was erased" in run(state, "parity")[1]
    told_of = told(state, "export", "--out", str(tmp_path / "out"), "--personal")
    assert (told_of["tables"]["consignments"], told_of["tables"]["decisions"]) == (RECENT, OLD + RECENT)
    assert told_of["notes"][0].startswith(
        "12 consignments are not exported: the encryption key of 2024-03 was erased on"
    )
    assert pd.read_parquet(tmp_path / "out" / "consignments.parquet")["sender_name"].notna().all()
    plain = told(state, "export", "--out", str(tmp_path / "plain"))
    assert plain["tables"]["consignments"] == OLD + RECENT


def test_verify_counts_entries_that_an_erasure_on_record_has_closed(state: Path) -> None:
    """As where entries of a month came back behind the record."""
    with EventLog.open(database_in(state), vault_in(state)) as log:
        first = log.read_event(1)
        forgotten = log.last_sequence
    forget_old(state)
    with EventLog.open(database_in(state), vault_in(state)) as log:
        log.append([structs.replace(first, sequence=log.last_sequence + 1)])
        assert log.last_sequence == forgotten + 3
    assert told(state, "verify-log")["erased"] == 1
    assert told(state, "parity")["equal"]
    assert "1 of them with personal fields that cannot be decrypted any more" in run(state, "verify-log")[1]


def test_the_service_goes_on_over_such_a_copy(state: Path, tmp_path: Path, other_bundle: Path) -> None:
    """History lives on the keys that were logged; a model with other keys does without those that cannot be made."""
    copy_state(state, tmp_path / "copy")
    forget_old(state)
    restore_log(tmp_path / "copy", state)
    clock = Clock()
    clock.date = day(LATER + 20)
    for publishes in (False, True):
        if publishes:
            publish(state, other_bundle, "2")
        with serving(settings_in(state), clock) as client:
            c = make_consignment("NEW", received_at=day(LATER + 19), sender_name="Sender 0")
            assert client.post("/v1/scores", c).status_code == 200
            found = client.post("/v1/scores?features=true", c).json()
            assert found["model"]["version"] == "1"  # the stored answer


def kill_at(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(target, die)


@pytest.mark.parametrize(
    "moment",
    [
        "serving.encryption.monthly_keys.MonthlyKeys.erase_keys",
        "serving.encryption.key_file.os.link",
        "serving.encryption.key_file.write_part",
        "serving.encryption.key_file.overwrite",
    ],
)
@pytest.mark.parametrize("by", ["start", "forget"])
def test_a_kill_between_record_and_rewriting_is_completed_by_the_next(
    state: Path, monkeypatch: pytest.MonkeyPatch, moment: str, by: str
) -> None:
    os.link(state / FILE_NAME, state / "hard.link")
    with monkeypatch.context() as killed:
        open_ = EventLog.erase_keys

        def erase(log: EventLog, *rest: object) -> None:
            kill_at(killed, moment)
            open_(log, *rest)  # type: ignore[arg-type]

        killed.setattr(EventLog, "erase_keys", erase)
        with pytest.raises(KeyboardInterrupt):
            forget_old(state)
    assert months_on_record(state) == ["2024-03"]
    assert ("2024-03" in months_in(state)) == (moment != "serving.encryption.key_file.overwrite")
    assert set((state / "hard.link").read_bytes()) != {0}
    assert told(state, "parity")["equal"]  # who only reads goes by the record
    if by == "forget":
        assert forget_old(state).months == ()
    else:
        clock = Clock()
        clock.date = day(LATER + 20)
        with serving(settings_in(state), clock) as client:
            assert scored(client, "NEW") == 200
    assert "2024-03" not in months_in(state)
    assert set((state / "hard.link").read_bytes()) == {0}
    assert not (state / OLD_FILE_NAME).exists()
    assert months_on_record(state) == ["2024-03"]
    assert told(state, "parity")["equal"]


def test_nothing_is_dropped_where_the_record_cannot_be_written(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (state / FILE_NAME).read_bytes()

    def full(*_: object) -> None:
        raise ServiceFault("the event log cannot be written")

    monkeypatch.setattr(EventLog, "append", full)
    with pytest.raises(ServiceFault, match="cannot be written"):
        forget_old(state)
    assert (state / FILE_NAME).read_bytes() == before
    monkeypatch.undo()
    assert forget_old(state).months == ("2024-03",)


def test_keys_restored_from_a_backup_lose_again_what_is_on_record(state: Path) -> None:
    backup = (state / FILE_NAME).read_bytes()
    forget_old(state)
    (state / FILE_NAME).write_bytes(backup)
    assert told(state, "verify-log")["erased_months"] == ["2024-03"]
    with EventLog.open(database_in(state), vault_in(state)):
        assert "2024-03" not in months_in(state)


def test_a_copy_of_log_and_keys_from_before_can_still_be_read(state: Path, tmp_path: Path) -> None:
    """Why backups of the keys have to expire first."""
    copy_state(state, tmp_path / "copy")
    forget_old(state)
    assert readable(tmp_path / "copy") == OLD + RECENT


def test_past_data_is_under_the_keys_of_the_months_it_is_of(state: Path, tmp_path: Path) -> None:
    told(state, "export", "--out", str(tmp_path / "out"), "--personal")
    new = settings_in(tmp_path / "new").state_dir
    tables = [f"--{name}={tmp_path / 'out' / name}.parquet" for name in ("consignments", "outcomes")]
    assert told(new, "import", *tables)["consignments"] == OLD + RECENT
    assert months_in(new) == ["2024-03", "2024-09", "2025-04", "2025-05"]
    assert forget_old(new).months == ("2024-03",)
    assert months_in(new) == ["2024-09", "2025-04", "2025-05"]


def test_keys_of_another_log_are_neither_used_nor_erased(state: Path) -> None:
    """As where a setting names the wrong database for once: an empty log needs no key, and another one does."""
    settings = settings_in(state)
    before = (state / FILE_NAME).read_bytes()
    other = settings_in(state.with_name("other")).database_url
    elsewhere = settings.model_copy(update={"database_url": other})
    assert forget(elsewhere, day(BEFORE), APPROVAL).months == ()
    assert (state / FILE_NAME).read_bytes() == before
    with serving(elsewhere) as client:
        assert scored(client, "RB1") == 200
    assert sorted(months_in(state))[:2] == ["2024-03", "2024-03"]
    assert readable(state) == OLD + RECENT
    assert forget_old(state).months == ("2024-03",)
    assert "2024-03" in months_in(state)
