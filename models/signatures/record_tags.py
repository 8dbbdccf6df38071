"""Tags of a registered model that hold its promotion records, the record that waits, and their signatures.

    promotion/000003                    record 3
    signatures/000003-RECORD-KEY        one of its signatures; RECORD and KEY are the first digits of the hashes of record and key
    pending                             record that waits for a further signature; '' for none

Each signature has a tag of its own, so that persons who sign at once keep theirs.
"""

from collections.abc import Mapping
from itertools import chain

import msgspec

from consignments.errors import PromotionRefused
from models.promotion_record import PromotionRecord
from models.signatures.envelope import Signature
from models.signatures.signed_record import SignedRecord

RECORD_TAG, SIGNATURES_TAG = "promotion/", "signatures/"
PENDING_TAG = "pending"
HASH_DIGITS = 16


def get_signatures_tag(record: PromotionRecord) -> str:
    """Return how the tags of the signatures of a record begin: no other record gets them, also not another of the same number."""
    return f"{SIGNATURES_TAG}{record.number:06d}-{record.compute_sha256()[:HASH_DIGITS]}-"


def build_signature_tags(signed: SignedRecord) -> dict[str, str]:
    """Build the tags of the signatures of a record."""
    beginning = get_signatures_tag(signed.record)
    return {
        f"{beginning}{each.keyid[:HASH_DIGITS]}": msgspec.json.encode([each]).decode()
        for each in signed.signatures
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
    try:
        read = [msgspec.json.decode(text, type=tuple[Signature, ...]) for text in texts]
    except msgspec.DecodeError as error:
        raise PromotionRefused("the signatures of a record cannot be read", got=str(error)) from error
    return SignedRecord(record, tuple(chain(*read)))
