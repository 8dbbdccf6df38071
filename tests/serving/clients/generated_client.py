"""Calls the service with the client that openapi-python-client generates from its OpenAPI document."""

import sys
from http import HTTPStatus

from npsrisk_client import Client
from npsrisk_client.api.results import post_v1_outcomes
from npsrisk_client.api.scoring import get_v1_decisions, get_v1_model, post_v1_scores
from npsrisk_client.models import Consignment, Outcome, Receipt, Score

client = Client(base_url=sys.argv[1])
fields = {"consignment_id": "PY1", "channel": "postal", "description": "pigment"}
scored = post_v1_scores.sync_detailed(client=client, body=Consignment.from_dict(fields))
assert scored.status_code == HTTPStatus.OK, scored.content
assert isinstance(scored.parsed, Score)
assert (scored.parsed.consignment_id, scored.parsed.repeated) == ("PY1", False)
outcome = {
    "consignment_id": "PY1", "selected_by": "model", "status": "inspected",
    "known_at": "2024-03-14T10:00:00Z", "result": "clear",
}  # fmt: skip
told = post_v1_outcomes.sync_detailed(client=client, body=Outcome.from_dict(outcome))
assert isinstance(told.parsed, Receipt)
assert told.parsed.known is True
feed = get_v1_decisions.sync(client=client, after=0, limit=1000)
assert any(each.consignment_id == "PY1" for each in feed.decisions)
model = get_v1_model.sync(client=client)
print(scored.parsed.band, model.name, model.version)
