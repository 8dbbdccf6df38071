"""Rotation of the sealing key of a log."""

from pathlib import Path

import msgspec

from consignments.errors import explain_failure
from consignments.files.whole_files import replace_file
from features.history.data_keys import SealingKey, encode_data_keys, read_data_keys


def rotate_sealing_key(path: Path) -> SealingKey:
    """Add a sealing key to a file of data keys; it encrypts from now on, and the earlier ones still decrypt."""
    keys, new = read_data_keys(path), SealingKey.create()
    changed = msgspec.structs.replace(keys, sealing_keys=[*keys.sealing_keys, new])
    with explain_failure("the data key cannot be written", path):
        replace_file(path, encode_data_keys(changed))
    return new
