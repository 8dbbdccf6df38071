"""A partner of an operation, and a clock that goes on: what tests of the exchange start from."""

import json
from pathlib import Path
from typing import Any

from support.examples import day, make_consignment
from support.serving_examples import on_day_20

from consignments.exchange.documents import Feedback, Seizure, Warning, Withdrawal
from features.indicators.operation_keys import OperationKey
from features.indicators.values import compute_indicators
from models.signatures.key_holders import Partner, Partners
from models.signatures.keys import SigningKey
from models.signatures.signed_message import sign_message

SECOND_US = 1_000_000


class Ticking:
    """A clock that goes on by a second at each look."""

    def __init__(self) -> None:
        self._now_us = on_day_20()

    def __call__(self) -> int:
        self._now_us += SECOND_US
        return self._now_us


class ExchangePartner:
    """A partner, whose public key and operation key are in the exchange directory of the service."""

    def __init__(self, folder: Path) -> None:
        self.key = SigningKey.create(folder / "partner.key")
        self.exchange = folder / "exchange"
        Partners([Partner("XA", self.key.public.text)]).write(self.exchange / "partners.toml")
        self.operation = OperationKey.create(self.exchange / "keys" / "example.operation", "EXAMPLE")

    def seizure(self, **changes: Any) -> dict[str, Any]:
        fields = {
            "message_id": "S-1", "author": "XA", "issued_at": day(-3), "expires_at": day(60), "case_reference": "1",
            "occurred_at": day(-12), "indicators": compute_indicators(make_consignment(), self.operation),
        }  # fmt: skip
        return self.sign(Seizure(**(fields | changes)))

    def warning(self, **changes: Any) -> dict[str, Any]:
        fields = {
            "message_id": "W-1", "author": "XA", "issued_at": day(-3), "expires_at": day(60), "hs_code": "6109",
            "text": "harmless",
        }  # fmt: skip
        return self.sign(Warning(**(fields | changes)))

    def withdrawal(self, about: str, **changes: Any) -> dict[str, Any]:
        fields = {"message_id": f"X-{about}", "author": "XA", "issued_at": day(-2), "about": about}
        return self.sign(Withdrawal(**(fields | changes)))

    def sign(self, message: Any) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(sign_message(message, self.key))
        return found

    def feedback(self, about: str, **changes: Any) -> dict[str, Any]:
        fields = {
            "message_id": f"F-{about}", "author": "XA", "issued_at": day(-2), "about_author": "XB", "about": about,
            "begins_at": day(-9), "ends_at": day(-2), "matched": 7, "inspected": 4, "known": 4, "found": 1,
        }  # fmt: skip
        return self.sign(Feedback(**(fields | changes)))
