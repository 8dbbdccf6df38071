"""Exchange by the command line: from a confirmed detection of one administration to a match and a feedback at another."""

import base64
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from support.examples import day, make_consignment, make_outcome

from cli.operation.exchange import _name_withdrawal
from consignments.exchange.documents import MAX_MESSAGE_ID
from consignments.records import Alert, Consignment, Outcome
from consignments.tables import build_frame, read_table, to_alerts, write_table
from npsrisk import main

SEIZED = make_consignment("LE123456785CN", sender_name="Lotus Chemical", sender_country="CN", office="Port A")
RESULT = make_outcome(
    SEIZED.consignment_id,
    result="nps",
    substance="3-CMC",
    substance_family="cathinone",
    quantity_g=250.0,
    known_at=day(2),
)
PERSONAL = ("Lotus", "Harbour", "7946", "Kim Min", "Teheran", "5550", "LE123456785CN", "E1 6AN", "06232")
CODED = re.compile(rb"[0-9a-f]{16,}|[A-Za-z0-9+/=]{40,}")
"""Digests, signatures and payloads, in which a short word occurs by chance; a payload is searched decoded."""


class Administration:
    """An administration with its own folder, settings and tables."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder / name, name
        self.folder.mkdir()
        self.exchange = self.folder / "exchange"

    def run(self, *arguments: object, **settings: str) -> dict:
        environment = {
            "NPSRISK_ADMINISTRATION": self.name,
            "NPSRISK_STATE_DIR": str(self.folder),
            "NPSRISK_EXCHANGE_DIR": str(self.exchange),
        }
        words = [*map(str, arguments), *(["--json"] if arguments[0] == "exchange" else [])]
        found = CliRunner().invoke(main, words, env=environment | settings)
        assert found.exit_code == 0, found.output
        return json.loads(found.stdout.splitlines()[-1]) if words[-1] == "--json" else {}

    def fail(self, *arguments: object, **settings: str) -> str:
        environment = {"NPSRISK_STATE_DIR": str(self.folder), "NPSRISK_EXCHANGE_DIR": str(self.exchange)}
        found = CliRunner().invoke(main, list(map(str, arguments)), env=environment | settings)
        assert found.exit_code == 2
        return found.output

    def write(self, name: str, records: list, record: type) -> Path:
        path = self.folder / f"{name}.parquet"
        write_table(build_frame(records, record), path)
        return path

    def take(self, at: float) -> dict:
        """Import what is in the inbox."""
        words = ("--alerts", self.folder / "alerts.parquet", "--at", day(at).isoformat())
        return self.run("exchange", "import", *words)

    def receive(self, other: "Administration") -> None:
        """Carry the outbox of a partner into the inbox."""
        (self.exchange / "inbox").mkdir(parents=True, exist_ok=True)
        for path in (other.exchange / "outbox").glob("*.json"):
            (self.exchange / "inbox" / f"{other.name}-{path.name}").write_bytes(path.read_bytes())

    def read_alerts(self) -> list[Alert]:
        return to_alerts(read_table(self.folder / "alerts.parquet", Alert).frame)


@pytest.fixture
def partners(tmp_path: Path) -> tuple[Administration, Administration]:
    one, other = Administration(tmp_path, "XA"), Administration(tmp_path, "XB")
    key = Path(one.run("exchange", "key", "EXAMPLE")["file"])
    (other.exchange / "keys").mkdir(parents=True)
    (other.exchange / "keys" / key.name).write_bytes(key.read_bytes())
    for each, partner in ((one, other), (other, one)):
        partner.run("exchange", "trust", each.name, each.run("exchange", "trust", each.name)["public_key"])
    return one, other


def send_seizure(one: Administration, at: int = 3) -> list[str]:
    tables = ("--consignments", one.write("consignments", [SEIZED], Consignment))
    tables += ("--outcomes", one.write("outcomes", [RESULT], Outcome))
    drafts = one.run("exchange", "draft", *tables, "--at", day(at).isoformat())["drafts"]
    one.run("exchange", "export", "--at", day(at).isoformat())
    return drafts


def test_a_seizure_is_drafted_approved_sent_matched_and_answered(partners) -> None:
    one, other = partners
    assert len(send_seizure(one)) == 2
    assert send_seizure(one) == []
    other.receive(one)
    alerts = other.folder / "alerts.parquet"
    found = other.take(4)
    assert found["accepted"] == {"seizure": 1, "warning": 1}
    assert found["refused"] == {}
    assert {alert.issued_at for alert in other.read_alerts()} == {day(4)}

    arrived = [
        make_consignment("BEFORE", received_at=day(3.5)),
        make_consignment("AFTER", received_at=day(5), sender_name="LOTUS CHEMICAL LTD", description="tea"),
    ]
    consignments = other.write("consignments", arrived, Consignment)
    outcomes = other.write(
        "outcomes", [make_outcome("AFTER", result="nps", inspected_at=day(5.5), known_at=day(6))], Outcome
    )
    other.run("features", "--consignments", consignments, "--alerts", alerts, "--out", other.folder / "f.csv")
    rows = pd.read_csv(other.folder / "f.csv", index_col="consignment_id")
    strengths = rows["alerts.indicator_strength"]
    assert strengths["BEFORE"] == 0
    assert strengths["AFTER"] > 1

    tables = ("--consignments", consignments, "--outcomes", outcomes, "--alerts", alerts)
    sent = other.run(
        "exchange", "feedback", *tables, "--at", day(9).isoformat(), NPSRISK_EXCHANGE_FEEDBACK="true"
    )
    assert sent["signed"]
    one.receive(other)
    back = one.take(9)
    assert back["accepted"] == {"feedback": 2, "sighting": 1}
    assert back["refused"] == {}


def test_a_withdrawal_ends_the_match_from_its_receipt_on(partners) -> None:
    one, other = partners
    send_seizure(one)
    other.receive(one)
    other.take(4)
    [name] = [path.stem for path in (one.exchange / "outbox").glob("S-*.json")]
    one.run("exchange", "withdraw", name, "--why", "laboratory corrected", "--at", day(6).isoformat())
    other.receive(one)
    other.take(7)
    ends = {alert.alert_id: alert.expires_at for alert in other.read_alerts()}
    assert ends[f"XA/{name}"] == day(7)
    other.receive(one)
    assert other.take(8)["alerts_changed"] == 0


def test_the_withdrawals_of_messages_with_long_identifiers_differ() -> None:
    first, second = (_name_withdrawal("S-" + "x" * 47 + end) for end in "ab")
    assert len(first) == len(second) == MAX_MESSAGE_ID
    assert first != second
    assert _name_withdrawal("S-" + "x" * 46) == "X-S-" + "x" * 46
    assert _name_withdrawal("S-" + "x" * 47 + "a") == first


def test_a_message_whose_withdrawal_came_first_never_becomes_an_alert(partners) -> None:
    one, other = partners
    send_seizure(one)
    [name] = [path.stem for path in (one.exchange / "outbox").glob("S-*.json")]
    one.run("exchange", "withdraw", name, "--at", day(4).isoformat())
    other.receive(one)
    late = other.exchange / "inbox" / f"XA-{name}.json"
    content = late.read_bytes()
    late.unlink()
    other.take(5)
    late.write_bytes(content)
    found = other.take(6)
    assert (found["accepted"], found["alerts_changed"]) == ({"seizure": 1}, 0)


def test_an_own_message_that_comes_back_changes_no_alert(partners) -> None:
    one, _ = partners
    send_seizure(one)
    one.run("exchange", "trust", "XA", one.run("exchange", "trust", "XA")["public_key"])
    one.receive(one)
    found = one.take(4)
    assert found["alerts_changed"] == 0


def test_no_personal_data_leaves(partners) -> None:
    one, other = partners
    send_seizure(one)
    other.receive(one)
    other.take(4)
    written = [path for each in (one.exchange, other.folder) for path in each.rglob("*") if path.is_file()]
    assert len(written) > 8
    for path in written:
        content = path.read_bytes()
        if path.suffix == ".json" and b"payload" in content:
            content += base64.b64decode(json.loads(content)["payload"])
        plain = CODED.sub(b"", content)
        assert not [word for word in PERSONAL if word.encode() in plain], path


def test_an_administration_without_the_key_refuses_with_the_reason(partners) -> None:
    one, other = partners
    send_seizure(one)
    for path in (other.exchange / "keys").iterdir():
        path.unlink()
    other.receive(one)
    found = other.take(4)
    assert found["accepted"] == {"warning": 1}
    [reason] = found["refused"].values()
    assert "its indicators cannot be compared" in reason
    assert len(list((other.exchange / "refused").glob("*.txt"))) == 1


@pytest.mark.parametrize(
    ("change", "reason", "at"),
    [
        (lambda data: data, "the message has expired", 200),
        (lambda data: data.replace(b'"sig":"', b'"sig":"A'), "no signature of its author holds", 4),
        (lambda data: data[:-20], "not a signed message", 4),
        (lambda data: b"[" * 50_000, "not a signed message", 4),
        (lambda data: b" " * 70_000, "the file is too large for a message", 4),
        (lambda data: data.replace(b"in-toto", b"in-tota"), "the statement is not that of its message", 4),
        (lambda data: b"\xff\xfe", "not a signed message", 4),
    ],
)
def test_a_forged_hostile_or_late_message_is_refused_and_changes_nothing(
    partners, change, reason, at
) -> None:
    one, other = partners
    send_seizure(one)
    other.receive(one)
    for path in (other.exchange / "inbox").iterdir():
        path.write_bytes(change(path.read_bytes()))
    found = other.take(at)
    assert found["accepted"] == {}
    assert all(reason in each for each in found["refused"].values())
    assert other.read_alerts() == []


def test_a_table_of_the_service_is_not_changed(partners) -> None:
    one, other = partners
    alerts = other.folder / "alerts.parquet"
    frame = build_frame([Alert("A", day(0), hs_code="29")], Alert).assign(sequence=7)
    write_table(frame, alerts)
    send_seizure(one)
    other.receive(one)
    before = alerts.read_bytes()
    words = ("exchange", "import", "--alerts", alerts, "--at", day(4).isoformat())
    assert "messages cannot change a table with further columns; got sequence" in other.fail(*words)
    assert alerts.read_bytes() == before
    assert len(list((other.exchange / "inbox").iterdir())) == 2


def test_without_a_name_or_a_data_key_nothing_is_drafted(partners, tmp_path: Path) -> None:
    one, _ = partners
    words = ["exchange", "draft", "--consignments", one.write("consignments", [SEIZED], Consignment)]
    words += ["--outcomes", one.write("outcomes", [RESULT], Outcome), "--at", day(3).isoformat()]
    assert "NPSRISK_ADMINISTRATION" in one.fail(*words)
    key = tmp_path / "not mounted" / "data.key"
    settings = {"NPSRISK_ADMINISTRATION": "XA", "NPSRISK_DATA_KEY_FILE": str(key)}
    assert "no data key in the given file" in one.fail(*words, **settings)
    assert not key.parent.exists(), "no key is made outside the state directory"
