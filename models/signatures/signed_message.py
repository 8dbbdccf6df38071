"""Messages between administrations in the envelope of promotion records: signed by an officer of the author, read only from partners."""

from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

import msgspec

from consignments.errors import MessageFault, PromotionRefused
from consignments.exchange.documents import AnyMessage, check_message, decode_message, encode_message
from models.signatures.envelope import PAYLOAD_TYPE, Envelope, build_statement, sign_statement
from models.signatures.key_holders import MAX_SIGNATURES, Partners
from models.signatures.keys import SigningKey

PREDICATE_TYPE = "urn:npsrisk:exchange:1"
MAX_MESSAGE_BYTES = 65_536


class _Statement(msgspec.Struct, frozen=True):
    predicate: msgspec.Raw


class SignedMessage(NamedTuple):
    """A message whose signature holds, and the envelope that it came in, as canonical JSON."""

    message: AnyMessage
    envelope: bytes


def build_message_statement(message: AnyMessage) -> bytes:
    """Build what is signed: the document, and its digest."""
    document = encode_message(message)
    subjects = {message.message_id: sha256(document).hexdigest()}
    return build_statement(subjects, PREDICATE_TYPE, msgspec.json.decode(document))


def decode_statement(statement: bytes) -> AnyMessage:
    """Decode the document of a statement; `msgspec.DecodeError` if it has none. The signature is not checked."""
    return decode_message(bytes(msgspec.json.decode(statement, type=_Statement).predicate))


def sign_message(message: AnyMessage, key: SigningKey) -> bytes:
    """Sign a message; return its envelope as JSON."""
    statement = build_message_statement(message)
    envelope = Envelope(PAYLOAD_TYPE, statement, (sign_statement(statement, key),))
    return msgspec.json.encode(envelope, order="sorted")


def read_signed_message(data: bytes, partners: Partners, now: datetime, where: str = "") -> SignedMessage:
    """Read an envelope from outside; raise `MessageFault` if it is contradictory, expired, or not signed by its author."""
    if len(data) > MAX_MESSAGE_BYTES:
        got, expected = f"{len(data):,} bytes", f"at most {MAX_MESSAGE_BYTES:,}"
        raise MessageFault("a message is too large", where=where, got=got, expected=expected)
    try:
        envelope = Envelope.read(data)
        message = decode_statement(envelope.payload)
    except (PromotionRefused, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = error.got if isinstance(error, PromotionRefused) else str(error)
        raise MessageFault("not a signed message", where=where, got=reason) from None
    is_plain = envelope.payload_type == PAYLOAD_TYPE and len(envelope.signatures) <= MAX_SIGNATURES
    if not is_plain or build_message_statement(message) != envelope.payload:
        raise MessageFault("the statement is not that of its message", where=where)
    if message.author not in partners.find_signers(envelope.payload, envelope.signatures, now):
        what, where = "no signature of its author holds", where or partners.where
        expected = f"a signature by {', '.join(partners.list_names()) or 'a partner; there is none yet'}"
        todo = "add the author's public key with npsrisk exchange trust, if you know it from a safe source"
        raise MessageFault(what, where=where, got=f"author {message.author}", expected=expected, todo=todo)
    check_message(message, now)
    return SignedMessage(message, msgspec.json.encode(envelope, order="sorted"))
