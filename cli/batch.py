"""The pseudonyms of verbs that compute over whole tables."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from features.history.pseudonyms import Pseudonyms


def create_batch_pseudonyms() -> "Pseudonyms":
    """Create the pseudonyms of a batch. A batch writes none of them to a file or log."""
    from features.batch import BATCH_KEY
    from features.history.pseudonyms import Pseudonyms

    return Pseudonyms(BATCH_KEY)
