"""Scores and outcomes over HTTP. A request is repeated until there is an answer; a repeated request counts once."""

import random
import time

import httpx

AGAIN = {408, 429, 502, 503, 504}
ATTEMPTS = 8


class NpsRisk:
    """The service at an address, with the API key of your system."""

    def __init__(self, url, key=None):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=httpx.Timeout(30, connect=5))

    def score(self, consignment):
        """Return the score of a consignment."""
        return self.post("/v1/scores", consignment)

    def score_all(self, consignments):
        """Return the scores, and the refused consignments with their errors."""
        answer = self.post("/v1/scores", {"consignments": consignments})
        return answer["scores"], [(consignments[error["index"]], error) for error in answer["errors"]]

    def report(self, outcome):
        """Report the result of an inspection."""
        return self.post("/v1/outcomes", outcome)

    def post(self, path, body):
        """Return the answer to a request, which is repeated until there is one."""
        for attempt in range(ATTEMPTS):
            wait = min(0.2 * 2**attempt, 20) * random.uniform(0.5, 1)
            try:
                response = self.http.post(path, json=body)
            except httpx.TransportError:  # unknown whether it was recorded: repeating is safe
                pass
            else:
                if response.is_success:
                    return response.json()
                if response.status_code not in AGAIN:
                    raise ValueError(f"{response.headers.get('x-request-id')}: {response.text}")
                wait = max(wait, float(response.headers.get("retry-after", 0)))
            time.sleep(wait)
        raise TimeoutError(f"{path}: no answer in {ATTEMPTS} attempts")
