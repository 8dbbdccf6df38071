"""Types of all HTTP response bodies; the OpenAPI document is generated from them."""

from datetime import datetime
from functools import lru_cache
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from consignments.exchange.documents import AnyMessage
from consignments.records import Outcome
from models.bands import Band
from models.promotion_record import Figure
from models.reasons.ranking import Reason, ReasonCode
from models.signatures.envelope import Envelope
from serving.event_log.event_codec import CustomsState, RecordedAction, Selection
from serving.http.messages import MessageResult
from serving.http.problems import RowFault
from serving.scoring.intake import Receipt


class ModelName(msgspec.Struct, frozen=True):
    """Name and version of a registered model."""

    name: str
    version: str

    @classmethod
    def parse(cls, text: str) -> "ModelName":
        """Parse the text `NAME/VERSION`."""
        name, _, version = text.rpartition("/")
        return cls(name, version)


parse_model_name = lru_cache(maxsize=64)(ModelName.parse)
"""`ModelName.parse` with a cache, because most responses repeat the same few names."""


class Score(msgspec.Struct, frozen=True):
    """The score of one consignment."""

    consignment_id: str
    score: Annotated[float, Meta(ge=0, le=1, description="calibrated probability")]
    band: Annotated[Band, Meta(description="risk band; its share of traffic is set in training")]
    reasons: Annotated[list[Reason], Meta(description="reasons of the score, strongest first")]
    model: Annotated[
        ModelName,
        Meta(
            description="model that scored; `rules` if no model was loaded: then the score is not calibrated"
        ),
    ]
    scored_at: datetime
    decision_id: str
    repeated: Annotated[
        bool, Meta(description="true if the consignment equals its latest version, whose decision this is")
    ]
    cancelled: Annotated[bool, Meta(description="true if the consignment is cancelled")]
    features: Annotated[
        dict[str, float | None] | UnsetType | None,
        Meta(description="feature values used; null if another model than the loaded one scored"),
    ] = UNSET


class Scores(msgspec.Struct, frozen=True):
    """The response to a list of consignments or to messages: scores in their order, and the rejected records."""

    scores: list[Score]
    errors: list[RowFault]
    messages: Annotated[
        MessageResult | UnsetType, Meta(description="of a body of messages: what they held besides goods")
    ] = UNSET


class OutcomeReceipts(msgspec.Struct, frozen=True):
    """The response to a list of outcomes."""

    outcomes: list[Receipt]
    errors: list[RowFault]


class AlertReceipts(msgspec.Struct, frozen=True):
    """The response to a list of alerts."""

    alerts: list[Receipt]
    errors: list[RowFault]


class CancellationReceipts(msgspec.Struct, frozen=True):
    """The response to a list of cancellations."""

    cancellations: list[Receipt]
    errors: list[RowFault]


class MessageReceipts(msgspec.Struct, frozen=True):
    """The response to a list of messages of partners."""

    messages: list[Receipt]
    errors: list[RowFault]


class FeedMessage(msgspec.Struct, frozen=True):
    """A message of a partner, or an own one, in the feed."""

    sequence: Annotated[int, Meta(description="sequence number of its log entry")]
    recorded_at: Annotated[datetime | None, Meta(description="when it arrived")]
    message: AnyMessage
    envelope: Annotated[Envelope, Meta(description="as it was signed")]


class MessageFeed(msgspec.Struct, frozen=True):
    """The messages after a log entry, in the order of the log."""

    messages: list[FeedMessage]
    next: Annotated[int, Meta(description="sequence number to send as `after` the next time")]
    more: Annotated[bool, Meta(description="true if further messages are recorded already")]


class ActionReceipts(msgspec.Struct, frozen=True):
    """The response to a list of actions."""

    actions: list[Receipt]
    errors: list[RowFault]


class EventReceipts(msgspec.Struct, frozen=True):
    """The response to a list of answers of customs."""

    events: list[Receipt]
    errors: list[RowFault]


class PastDecision(msgspec.Struct, frozen=True):
    """A decision recorded in the event log."""

    decision_id: str
    received_at: datetime
    scored_at: datetime
    score: float
    band: str
    reasons: list[Reason]
    model: ModelName
    asked_by: str


