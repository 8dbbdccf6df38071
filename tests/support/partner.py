"""A partner of an operation, and a clock that goes on: what tests of the exchange start from."""

import json
from pathlib import Path
from typing import Any

from support.examples import day, make_consignment
from support.serving_examples import SetClock

from consignments.exchange.documents import Feedback, Seizure, Warning, Withdrawal
from features.indicators.operation_keys import OperationKey
from features.indicators.values import compute_indicators
from models.signatures.key_holders import Partner, Partners
from models.signatures.keys import SigningKey
from models.signatures.signed_message import sign_message

SECOND_US = 1_000_000
VALID = {"issued_at": day(-3), "expires_at": day(60)}


class Ticking(SetClock):
    """A clock that goes on by a second at each look."""

    def __call__(self) -> int:
        self.now_us += SECOND_US
        return self.now_us


class ExchangePartner:
    """A partner, whose public key and operation key are in the exchange directory of the service."""

    def __init__(self, folder: Path) -> None:
        self.key = SigningKey.create(folder / "partner.key")
        self.exchange = folder / "exchange"
        Partners([Partner("XA", self.key.public.text)]).write(self.exchange / "partners.toml")
        self.operation = OperationKey.create(self.exchange / "keys" / "example.operation", "EXAMPLE")

    def seizure(self, **changes: Any) -> dict[str, Any]:
        indicators = compute_indicators(make_consignment(), self.operation)
        found = {"message_id": "S-1", "case_reference": "1", "occurred_at": day(-12)}
        return self.sign(Seizure, VALID | found | {"indicators": indicators} | changes)

    def warning(self, **changes: Any) -> dict[str, Any]:
        about = {"message_id": "W-1", "hs_code": "6109", "text": "harmless"}
        return self.sign(Warning, VALID | about | changes)

    def withdrawal(self, about: str) -> dict[str, Any]:
        return self.sign(Withdrawal, {"message_id": f"X-{about}", "issued_at": day(-2), "about": about})

    def feedback(self, about: str) -> dict[str, Any]:
        counts = {"matched": 7, "inspected": 4, "known": 4, "found": 1}
        when = {"issued_at": day(-2), "begins_at": day(-9), "ends_at": day(-2)}
        answered = {"message_id": f"F-{about}", "about_author": "XB", "about": about}
        return self.sign(Feedback, answered | when | counts)

    def sign(self, kind: Any, fields: dict[str, Any]) -> dict[str, Any]:
        return json.loads(sign_message(kind(**({"author": "XA"} | fields)), self.key))
