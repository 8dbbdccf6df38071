"""Signed promotion records: what was forged, edited, reordered or left unsigned is refused.

What an approval forged in the registry does to a publication is in `tests/training/promotion/test_forging.py`.
"""

import base64
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from support.signing import APPROVERS, PAIR, REVIEWER, SECOND, STRANGER, sign_record

from consignments.errors import PromotionRefused
from models.promotion_record import GENESIS_SHA256, PromotionRecord
from models.signatures.envelope import Envelope
from models.signatures.keys import VerifyingKey
from models.signatures.record_tags import RECORD_TAG, build_signature_tags, get_signatures_tag, read_records
from models.signatures.signed_record import SignedRecord, find_approval, verify_signed_chain


def chain() -> list[SignedRecord]:
    """Make three signed records of versions 1 to 3."""
    records: list[SignedRecord] = []
    for number in (1, 2, 3):
        previous = records[-1].record.compute_sha256() if records else GENESIS_SHA256
        about = {"number": number, "version": str(number), "bundle_sha256": f"{number:064d}"}
        records.append(sign_record(**about, previous_sha256=previous))
    return records


def edit(signed: SignedRecord, **changes: Any) -> SignedRecord:
    return SignedRecord(msgspec.structs.replace(signed.record, **changes), signed.signatures)


def edit_second_and_mend_chain(records: list[SignedRecord]) -> list[SignedRecord]:
    second = edit(records[1], approved_by="someone")
    return [records[0], second, edit(records[2], previous_sha256=second.record.compute_sha256())]


def date_back(records: list[SignedRecord]) -> list[SignedRecord]:
    earlier = records[0].record.approved_at - timedelta(days=1)
    return [records[0], edit(records[1], approved_at=earlier)]


CHAINS = {
    "a dropped record": (lambda c: [c[0], c[2]], "record 2"),
    "an edited record": (lambda c: [c[0], edit(c[1], why="x"), c[2]], "record 3"),
    "an edited last record": (lambda c: [*c[:2], edit(c[2], forced=True)], "or it was changed"),
    "a chain made again with right hashes": (edit_second_and_mend_chain, "record 2"),
    "a record dated before the one that it follows": (date_back, "dated before the record that it follows"),
    "an unsigned record at the beginning": (lambda c: [SignedRecord(c[0].record), *c[1:]], "record 1"),
    "an unsigned record at the end": (lambda c: [*c[:2], SignedRecord(c[2].record)], "record 3"),
    "the key of a stranger": (lambda c: [*c[:2], SignedRecord(c[2].record).sign(STRANGER)], "record 3"),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_that_was_tampered_with_is_refused(name: str) -> None:
    tamper, said = CHAINS[name]
    verify_signed_chain(chain(), APPROVERS)
    with pytest.raises(PromotionRefused, match=said):
        verify_signed_chain(tamper(chain()), APPROVERS)


REFUSED = {
    "another bundle": ("nps-risk", "2", "a" * 64, APPROVERS, "not the one that was approved"),
    "no promotion": ("nps-risk", "9", f"{9:064d}", APPROVERS, "never promoted"),
    "too few signatures": ("nps-risk", "2", f"{2:064d}", PAIR, "2 of the approvers"),
    "records of another model": (
        *("drug-risk", "2", f"{2:064d}", APPROVERS),
        "record 1 of drug-risk: a promotion record is of another model; got nps-risk",
    ),
}


@pytest.mark.parametrize(("name", "version", "sha256", "approvers", "said"), REFUSED.values(), ids=REFUSED)
def test_a_version_is_approved_by_its_very_bundle_and_by_enough_approvers(
    name: str, version: str, sha256: str, approvers: Any, said: str
) -> None:
    assert find_approval(chain(), "nps-risk", "2", f"{2:064d}", APPROVERS).record.number == 2
    with pytest.raises(PromotionRefused, match=said):
        find_approval(chain(), name, version, sha256, approvers)


def test_one_key_signs_once_and_record_and_signatures_come_back_from_their_tags() -> None:
    twice = sign_record().sign(REVIEWER).sign(SECOND)
    assert [each.keyid for each in twice.signatures] == [REVIEWER.public.key_id, SECOND.public.key_id]
    assert twice.list_signers(PAIR) == ["a reviewer", "a second reviewer"]
    name, record = RECORD_TAG + "000001", twice.record.to_json()
    assert read_records({name: record} | build_signature_tags(twice)) == [twice]
    for bad in (
        {name: record, f"{get_signatures_tag(twice.record)}0": "[1]"},
        {name: record.replace("Z", "")},
    ):
        with pytest.raises(PromotionRefused, match="cannot be read"):
            read_records(bad)


def test_an_envelope_is_a_dsse_envelope_that_other_tools_can_verify() -> None:
    plain = sign_record().to_envelope()
    assert set(plain) == {"payloadType", "payload", "signatures"}
    payload = base64.b64decode(plain["payload"])
    statement = msgspec.json.decode(payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [{"name": "nps-risk/1/bundle", "digest": {"sha256": "0" * 64}}]
    (signature,) = plain["signatures"]
    kind = plain["payloadType"].encode()
    message = b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
    assert VerifyingKey(REVIEWER.public.text).verifies(base64.b64decode(signature["sig"]), message)
    assert SignedRecord.from_envelope(Envelope.read(msgspec.json.encode(plain))) == sign_record()


def test_an_envelope_that_states_something_else_is_refused() -> None:
    plain = sign_record().to_envelope()
    statement = msgspec.json.decode(base64.b64decode(plain["payload"]))
    changes = ({"subject": []}, {"predicateType": "urn:other"}, {"predicate": {}}, {"more": 1})
    payloads = [msgspec.json.encode(statement | change, order="sorted") for change in changes]
    for payload in (*(base64.b64encode(each).decode() for each in payloads), "no base64"):
        with pytest.raises(PromotionRefused):
            SignedRecord.from_envelope(Envelope(plain["payloadType"], payload, ()))
    for bad, said in (
        (b"{}", "read"),
        (b"nonsense", "read"),
        (b"[" * 100_000, "read"),
        (b" " * 300_000, "too large"),
    ):
        with pytest.raises(PromotionRefused, match=said):
            Envelope.read(bad)


@pytest.mark.parametrize(
    ("rule", "row"),
    [
        ({"held": False, "found": "a | b\nc"}, r"| a rule | does not hold | a \| b c |"),
        (
            {"held": False, "found": "7 known, about 12 more needed", "undecided": True},
            "| a rule | undecided | 7 known, about 12 more needed |",
        ),
        ({"held": None, "found": "no tables were given"}, "| a rule | not checked | no tables were given |"),
    ],
)
def test_a_record_is_told_to_people_with_each_rule_on_one_line(rule: dict[str, Any], row: str) -> None:
    told = sign_record(rules={"a rule": rule}, forced=True, replaces="1").record.to_markdown()
    assert told.startswith("## Promoted by a reviewer, 2024-04-02 00:00 UTC, in place of version 1")
    assert "**Forced, against the gate.**" in told
    assert told.splitlines()[-1] == row


def test_a_record_survives_its_json() -> None:
    record = sign_record().record
    assert PromotionRecord.from_json(record.to_json()) == record
