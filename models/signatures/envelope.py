"""Signed statements: an in-toto Statement in a DSSE envelope, signed with Ed25519.

What is signed is DSSE's pre-authentication encoding (https://github.com/secure-systems-lab/dsse, protocol.md), so that
other tools can verify an envelope with nothing but the public keys.
"""

from typing import Any

import msgspec

from consignments.errors import PromotionRefused
from models.signatures.keys import SigningKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
MAX_ENVELOPE_BYTES = 200_000


class Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One signature: the SHA-256 of the public key, and 64 bytes, in JSON as base64."""

    keyid: str
    sig: bytes


class Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A DSSE envelope of a statement, in JSON as base64."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    @classmethod
    def read(cls, data: bytes | str) -> "Envelope":
        """Read an envelope from JSON; `PromotionRefused` if it is none."""
        if len(data) > MAX_ENVELOPE_BYTES:
            got, expected = f"{len(data):,} bytes", f"at most {MAX_ENVELOPE_BYTES:,}"
            raise PromotionRefused("a signed record is too large", got=got, expected=expected)
        try:
            return msgspec.json.decode(data, type=cls)
        except msgspec.DecodeError as error:
            raise PromotionRefused("a signed record cannot be read", got=str(error)) from error


def build_statement(subjects: dict[str, str], predicate_type: str, predicate: Any) -> bytes:
    """Build an in-toto statement about subjects, by name and SHA-256, as canonical JSON: sorted keys, no spaces."""
    named = [{"name": name, "digest": {"sha256": sha256}} for name, sha256 in subjects.items()]
    about = {"predicateType": predicate_type, "predicate": predicate}
    return msgspec.json.encode({"_type": STATEMENT_TYPE, "subject": named, **about}, order="sorted")


def sign_statement(statement: bytes, key: SigningKey) -> Signature:
    """Sign a statement."""
    return Signature(key.public.key_id, key.sign(encode_for_signing(PAYLOAD_TYPE, statement)))


def encode_for_signing(payload_type: str, payload: bytes) -> bytes:
    """Encode what is signed: DSSE's PAE of a payload."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
