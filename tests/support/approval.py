"""The approval of an invented reviewer, for tests of the gate."""

from datetime import UTC, datetime

from support.signing import APPROVERS, REVIEWER

from training.promotion.promote import Approval

APPROVAL = Approval("a reviewer", "it finds more", datetime(2025, 1, 1, tzinfo=UTC), REVIEWER, APPROVERS)
