"""Signed promotion records: what was forged, edited, reordered or left unsigned is refused."""

import base64
from typing import Any

import msgspec
import pytest
from support.signing import APPROVERS, PAIR, REVIEWER, SECOND, STRANGER, sign_record

from consignments.errors import PromotionRefused
from models.promotion_record import GENESIS_SHA256
from models.signatures.envelope import Envelope
from models.signatures.keys import VerifyingKey
from models.signatures.record_tags import RECORD_TAG, build_signature_tags, get_signatures_tag, read_records
from models.signatures.signed_record import SignedRecord, find_approval, verify_signed_chain


def chain(length: int = 3, unsigned: int = 0) -> list[SignedRecord]:
    records: list[SignedRecord] = []
    for number in range(1, length + 1):
        previous = records[-1].record.compute_sha256() if records else GENESIS_SHA256
        signed = sign_record(
            number=number, version=str(number), bundle_sha256=f"{number:064d}", previous_sha256=previous
        )
        records.append(SignedRecord(signed.record) if number <= unsigned else signed)
    return records


def edit(signed: SignedRecord, **changes: Any) -> SignedRecord:
    return SignedRecord(msgspec.structs.replace(signed.record, **changes), signed.signatures)


def test_a_chain_holds_only_if_every_record_is_signed() -> None:
    verify_signed_chain(chain(), APPROVERS)
    verify_signed_chain([], APPROVERS)
    for unsigned in (1, 3):
        with pytest.raises(PromotionRefused, match="record 1"):
            verify_signed_chain(chain(unsigned=unsigned), APPROVERS)


@pytest.mark.parametrize(
    "change",
    [{"why": "x"}, {"approved_by": "The Minister"}, {"forced": True}, {"rules": {"a": {"held": True}}}],
)
def test_an_edited_last_record_is_refused_though_the_chain_of_hashes_holds(change: dict[str, Any]) -> None:
    records = chain()
    records[-1] = edit(records[-1], **change)
    with pytest.raises(PromotionRefused, match="or it was changed"):
        verify_signed_chain(records, APPROVERS)


def test_a_chain_made_again_with_right_hashes_is_refused() -> None:
    records = chain()
    records[1] = edit(records[1], approved_by="someone")
    records[2] = edit(records[2], previous_sha256=records[1].record.compute_sha256())
    with pytest.raises(PromotionRefused, match="record 2"):
        verify_signed_chain(records, APPROVERS)


def test_an_unsigned_record_after_signed_ones_is_refused() -> None:
    records = chain()
    records[2] = SignedRecord(records[2].record)
    with pytest.raises(PromotionRefused, match="record 3"):
        verify_signed_chain(records, APPROVERS)


def test_the_key_of_a_stranger_approves_nothing() -> None:
    records = chain()
    records[2] = SignedRecord(records[2].record).sign(STRANGER)
    with pytest.raises(PromotionRefused, match="record 3"):
        verify_signed_chain(records, APPROVERS)


def test_a_version_is_approved_by_its_very_bundle_and_by_enough_approvers() -> None:
    assert find_approval(chain(), "nps-risk", "2", f"{2:064d}", APPROVERS).record.number == 2
    with pytest.raises(PromotionRefused, match="not the one that was approved"):
        find_approval(chain(), "nps-risk", "2", "a" * 64, APPROVERS)
    with pytest.raises(PromotionRefused, match="never promoted"):
        find_approval(chain(), "nps-risk", "9", f"{9:064d}", APPROVERS)
    with pytest.raises(PromotionRefused, match="2 of the approvers"):
        find_approval(chain(), "nps-risk", "2", f"{2:064d}", PAIR)


def test_one_key_signs_once() -> None:
    twice = sign_record().sign(REVIEWER).sign(SECOND)
    assert [each.keyid for each in twice.signatures] == [REVIEWER.public.key_id, SECOND.public.key_id]
    assert twice.list_signers(PAIR) == ["a reviewer", "a second reviewer"]
    name, record = RECORD_TAG + "000001", twice.record.to_json()
    tags = {name: record} | build_signature_tags(twice)
    assert read_records(tags) == [twice]
    with pytest.raises(PromotionRefused, match="cannot be read"):
        read_records({name: record, f"{get_signatures_tag(twice.record)}0": "[1]"})


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
    for change in ({"subject": []}, {"predicateType": "urn:other"}, {"predicate": {}}, {"more": 1}):
        payload = base64.b64encode(msgspec.json.encode(statement | change, order="sorted")).decode()
        with pytest.raises(PromotionRefused):
            SignedRecord.from_envelope(Envelope(plain["payloadType"], payload, ()))
    for bad in (b"{}", b"nonsense", b"[" * 100_000, b" " * 300_000):
        with pytest.raises(PromotionRefused):
            Envelope.read(bad)
    with pytest.raises(PromotionRefused):
        SignedRecord.from_envelope(Envelope(plain["payloadType"], "no base64", ()))


def test_the_records_of_another_model_approve_nothing() -> None:
    with pytest.raises(
        PromotionRefused, match="record 1 of drug-risk: a promotion record is of another model; got nps-risk"
    ):
        find_approval(chain(), "drug-risk", "2", f"{2:064d}", APPROVERS)
