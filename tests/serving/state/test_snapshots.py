"""A snapshot is taken only where it is whole and fits; else the one before, else the log, and the reason is told."""

import hashlib
import stat
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from structlog.testing import capture_logs
from support.damage import flip_bit
from support.databases import copy_state, execute, remove_log
from support.examples import day, make_consignment, make_outcome
from support.serving_examples import Client, publish, refused, serving, settings_in
from support.site import Site

from consignments.errors import ServiceFault
from consignments.records import Consignment
from serving.event_log.events import Event
from serving.scoring.model_updates import ModelUpdates
from serving.state.snapshots import FORMAT, NEXT_NAME, SnapshotHeader, Snapshots, allocate_copy

ABOUT = SnapshotHeader(FORMAT, "a log", 7, "00", "kinds")
HEADS = np.arange(6, dtype=np.int32).reshape(2, 3)
ARRAYS = {"history.heads": HEADS, "days.marks": np.zeros((0, 2), np.int64)}


def of_entry(sequence: int) -> SnapshotHeader:
    return SnapshotHeader(FORMAT, "a log", sequence, "00", "kinds")


def list_sequences(snapshots: Snapshots) -> list[int]:
    return [int(path.name[:16]) for path in snapshots.list_newest_first()]


def test_what_was_written_in_many_pieces_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serving.state.snapshots.CHUNK_BYTES", 7)
    monkeypatch.setattr("serving.state.snapshots.REST_RATIO", 1e6)
    arrays = ARRAYS | {"table": np.arange(12.0).reshape(3, 4), "words": np.arange(5, dtype="<u4")}
    snapshots = Snapshots(tmp_path / "snapshots")
    writing = threading.Thread(target=snapshots.write, args=(ABOUT, arrays))
    writing.start()
    writing.join(0.2)
    assert (writing.is_alive(), snapshots.list_newest_first()) == (True, [])
    snapshots.skip_pauses()  # there is a hurry
    writing.join(30)
    (path,) = snapshots.list_newest_first()
    about, found = snapshots.read(path)
    assert (about, found.keys()) == (ABOUT, arrays.keys())
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].tolist()) == (array.dtype, array.tolist())
    assert [stat.S_IMODE(each.stat().st_mode) for each in (path, path.parent)] == [0o600, 0o700]


def test_the_last_two_are_kept_and_others_written_over_unless_a_copy_holds_them(tmp_path: Path) -> None:
    snapshots, copy, other = Snapshots(tmp_path / "snapshots"), tmp_path / "copy", tmp_path / "other"
    snapshots.folder.mkdir()
    (snapshots.folder / "0000000000000003.part").write_bytes(b"half")
    (snapshots.folder / NEXT_NAME).symlink_to(other)  # it must not be written over, and stops no snapshot
    other.write_bytes(b"not ours")
    long, short = {"a": np.arange(9_000)}, {"a": np.arange(3)}
    copy.hardlink_to(snapshots.write(of_entry(1), long))
    content = copy.read_bytes()
    numbers = [snapshots.write(of_entry(number), long).stat().st_ino for number in range(2, 5)]
    again = [snapshots.write(of_entry(number), short) for number in (5, 6, 9, 30, 12)]
    assert {path.stat().st_ino for path in again if path.exists()} <= set(numbers)
    assert list_sequences(snapshots) == [12, 9]
    assert len(list(snapshots.folder.iterdir())) == 3
    assert {path.name for path in snapshots.folder.glob("*.part")} == {NEXT_NAME}
    for path in snapshots.list_newest_first():
        assert snapshots.read(path)[1]["a"].tolist() == [0, 1, 2]
    assert (copy.read_bytes(), other.read_bytes()) == (content, b"not ours")


CHANGED = "the snapshot is corrupt: its content does not match its SHA-256"


def put_objects(path: Path) -> None:
    content = msgspec.json.encode([ABOUT, [("evil", "|O", (1,))]]) + b"\n" + b"\0" * 8
    path.unlink()
    (path.parent / f"{7:016d}-{hashlib.sha256(content).hexdigest()}.state").write_bytes(content)


