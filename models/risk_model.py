"""The risk model: trees, calibration and bands over the features of one spec; one row and many give the same bits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest

from consignments.errors import BundleRefused
from features.normalization.normal_forms import DeclaredTexts
from features.spec import Spec
from models.arrays import Floats, Rows
from models.bands import Bands
from models.calibration import Calibration
from models.reasons.ranking import NO_TEXTS, Reason, ReasonRanker
from models.reasons.sentences import NO_CONTEXT, ReasonContext
from models.trees import Trees


@dataclass(eq=False)
class RiskModel:
    """The risk model, which scores consignments by their features in the order of its spec."""

    trees: Trees
    calibration: Calibration
    bands: Bands
    spec: Spec
    context: ReasonContext = NO_CONTEXT

    def __post_init__(self) -> None:
        for at, (got, expected) in enumerate(zip_longest(self.trees.feature_names, self.spec.names)):
            if got != expected:
                what = "the trees were trained on features other than those of the spec"
                got, expected = got or "no further feature", expected or "no further feature"
                todo = "train the model again"
                raise BundleRefused(what, where=f"feature {at}", got=got, expected=expected, todo=todo)

    def replace_spec(self, installed: Spec) -> "RiskModel":
        """Return the same model with the texts of the installed version's spec."""
        installed.require(self.spec)
        return replace(self, spec=installed)

    @cached_property
    def reasons(self) -> ReasonRanker:
        """The ranker of its reasons. It is built at the first use, because most models of a training give none."""
        return ReasonRanker(self.spec, self.context)

    def score(self, X: Rows, channels: Sequence[str]) -> Floats:
        """Compute the calibrated probability of each row, above 0 and below 1; raises like `Trees.predict_raw`."""
        return self.calibration.calibrate(self.trees.predict_raw(X), channels)

    def explain(
        self, row: Rows, top: int = 3, *, lowering: bool = False, declared: DeclaredTexts = NO_TEXTS
    ) -> list[Reason]:
        """Return the reasons of the score of one row, the most important first; see `ReasonRanker.rank`."""
        contributions = self.trees.compute_contributions(row[None, :])[0]
        return self.reasons.rank(row, contributions, top, lowering=lowering, declared=declared)
