"""Which key of a party had the detections: its name, address, telephone number, e-mail address or account."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from features.history.kernels import ADDED_ARRIVALS
from features.history.keys import COMMON_KINDS
from features.history.readings import EITHER
from features.spec import Feature, Spec
from models.reasons.texts import ReasonTemplate, TextTable

SIDE_SUFFIX = "_side"
READING_SUFFIX = "_a_consignment"


class KeyColumns(NamedTuple):
    """The columns of one key in a row, and how a text calls it."""

    kind: str
    finds: int
    arrivals: int
    of: str


class KeyDetections(NamedTuple):
    """Names the key whose earlier consignments had the highest share of detections."""

    template: ReasonTemplate
    keys: Sequence[KeyColumns]

    def describe(self, row: NDArray[np.float32]) -> tuple[str, str]:
        """Return the kind of the key and its text; '' and '' if no key has a detection, or the row holds no plain counts."""
        counted = [(float(row[key.finds]), float(row[key.arrivals]), key) for key in self.keys]
        found = [each for each in counted if 0 < each[0] <= each[1]]
        if not found:
            return "", ""
        # The share by which the feature itself was chosen (features.history.kernels).
        finds, arrivals, key = max(found, key=lambda each: each[0] / (each[1] + ADDED_ARRIVALS))
        text = self.template.single_key if arrivals == 1 else self.template.several_key
        shown = {"{finds}": f"{round(finds):,}", "{arrivals}": f"{round(arrivals):,}", "{of}": key.of}
        for mark, word in shown.items():
            text = text.replace(mark, word)
        return key.kind, text


def build_key_detections(
    feature: Feature, spec: Spec, template: ReasonTemplate, table: TextTable
) -> KeyDetections | None:
    """Build what names the key of a feature that reads several keys together; None for other features."""
    if not template.several_key:
        return None
    kind, reading = feature.name.removeprefix("history.").rsplit(".", 1)
    side, target = kind.removesuffix(SIDE_SUFFIX), reading.removesuffix(READING_SUFFIX)
    keys = []
    for key in COMMON_KINDS:
        names = f"history.{key.name}.{target}_ever", f"history.{key.name}.arrivals_ever"
        if key.side is None or side not in (key.side, EITHER) or not set(names) <= set(spec.names):
            continue
        words = table.key.get(key.name)
        if words is not None:
            finds, arrivals = map(spec.get_column, names)
            keys.append(KeyColumns(key.name, finds, arrivals, words["of"]))
    return KeyDetections(template, keys)