def put_another_format(path: Path) -> None:
    path.unlink()
    Snapshots(path.parent).write(SnapshotHeader(FORMAT + 1, "a log", 7, "00", "kinds"), ARRAYS)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flip_bit, CHANGED),
        (lambda path: path.write_bytes(path.read_bytes()[:-9]), CHANGED),
        (lambda path: path.rename(path.with_name(f"{'9' * 16}-{'0' * 64}.state")), CHANGED),
        (put_objects, "the snapshot is corrupt: it cannot be read"),
        (put_another_format, f"has another format; got format {FORMAT + 1}; expected format {FORMAT}"),
    ],
    ids=["a bit", "cut", "renamed", "objects", "another format"],
)
def test_a_damaged_one_is_refused(tmp_path: Path, damage: Callable[[Path], Any], reason: str) -> None:
    snapshots = Snapshots(tmp_path)
    damage(snapshots.write(ABOUT, ARRAYS))
    with pytest.raises(ServiceFault, match=reason):
        snapshots.read(snapshots.list_newest_first()[0])


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory, bundle: Path) -> Path:
    """A state directory with two snapshots, of entries 3 and 5, and two entries after them."""
    site = Site(tmp_path_factory.mktemp("stopped") / "state", bundle)
    for names in (("RB1", "RB2", "RB3"), ("RB4", "RB5")):
        with site.serve() as client:
            for name in names:
                client.score(name)
    with site.serve() as client:
        client.score("RB6", sender_name="Lotus")
        client.score("RB1", description="socks")
        client.service.snapshots.last = 7  # nothing is written at the stop
    return site.folder


@pytest.fixture
def stopped(lived: Path, tmp_path: Path) -> Path:
    return copy_state(lived, tmp_path / "state")


