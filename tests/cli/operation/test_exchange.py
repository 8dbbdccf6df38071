"""Exchange by the command line: from a confirmed detection of one administration to a match and a feedback at another."""

import base64
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from support.examples import day, make_consignment, make_outcome
from support.table_examples import write_records
from support.verbs import read_json, refuse, succeed

from cli.operation.exchange import _name_withdrawal
from consignments.exchange.documents import MAX_MESSAGE_ID
from consignments.records import Alert
from consignments.tables import build_frame, read_table, to_records, write_table

SEIZED = make_consignment("LE123456785CN", sender_name="Lotus Chemical", sender_country="CN", office="Port A")
FOUND = {"result": "nps", "substance": "3-CMC", "substance_family": "cathinone", "quantity_g": 250.0}
RESULT = make_outcome(SEIZED.consignment_id, known_at=day(2), **FOUND)
PERSONAL = ("Lotus", "Harbour", "7946", "Kim Min", "Teheran", "5550", "LE123456785CN", "E1 6AN", "06232")
CODED = re.compile(rb"[0-9a-f]{16,}|[A-Za-z0-9+/=]{40,}")
"""Digests, signatures and payloads, in which a short word occurs by chance; a payload is searched decoded."""


class Administration:
    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder / name, name
        self.exchange, self.inbox = self.folder / "exchange", self.folder / "exchange" / "inbox"
        self.inbox.mkdir(parents=True)
        folders = {"NPSRISK_STATE_DIR": str(self.folder), "NPSRISK_EXCHANGE_DIR": str(self.exchange)}
        self.settings = folders | {"NPSRISK_ADMINISTRATION": name}

    def run(self, words: str, at: float = 0, **settings: str) -> dict:
        time = f"--at {day(at).isoformat()}" if at else ""
        return read_json(succeed(f"exchange {words} {time} --json", **self.settings | settings))

    def write(self, name: str, records: list) -> str:
        """Write a table; give the option that names it."""
        write_records(self.folder / f"{name}.parquet", records)
        return f"--{name} {self.folder}/{name}.parquet"

    def receive(self, other: "Administration", at: float | None = None) -> dict:
        """Carry the outbox of a partner into the inbox, and import it at a day if one is given."""
        for path in (other.exchange / "outbox").glob("*.json"):
            (self.inbox / f"{other.name}-{path.name}").write_bytes(path.read_bytes())
        return {} if at is None else self.take(at)

    def take(self, at: float) -> dict:
        return self.run(f"import --alerts {self.folder}/alerts.parquet", at)

    def read_alerts(self) -> list[Alert]:
        return to_records(read_table(self.folder / "alerts.parquet", Alert).frame, Alert)

    def name_seizure(self) -> str:
        (name,) = (path.stem for path in (self.exchange / "outbox").glob("S-*.json"))
        return name


@pytest.fixture
def partners(tmp_path: Path) -> tuple[Administration, Administration]:
    """Two administrations that trust each other and share an operation key; the first found and sent a seizure."""
    one, other = Administration(tmp_path, "XA"), Administration(tmp_path, "XB")
    key = Path(one.run("key EXAMPLE")["file"])
    (other.exchange / "keys").mkdir()
    (other.exchange / "keys" / key.name).write_bytes(key.read_bytes())
    for each, partner in ((one, other), (other, one)):
        partner.run(f"trust {each.name} {each.run(f'trust {each.name}')['public_key']}")
    assert len(send_seizure(one)) == 2
    return one, other


def send_seizure(one: Administration) -> list[str]:
    tables = one.write("consignments", [SEIZED]) + " " + one.write("outcomes", [RESULT])
    drafts: list[str] = one.run(f"draft {tables}", 3)["drafts"]
    one.run("export", 3)
    return drafts


def test_a_seizure_is_drafted_sent_matched_and_answered_and_no_personal_data_leaves(partners) -> None:
    one, other = partners
    assert send_seizure(one) == [], "it was sent already"
    found = other.receive(one, 4)
    assert (found["accepted"], found["refused"]) == ({"seizure": 1, "warning": 1}, {})
    assert {alert.issued_at for alert in other.read_alerts()} == {day(4)}
    assert_nothing_personal(one.exchange, other.folder)

    after = make_consignment("AFTER", received_at=day(5), sender_name="LOTUS CHEMICAL LTD", description="tea")
    arrived = [make_consignment("BEFORE", received_at=day(3.5)), after]
    result = make_outcome("AFTER", result="nps", inspected_at=day(5.5), known_at=day(6))
    tables = other.write("consignments", arrived) + f" --alerts {other.folder}/alerts.parquet"
    succeed(f"features {tables} --out {other.folder}/f.csv", **other.settings)
    strengths = pd.read_csv(other.folder / "f.csv", index_col="consignment_id")["alerts.indicator_strength"]
    assert strengths["BEFORE"] == 0
    assert strengths["AFTER"] > 1

    tables += " " + other.write("outcomes", [result])
    assert other.run(f"feedback {tables}", 9, NPSRISK_EXCHANGE_FEEDBACK="true")["signed"]
    back = one.receive(other, 9)
    assert (back["accepted"], back["refused"]) == ({"feedback": 2, "sighting": 1}, {})


