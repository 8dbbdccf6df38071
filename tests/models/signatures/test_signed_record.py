"""Signed promotion records and their envelopes; those that are forged in a registry are in `tests/training/promotion/test_forging.py`."""

import base64
from typing import Any

import msgspec
import pytest
from support.cases import read_cases
from support.signing import APPROVERS, PAIR, REVIEWER, SECOND, sign_record

from consignments.errors import PromotionRefused
from models.signatures.envelope import Envelope
from models.signatures.keys import VerifyingKey
from models.signatures.record_tags import RECORD_TAG, build_signature_tags, get_signatures_tag, read_records
from models.signatures.signed_record import SignedRecord, find_approval


def test_a_record_of_another_model_approves_nothing() -> None:
    said = "record 1 of drug-risk: a promotion record is of another model; got nps-risk"
    with pytest.raises(PromotionRefused, match=said):
        find_approval([sign_record()], "drug-risk", "1", "0" * 64, APPROVERS)


def test_one_key_signs_once_and_record_and_signatures_come_back_from_their_tags() -> None:
    twice = sign_record().sign(REVIEWER).sign(SECOND)
    assert [each.keyid for each in twice.signatures] == [REVIEWER.public.key_id, SECOND.public.key_id]
    assert twice.list_signers(PAIR) == ["a reviewer", "a second reviewer"]
    name, record = RECORD_TAG + "000001", twice.record.to_json()
    assert read_records({name: record} | build_signature_tags(twice)) == [twice]
    not_signatures = {name: record, f"{get_signatures_tag(twice.record)}0": "[1]"}
    for bad in (not_signatures, {name: record.replace("Z", "")}):
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
    changed = [msgspec.json.encode(statement | each, order="sorted") for each in changes]
    for payload in (*changed, b"no statement"):
        with pytest.raises(PromotionRefused):
            SignedRecord.from_envelope(Envelope(plain["payloadType"], payload, ()))
    for bad, said in (
        (msgspec.json.encode(plain | {"payload": "no base64"}), "read"),
        (b"{}", "read"),
        (b"nonsense", "read"),
        (b"[" * 100_000, "read"),
        (b" " * 300_000, "too large"),
    ):
        with pytest.raises(PromotionRefused, match=said):
            Envelope.read(bad)


@pytest.mark.parametrize("case", read_cases("record_rules"))
def test_a_record_is_told_to_people_with_each_rule_on_one_line(case: dict[str, Any]) -> None:
    """Each line has the result of a rule, and its line."""
    told = sign_record(rules={"a rule": case["rule"]}, forced=True, replaces="1").record.to_markdown()
    assert told.startswith("## Promoted by a reviewer, 2024-04-02 00:00 UTC, in place of version 1")
    assert "**Forced, against the gate.**" in told
    assert case["line"] in told.splitlines()[-2:]