class ConsignmentHistory(msgspec.Struct, frozen=True):
    """All events recorded for a consignment, each list in the order of the log."""

    consignment_id: str
    decisions: list[PastDecision]
    outcomes: list[Outcome]
    imported: Annotated[list[datetime], Meta(description="when it was received, if it was imported")]
    cancellations: Annotated[list[datetime], Meta(description="when it was cancelled")]
    selections: list[Selection]
    actions: Annotated[list[RecordedAction], Meta(description="actions of officers")]
    events: Annotated[list[CustomsState], Meta(description="answers of customs")]
    next: Annotated[
        int | UnsetType,
        Meta(description="sequence number to send as `after` for the next page; missing on the last"),
    ] = UNSET


class FeedDecision(PastDecision, frozen=True):
    """A decision in the feed."""

    sequence: Annotated[int, Meta(description="sequence number of its log entry")]
    consignment_id: Annotated[str, Meta(description="identifier as its sender spelled it")]
    office: Annotated[str | None, Meta(description="customs office of arrival")]


class DecisionFeed(msgspec.Struct, frozen=True):
    """The decisions after a log entry, in the order of the log."""

    decisions: list[FeedDecision]
    next: Annotated[int, Meta(description="sequence number to send as `after` the next time")]
    more: Annotated[bool, Meta(description="true if further decisions are recorded already")]


class FeedEvent(CustomsState, frozen=True):
    """An answer of customs in the feed."""

    sequence: Annotated[int, Meta(description="sequence number of its log entry")] = 0


class EventFeed(msgspec.Struct, frozen=True):
    """The answers of customs after a log entry, in the order of the log."""

    events: list[FeedEvent]
    next: Annotated[int, Meta(description="sequence number to send as `after` the next time")]
    more: Annotated[bool, Meta(description="true if further answers are recorded already")]


class OpenSelection(Selection, frozen=True):
    """A selected consignment without a final outcome."""

    sequence: Annotated[int, Meta(description="sequence number of the selection's log entry")] = 0
    pending: Annotated[bool, Meta(description="true if an outcome with the result `pending` is recorded")] = (
        False
    )


class OpenSelections(msgspec.Struct, frozen=True):
    """The selected consignments without a final outcome, in the order of their selection."""

    selections: list[OpenSelection]
    next: Annotated[int, Meta(description="sequence number to send as `after` for the next page")]
    more: Annotated[bool, Meta(description="true if there are further pages")]


class ShadowModelInfo(ModelName, frozen=True):
    """A model in shadow mode: it scores the same traffic, and its results are only logged."""

    approved: Annotated[bool, Meta(description="whether a promotion record names it")]


class ModelInfo(msgspec.Struct, frozen=True):
    """The model that scores, with its approval and what was measured of it."""

    name: str
    version: str
    target: str
    as_of: Annotated[str, Meta(description="the model was trained on what was known at this time")]
    bundle_sha256: str
    feature_spec_sha256: str
    code_version: str
    metrics: Annotated[
        dict[str, Figure],
        Meta(
            description="estimates of the recipe as deployed, from the promotion record: shares and ratios with their 95 % intervals; "
            "`value` is null and `reason` says why if too few results are known"
        ),
    ]
    known_finds: Annotated[
        int | None, Meta(description="known finds that the metrics rest on; null if nothing was measured")
    ]
    effective_finds: Annotated[
        float | None, Meta(description="equally weighted finds that would tell as much")
    ]
    found: Annotated[
        dict[str, float], Meta(description="known finds ranked within `1pct` of the traffic, `capacity`, …")
    ]
    approved_by: str
    approved_at: datetime
    loaded_at: datetime
    challenger: Annotated[ShadowModelInfo | None, Meta(description="the model in shadow mode")]


class ReasonCodes(msgspec.Struct, frozen=True):
    """All reason codes that the loaded model can return."""

    language: Annotated[
        str, Meta(description="language of the texts, for example `en`; set by NPSRISK_LANGUAGE")
    ]
    model: ModelName
    codes: list[ReasonCode]


class Health(msgspec.Struct, frozen=True):
    """Readiness of the service."""

    ready: bool
    reasons: Annotated[list[str], Meta(description="why the service cannot score now")]
    warnings: Annotated[list[str], Meta(description="problems that do not prevent scoring")]
    degraded: Annotated[bool, Meta(description="true if the rules score because no model is loaded")]
    model: Annotated[
        ModelName | None, Meta(description="model that scores, or `rules`; null if nothing can score")
    ]
    log_sequence: Annotated[int, Meta(description="sequence number of the last durable log entry")]
    role: Annotated[
        Literal["active", "standby"],
        Meta(description="whether this service scores, or waits for the one that does"),
    ]


class Liveness(msgspec.Struct, frozen=True):
    """Liveness of the process."""

    live: bool
