"""What goes out over HTTP: the shapes of all answers, as OpenAPI tells them."""

from datetime import datetime
from functools import lru_cache
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from consignments.records import Outcome
from models.bands import Band
from models.reasons.ranking import Reason, ReasonCode
from serving.event_log.event_codec import Selection
from serving.http.messages import MessageResult
from serving.http.problems import RowFault
from serving.scoring.intake import Receipt


class ModelName(msgspec.Struct, frozen=True):
    """A version of a registered model."""

    name: str
    version: str

    @classmethod
    def parse(cls, text: str) -> "ModelName":
        """Read `NAME/VERSION`."""
        name, _, version = text.rpartition("/")
        return cls(name, version)


parse_model_name = lru_cache(maxsize=64)(ModelName.parse)
"""Does what `ModelName.parse` does, and remembers the names that answers repeat."""


class Score(msgspec.Struct, frozen=True):
    """The answer for one consignment."""

    consignment_id: str
    score: Annotated[float, Meta(ge=0, le=1, description="calibrated probability")]
    band: Annotated[Band, Meta(description="share of traffic, set in training")]
    reasons: Annotated[list[Reason], Meta(description="the weightiest first")]
    model: Annotated[
        ModelName,
        Meta(description="what decided; `rules` where no model was loaded: the score is not calibrated"),
    ]
    scored_at: datetime
    decision_id: str
    features: Annotated[
        dict[str, float | None] | UnsetType | None,
        Meta(description="the values used; null where another model than the loaded one decided"),
    ] = UNSET


class Scores(msgspec.Struct, frozen=True):
    """The answer for a list, or for messages: good rows in their order, bad ones named."""

    scores: list[Score]
    errors: list[RowFault]
    messages: Annotated[
        MessageResult | UnsetType, Meta(description="of a body of messages: what they held besides goods")
    ] = UNSET


class OutcomeReceipts(msgspec.Struct, frozen=True):
    """The answer to a list of outcomes."""

    outcomes: list[Receipt]
    errors: list[RowFault]


class AlertReceipts(msgspec.Struct, frozen=True):
    """The answer to a list of alerts."""

    alerts: list[Receipt]
    errors: list[RowFault]


class CancellationReceipts(msgspec.Struct, frozen=True):
    """The answer to a list of cancellations."""

    cancellations: list[Receipt]
    errors: list[RowFault]


class PastDecision(msgspec.Struct, frozen=True):
    """A decision as it stands in the log."""

    decision_id: str
    received_at: datetime
    scored_at: datetime
    score: float
    band: str
    reasons: list[Reason]
    model: ModelName
    asked_by: str


class ConsignmentHistory(msgspec.Struct, frozen=True):
    """Everything that was recorded for a consignment, each list in the order of the log."""

    consignment_id: str
    decisions: list[PastDecision]
    outcomes: list[Outcome]
    imported: Annotated[list[datetime], Meta(description="when it was received, where it came by import")]
    cancellations: Annotated[list[datetime], Meta(description="when it was cancelled")]
    selections: list[Selection]


class ShadowModelInfo(ModelName, frozen=True):
    """A model that scores in shadow: the same traffic, for nobody but its own log."""

    approved: Annotated[bool, Meta(description="whether a promotion record names it")]


class ModelInfo(msgspec.Struct, frozen=True):
    """The model that scores."""

    name: str
    version: str
    target: str
    as_of: Annotated[str, Meta(description="the moment whose knowledge it was trained on")]
    bundle_sha256: str
    feature_spec_sha256: str
    code_version: str
    metrics: dict[str, float | None]
    approved_by: str
    approved_at: datetime
    loaded_at: datetime
    challenger: Annotated[ShadowModelInfo | None, Meta(description="the model that scores in shadow")]


class ReasonCodes(msgspec.Struct, frozen=True):
    """All codes of reasons that the loaded model can give."""

    language: Annotated[
        str, Meta(description="of the texts, as `en`; the setting NPSRISK_LANGUAGE chooses it")
    ]
    model: ModelName
    codes: list[ReasonCode]


class Health(msgspec.Struct, frozen=True):
    """Whether the service can do its work."""

    ready: bool
    reasons: Annotated[list[str], Meta(description="why scores cannot be given now")]
    warnings: Annotated[list[str], Meta(description="what is wrong although scores are given")]
    degraded: Annotated[bool, Meta(description="scores come from rules, because no model is loaded")]
    model: Annotated[ModelName | None, Meta(description="what scores: a model, or `rules`")]
    log_sequence: Annotated[int, Meta(description="last durable entry of the log")]


class Liveness(msgspec.Struct, frozen=True):
    """That the process answers."""

    live: bool
