"""Tags of a registered model that hold its promotion records, the record that waits, and their signatures.

    promotion/000003                    record 3
    signatures/000003-RECORD-KEY        one of its signatures; RECORD and KEY are the first digits of the hashes of record and key
    pending                             record that waits for a further signature; '' for none

Each signature has a tag of its own, so that persons who sign at once keep theirs. Earlier versions wrote all signatures of a record to
`signatures/000003`, and those of the waiting one to `pending-signatures`.
"""

from collections.abc import Mapping

from models.promotion_record import PromotionRecord
from models.signatures.signed_record import SignedRecord, encode_signatures, read_signatures

RECORD_TAG, SIGNATURES_TAG = "promotion/", "signatures/"
PENDING_TAG, EARLIER_PENDING_SIGNATURES_TAG = "pending", "pending-signatures"
HASH_DIGITS = 16


def get_record_tag(record: PromotionRecord) -> str:
    """Return the tag of a record."""
    return f"{RECORD_TAG}{record.number:06d}"


def get_signatures_tag(record: PromotionRecord) -> str:
    """Return how the tags of the signatures of a record begin: no other record gets them, also not another of the same number."""
    return f"{SIGNATURES_TAG}{record.number:06d}-{record.compute_sha256()[:HASH_DIGITS]}-"


def build_signature_tags(signed: SignedRecord) -> dict[str, str]:
    """Build the tags of the signatures of a record."""
    beginning = get_signatures_tag(signed.record)
    return {
        f"{beginning}{each.keyid[:HASH_DIGITS]}": encode_signatures((each,)) for each in signed.signatures
    }


def read_records(tags: Mapping[str, str]) -> list[SignedRecord]:
    """Read the records, first to last; `PromotionRefused` if one cannot be read. Nothing is verified."""
    keys = sorted(key for key in tags if key.startswith(RECORD_TAG))
    return [_add_signatures(tags, PromotionRecord.from_json(tags[key])) for key in keys]


def read_pending(tags: Mapping[str, str]) -> SignedRecord | None:
    """Read the record that waits; None if there is none. Raises like `read_records`."""
    text = tags.get(PENDING_TAG, "")
    if not text:
        return None
    return _add_signatures(tags, PromotionRecord.from_json(text), tags.get(EARLIER_PENDING_SIGNATURES_TAG))


def _add_signatures(
    tags: Mapping[str, str], record: PromotionRecord, earlier: str | None = None
) -> SignedRecord:
    """Find the signatures of a record.

    Without any under its hash, all of its number are taken: of an earlier npsrisk, or of a record that was edited after it was signed.
    """
    beginnings = get_signatures_tag(record), f"{SIGNATURES_TAG}{record.number:06d}"
    own, of_number = ([key for key in sorted(tags) if key.startswith(each)] for each in beginnings)
    texts = [tags[key] for key in own or of_number] or [earlier or "[]"]
    return SignedRecord(record, tuple(each for text in texts for each in read_signatures(text)))
