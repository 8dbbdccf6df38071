"""Tags of a registered model that hold its promotion records, the record that waits, and their signatures.

    promotion/000003                    record 3
    signatures/000003-RECORD-KEY        one of its signatures; RECORD and KEY are the first digits of the hashes of record and key
    pending                             record that waits for a further signature; '' for none

Each signature has a tag of its own, so that persons who sign at once keep theirs.
"""

from collections.abc import Mapping

from models.promotion_record import PromotionRecord
from models.signatures.signed_record import SignedRecord, encode_signatures, read_signatures

RECORD_TAG, SIGNATURES_TAG = "promotion/", "signatures/"
PENDING_TAG = "pending"
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
    return [_read_record(tags, key) for key in sorted(tags) if key.startswith(RECORD_TAG)]


def read_pending(tags: Mapping[str, str]) -> SignedRecord | None:
    """Read the record that waits; None if there is none. Raises like `read_records`."""
    return _read_record(tags, PENDING_TAG) if tags.get(PENDING_TAG) else None


def _read_record(tags: Mapping[str, str], key: str) -> SignedRecord:
    """Read the record in a tag, with its signatures."""
    record = PromotionRecord.from_json(tags[key])
    beginning = get_signatures_tag(record)
    texts = [tags[each] for each in sorted(tags) if each.startswith(beginning)]
    return SignedRecord(record, tuple(each for text in texts for each in read_signatures(text)))