def assert_nothing_personal(*folders: Path) -> None:
    written = [path for each in folders for path in each.rglob("*") if path.is_file()]
    assert len(written) > 8
    for path in written:
        content = path.read_bytes()
        if path.suffix == ".json" and b"payload" in content:
            content += base64.b64decode(json.loads(content)["payload"])
        plain = CODED.sub(b"", content)
        assert not [word for word in PERSONAL if word.encode() in plain], path


def test_a_withdrawal_ends_the_match_from_its_receipt_on(partners) -> None:
    one, other = partners
    other.receive(one, 4)
    name = one.name_seizure()
    one.run(f"withdraw {name} --why 'laboratory corrected'", 6)
    other.receive(one, 7)
    ends = {alert.alert_id: alert.expires_at for alert in other.read_alerts()}
    assert ends[f"XA/{name}"] == day(7)
    assert other.receive(one, 8)["alerts_changed"] == 0


def test_the_withdrawals_of_messages_with_long_identifiers_differ() -> None:
    first, second = (_name_withdrawal("S-" + "x" * 47 + end) for end in "ab")
    assert len(first) == len(second) == MAX_MESSAGE_ID
    assert first != second
    assert _name_withdrawal("S-" + "x" * 46) == "X-S-" + "x" * 46
    assert _name_withdrawal("S-" + "x" * 47 + "a") == first


def test_a_message_whose_withdrawal_came_first_never_becomes_an_alert(partners) -> None:
    one, other = partners
    name = one.name_seizure()
    one.run(f"withdraw {name}", 4)
    other.receive(one)
    late = other.inbox / f"XA-{name}.json"
    content = late.read_bytes()
    late.unlink()
    other.take(5)
    late.write_bytes(content)
    found = other.take(6)
    assert (found["accepted"], found["alerts_changed"]) == ({"seizure": 1}, 0)


def test_an_own_message_that_comes_back_changes_no_alert(partners) -> None:
    one, _ = partners
    one.run(f"trust XA {one.run('trust XA')['public_key']}")
    assert one.receive(one, 4)["alerts_changed"] == 0


def test_an_administration_without_the_key_refuses_with_the_reason(partners) -> None:
    one, other = partners
    for path in (other.exchange / "keys").iterdir():
        path.unlink()
    found = other.receive(one, 4)
    assert found["accepted"] == {"warning": 1}
    [reason] = found["refused"].values()
    assert "its indicators cannot be compared" in reason
    assert len(list((other.exchange / "refused").glob("*.txt"))) == 1


@pytest.mark.parametrize(
    ("change", "reason", "at"),
    [
        (lambda data: data, "the message has expired", 200),
        (lambda data: data.replace(b'"sig":"', b'"sig":"AAAA'), "no signature of its author holds", 4),
        (lambda data: data[:-20], "not a signed message", 4),
        (lambda data: b"[" * 50_000, "not a signed message", 4),
        (lambda data: b" " * 70_000, "the file is too large for a message", 4),
        (lambda data: data.replace(b"in-toto", b"in-tota"), "the statement is not that of its message", 4),
        (lambda data: b"\xff\xfe", "not a signed message", 4),
    ],
)
def test_a_forged_or_late_message_is_refused_and_changes_nothing(partners, change, reason, at) -> None:
    one, other = partners
    other.receive(one)
    for path in other.inbox.iterdir():
        path.write_bytes(change(path.read_bytes()))
    found = other.take(at)
    assert found["accepted"] == {}
    assert all(reason in each for each in found["refused"].values())
    assert other.read_alerts() == []


def test_a_table_of_the_service_is_not_changed(partners) -> None:
    one, other = partners
    alerts = other.folder / "alerts.parquet"
    write_table(build_frame([Alert("A", day(0), hs_code="29")], Alert).assign(sequence=7), alerts)
    other.receive(one)
    before = alerts.read_bytes()
    told = refuse(f"exchange import --alerts {alerts} --at {day(4).isoformat()}", **other.settings)
    assert "messages cannot change a table with further columns; got sequence" in told
    assert alerts.read_bytes() == before
    assert len(list(other.inbox.iterdir())) == 2


def test_without_a_name_or_a_data_key_nothing_is_drafted(partners, tmp_path: Path) -> None:
    one, _ = partners
    tables = f"--consignments {one.folder}/consignments.parquet --outcomes {one.folder}/outcomes.parquet"
    words = f"exchange draft {tables} --at {day(3).isoformat()}"
    assert "NPSRISK_ADMINISTRATION" in refuse(words, **one.settings | {"NPSRISK_ADMINISTRATION": ""})
    key = tmp_path / "not mounted" / "data.key"
    told = refuse(words, **one.settings, NPSRISK_DATA_KEY_FILE=str(key))
    assert "no data key in the given file" in told
    assert not key.parent.exists(), "no key is made outside the state directory"