def restarted(folder: Path, **options: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Start a service; give what it logged, and the features of a consignment."""
    with capture_logs() as told, serving(settings_in(folder), **options) as client:
        found = client.compute_features("RB9", received_at=day(1))
    return told, found


def sequences(told: list[dict[str, Any]], event: str) -> list[int]:
    return [line["sequence"] for line in told if line["event"] == event]


def reasons(told: list[dict[str, Any]]) -> list[str]:
    return [line["reason"].split(";")[0] for line in told if line["event"] == "snapshot refused"]


def newest(folder: Path, place: int = 0) -> Path:
    return Snapshots(folder / "snapshots").list_newest_first()[place]


@pytest.mark.parametrize("damaged", [0, 1, 2])
def test_a_restart_takes_the_newest_whole_snapshot_and_the_rest_of_log(stopped: Path, damaged: int) -> None:
    for place in range(damaged):
        flip_bit(newest(stopped, place))
    told, features = restarted(stopped)
    assert sequences(told, "snapshot loaded") == [5, 3, 0][damaged : damaged + 1] * (damaged < 2)
    assert reasons(told) == [CHANGED] * damaged
    assert sequences(told, "snapshot written") == [8]
    assert features["history.sender.arrivals_7d"] == 5
    assert features["history.consignee.arrivals_7d"] == 6


def test_one_of_another_log_or_other_keys_is_refused_once(stopped: Path, other_bundle: Path) -> None:
    publish(stopped, other_bundle, "2")
    told, features = restarted(stopped)
    assert reasons(told) == ["the snapshot uses a different set of history keys"] * 2
    assert features["history.office+carrier.arrivals_30d"] == 6
    told, _ = restarted(stopped)
    assert (reasons(told), sequences(told, "snapshot loaded")) == ([], [8])
    remove_log(stopped)
    with capture_logs() as told, serving(settings_in(stopped)) as client:
        for number in range(6):
            client.score(f"RC{number}")
    assert set(reasons(told)) == {"the snapshot belongs to another log"}
    told, features = restarted(stopped)
    assert sequences(told, "snapshot loaded") == [6]
    assert features["history.sender.arrivals_7d"] == 6


def lose_entries(stopped: Path) -> None:
    """Take from the log the entry 5, of which there is a snapshot, and what came after it."""
    with serving(settings_in(stopped)) as client:
        client.service.snapshots.last = client.service.log.last_sequence
        execute(stopped, "DELETE FROM events WHERE sequence > 4")


def test_memory_for_a_copy_is_allocated_without_a_look_at_links_that_requests_change(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.state.links.Links.get_places", lambda _: 1 / 0)
    assert allocate_copy(client.service.active.state)


def test_a_log_that_lacks_entries_of_a_snapshot_scores_nothing_until_it_is_accepted(stopped: Path) -> None:
    lose_entries(stopped)
    for _ in range(2):
        with capture_logs() as told, serving(settings_in(stopped)) as client:
            assert [len(line["reasons"]) for line in told if line["event"] == "not ready"] == [1]
            assert "lacks acknowledged entries" in refused(client, "RB9")
            ready = client.get("/health/ready")
            assert ready.status_code == 503
            assert "got 4 entries; expected entry 5 as a snapshot has it" in ready.json()["reasons"][0]
            assert "npsrisk_log_shortened 1.0" in client.get("/metrics").text
            assert client.get("/v1/consignments/RB1").status_code == 200
    with serving(settings_in(stopped), accept_loss=True) as client:
        assert "npsrisk_log_shortened 0.0" in client.get("/metrics").text
        client.service.snapshots.last = 5  # ends as if it were killed
    told, features = restarted(stopped)
    assert sequences(told, "snapshot loaded") == [3]
    assert features["history.sender.arrivals_7d"] == 4


def test_an_accepted_loss_is_an_entry_and_gives_no_decision_id_again(stopped: Path) -> None:
    with serving(settings_in(stopped)) as client:
        lost, before = client.score("RC1")["decision_id"], client.read("/v1/decisions")["log"]
        execute(stopped, "DELETE FROM events WHERE sequence > 4")
    names = []
    for accept_loss in (True, False):
        with serving(settings_in(stopped), accept_loss=accept_loss) as client:
            (entry,) = client.service.log.read_events(kinds=("restore",))
            new = [client.score(f"RD{accept_loss}{number}")["decision_id"] for number in range(4)]
            names += [client.read("/v1/decisions")["log"], *(each.partition("-")[0] for each in new)]
    assert (entry.sequence, names) == (5, [names[0]] * 10)
    assert names[0] not in (before, lost.partition("-")[0])


def test_a_log_that_went_on_without_entries_of_a_snapshot_scores_nothing_either(stopped: Path) -> None:
    lose_entries(stopped)
    kept = newest(stopped)
    content = kept.read_bytes()
    with serving(settings_in(stopped), accept_loss=True) as client:
        client.send("/v1/scores", {"consignments": [make_consignment(f"RC{number}") for number in range(3)]})
        client.service.snapshots.last = 8
    kept.write_bytes(content)
    with serving(settings_in(stopped)) as client:
        assert "lacks acknowledged entries" in refused(client, "RB9")
        assert "got 8 entries; expected entry 5 as a snapshot has it" in client.get("/health/ready").text
    told, features = restarted(stopped, accept_loss=True)
    assert features["history.sender.arrivals_7d"] == 7
    assert reasons(told)[0].startswith("the snapshot belongs to another log: the hash chain differs")


@pytest.mark.parametrize(
    ("setting", "value", "written"), [("ENTRIES", "3", [3, 6, 7]), ("SECONDS", "1e-9", [1, 2, 3, 4, 5, 6, 7])]
)
def test_a_snapshot_is_written_after_so_many_entries_or_so_long_where_there_is_anything_new(
    site: Site, setting: str, value: str, written: list[int]
) -> None:
    with capture_logs() as told, site.serve(**{f"NPSRISK_SNAPSHOT_{setting}": value}) as client:
        client.look()
        for number in range(7):
            client.score(f"RB{number}")
            for _ in range(2):
                client.look()
    assert sequences(told, "snapshot written") == written


def test_one_that_cannot_be_written_is_told(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_given: Any, **_named: Any) -> None:
        raise OSError("no space left on device")

    client.score("RB1")
    client.portal.call(client.service.write_snapshot)
    client.score("RB2")
    with monkeypatch.context() as broken, capture_logs() as told:
        broken.setattr("serving.state.snapshots.flush_file", fail)
        client.portal.call(client.service.write_snapshot)
        assert [line["reason"] for line in told] == ["no space left on device"]
        assert "npsrisk_snapshot_failed 1.0" in client.get("/metrics").text
        assert client.service.snapshots.read(newest(client.service.settings.state_dir))[0].sequence == 1
    client.portal.call(client.service.write_snapshot)
    assert "npsrisk_snapshot_failed 0.0" in client.get("/metrics").text
    assert "npsrisk_snapshot_sequence 2.0" in client.get("/metrics").text


def test_no_name_of_anybody_or_anything_is_in_a_snapshot(client: Client) -> None:
    client.score("RB123456785GB")
    client.send("/v1/outcomes", make_outcome("RB123456785GB", result="nps"))
    client.send("/v1/alerts", {"alert_id": "A1", "issued_at": day(1), "sender_name": "Orchid"})
    client.portal.call(client.service.write_snapshot)
    written = newest(client.service.settings.state_dir).read_bytes()
    assert len(written) > 1000
    names = (b"RB123456785GB", b"Orchid", b"Harbour", b"Kim", b"7946", b"cotton")
    assert [word for word in names if word in written] == []


def test_a_full_history_says_so_and_takes_no_model_with_more_keys(site: Site, other_bundle: Path) -> None:
    def make(number: int) -> Consignment:
        names = {"sender_name": f"S{number}", "consignee_name": f"C{number}", "carrier": f"C{number}"}
        return make_consignment(f"RB{number}", **names)

    with site.serve(NPSRISK_MAX_HISTORY_KEYS="1000") as client:
        full, told = 0, client.post("/v1/scores", make(0))
        first = told.json()
        while told.status_code == 200:
            full += 1
            told = client.post("/v1/scores", make(full))
        assert {client.post("/v1/scores", make(full + more)).status_code for more in range(3)} == {503}
        for words in ("history is full", "raise NPSRISK_MAX_HISTORY_KEYS if memory allows"):
            assert words in told.json()["detail"]
        assert "history is nearly full" in client.read("/health/ready")["warnings"][0]
        assert "npsrisk_history_keys_bound 1000.0" in client.get("/metrics").text
        assert client.service.log.last_sequence == full
        assert client.send("/v1/scores", make(0)) == first | {"repeated": True}
        publish(site.folder, other_bundle, "2")
        with capture_logs() as lines:
            for _ in range(2):
                client.look()
        assert [line["event"] for line in lines] == ["model refused"]
        assert client.read("/v1/model")["version"] == "1"
        assert "history is full" in str(client.read("/health/ready")["warnings"])
    with site.serve(NPSRISK_MAX_HISTORY_KEYS="2000") as client:
        client.send("/v1/scores", make(full))


def test_no_snapshot_comes_before_its_entries(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    disk, log, snapshots = threading.Event(), client.service.log, client.service.snapshots
    write = log.append

    def append_when_the_disk_is_ready(events: Sequence[Event]) -> None:
        disk.wait(30)
        write(events)

    monkeypatch.setattr(log, "append", append_when_the_disk_is_ready)
    body, kind = msgspec.json.encode(make_consignment("RB1")), {"content-type": "application/json"}
    post = partial(client.http.post, "/v1/scores", content=body, headers=kind)
    answer = client.portal.start_task_soon(post)
    while client.service.committer.waiting == 0:
        time.sleep(0.001)
    kept = client.portal.start_task_soon(client.service.write_snapshot)
    time.sleep(0.1)
    assert not snapshots.list_newest_first()
    disk.set()
    kept.result(30)
    assert list_sequences(snapshots) == [1]
    assert answer.result(30).status_code == 200


def test_what_comes_in_while_a_model_with_other_keys_is_taken_is_counted_by_it(
    client: Client, tmp_path: Path, other_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.score("RB1")
    restore, late = ModelUpdates.rebuild, iter(["RB2", "RB3"])

    def restore_while_calls_come_in(*given: Any) -> Any:
        state = restore(*given)
        for name in late:
            client.score(name)
        alert = {"alert_id": "A1", "issued_at": day(1), "sender_name": "Orchid Trading Ltd"}
        client.send("/v1/alerts", alert)
        return state

    monkeypatch.setattr(ModelUpdates, "rebuild", restore_while_calls_come_in)
    monkeypatch.setattr("serving.scoring.model_updates.MAX_BLOCKING_ENTRIES", 0)
    publish(tmp_path, other_bundle, "2")
    client.look()
    features = client.compute_features("RB4", received_at=day(2))
    assert features["history.office+carrier.arrivals_7d"] == 3
    assert features["alerts.matching"] == 1
