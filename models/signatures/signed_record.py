"""A promotion record with its signatures, and the check of a whole chain of them."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from consignments.errors import PromotionRefused
from models.formats import format_count
from models.promotion_record import PromotionRecord, verify_chain
from models.signatures.envelope import PAYLOAD_TYPE, Envelope, Signature, build_statement, sign_statement
from models.signatures.key_holders import Approvers
from models.signatures.keys import SigningKey

PREDICATE_TYPE = "urn:npsrisk:promotion:1"


class SignedRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A promotion record and its signatures, which need not hold."""

    record: PromotionRecord
    signatures: tuple[Signature, ...] = ()

    def build_statement(self) -> bytes:
        """Build what is signed: the record, about its bundle."""
        record = self.record
        subject = f"{record.name}/{record.version}/bundle"
        return build_statement({subject: record.bundle_sha256}, PREDICATE_TYPE, json.loads(record.to_json()))

    def sign(self, key: SigningKey) -> "SignedRecord":
        """Return it with a further signature; one key signs once."""
        others = tuple(each for each in self.signatures if each.keyid != key.public.key_id)
        return SignedRecord(self.record, (*others, sign_statement(self.build_statement(), key)))

    def list_signers(self, approvers: Approvers) -> list[str]:
        """List the names of the approvers whose signatures hold."""
        return approvers.list_signers(self.build_statement(), self.signatures, self.record.approved_at)

    def require_approval(self, approvers: Approvers) -> list[str]:
        """Return the names of those who signed; `PromotionRefused` if too few approvers did, or the record was changed."""
        if not approvers.approver_count:
            what, expected = "nobody may approve a promotion yet", "the public key of each approver"
            todo = "create a key with npsrisk keys create --name NAME, or add one with npsrisk keys trust"
            raise PromotionRefused(
                what, where=approvers.where, got="no approver", expected=expected, todo=todo
            )
        signers = self.list_signers(approvers)
        if len(signers) < approvers.signatures:
            good = f"signatures by {', '.join(signers)} hold" if signers else "no signature holds"
            given = f"{format_count(len(self.signatures), 'signature')}; {good}"
            raise PromotionRefused(
                "the promotion record is not signed by those who may approve",
                where=self.record.title,
                got=given if self.signatures else "no signature",
                expected=f"{approvers.signatures} of the approvers in {approvers.where}",
                todo="promote again with the key of an approver; if nobody did this knowingly, find out who wrote to the registry",
            )
        return signers

    def to_envelope(self) -> dict[str, Any]:
        """Return the DSSE envelope as plain values."""
        return dict(msgspec.to_builtins(Envelope(PAYLOAD_TYPE, self.build_statement(), self.signatures)))

    @classmethod
    def from_envelope(cls, envelope: Envelope) -> "SignedRecord":
        """Read a record from its envelope; the signatures are not checked yet. `PromotionRefused` if it holds another statement."""
        try:
            statement = msgspec.json.decode(envelope.payload)
            record = msgspec.convert(statement["predicate"], PromotionRecord)
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            raise PromotionRefused("a signed record cannot be read", got=str(error)) from error
        signed = cls(record, envelope.signatures)
        if envelope.payload_type != PAYLOAD_TYPE or signed.build_statement() != envelope.payload:
            what = "a signed statement is not that of its promotion record"
            raise PromotionRefused(what, where=record.title, todo="publish again")
        return signed


def verify_signed_chain(records: Sequence[SignedRecord], approvers: Approvers) -> None:
    """Check the chain of records, and that an approver signed each; how many must, is asked of the record that approves what is served."""
    verify_chain([each.record for each in records])
    for each in records:
        if not each.list_signers(approvers):
            what, where = "no approver signed this promotion record, or it was changed", each.record.title
            got = f"{len(each.signatures)} signatures, none of which holds"
            expected = f"the signature of an approver in {approvers.where}"
            todo = "find out who changed the registry; an approver who left stays in the file, with `until`"
            raise PromotionRefused(what, where=where, got=got, expected=expected, todo=todo)


def find_approval(
    records: Sequence[SignedRecord], name: str, version: str, bundle_sha256: str, approvers: Approvers
) -> SignedRecord:
    """Find the latest record that approved this very bundle, and check signatures and chain; raise `PromotionRefused` if any fails."""
    verify_signed_chain(records, approvers)
    other = next((each.record for each in records if each.record.name != name), None)
    if other is not None:
        what, where = "a promotion record is of another model", f"record {other.number} of {name}"
        todo = "find out who changed the registry, and restore its records"
        raise PromotionRefused(what, where=where, got=other.name, expected=name, todo=todo)
    found = next((each for each in reversed(records) if each.record.version == version), None)
    if found is None:
        what, todo = "this version was never promoted", "run npsrisk promote first"
        raise PromotionRefused(what, where=f"version {version}", todo=todo)
    if found.record.bundle_sha256 != bundle_sha256:
        got, expected = bundle_sha256[:12], found.record.bundle_sha256[:12]
        what, where = "the bundle is not the one that was approved", f"version {version}"
        todo = "restore the artifact, or train and promote again"
        raise PromotionRefused(what, where=where, got=got, expected=expected, todo=todo)
    found.require_approval(approvers)
    return found
