"""Scores of single consignments without an ASGI call: the batch holds the connection, which writes the response.

All else goes on to ASGI before anything has changed: lists, messages, keys that are bound to offices, whatever is refused,
and consignments that must be read from the log. Each check has one definition, which both ways call.
"""

import time
from collections.abc import Sequence
from functools import partial

from serving.http.asgi import AsgiApp, AsgiEndpoint, Header, HttpCall, read_request_id, respond
from serving.http.direct.call import DirectCall
from serving.http.direct.head import ScoreHead, read_length
from serving.http.direct.response import ResponseWriter
from serving.http.problems import Refusal
from serving.http.protocol.compression import MIN_COMPRESSED_BYTES
from serving.http.requests import JSON_TYPES, MAX_SMALL_BYTES, Door, get_media_type
from serving.http.scores import ENDPOINT_NAME, SCORES_PATH, ScoresEndpoint, build_request, read_options
from serving.scoring.scorer import ScoreRequest, ScoreResult
from serving.service import Service

PATH = SCORES_PATH.encode()
NOT_DIRECT = (b"content-encoding", b"transfer-encoding")
"""Headers of bodies that only the ASGI way reads."""


class DirectScores:
    """The direct way of `POST /v1/scores`.

    Parameters
    ----------
    endpoint : ScoresEndpoint
    asgi : AsgiEndpoint
        The same endpoint in ASGI, which answers errors.
    door : Door
    service : Service

    Attributes
    ----------
    max_bytes : int
        Maximum length of a body.
    """

    def __init__(self, endpoint: ScoresEndpoint, asgi: AsgiEndpoint, door: Door, service: Service) -> None:
        self._endpoint, self._asgi, self._door = endpoint, asgi, door
        self._active, self._batcher, self._metrics = service.active, service.batcher, service.metrics
        self.max_bytes = min(MAX_SMALL_BYTES, door.bodies.limit)
        self._writers = {secure: ResponseWriter(secure=secure) for secure in (False, True)}

    def accept(
        self, url: bytes, fields: list[Header], headers: dict[bytes, bytes], *, keep_alive: bool
    ) -> ScoreHead | None:
        """Accept the head of a POST that may be answered directly; else return None."""
        path, _, query = url.partition(b"?")
        if path != PATH or len(headers) != len(fields) or b"#" in query:
            return None
        length = read_length(headers)
        if (
            length is None
            or length > self.max_bytes
            or any(name in headers for name in NOT_DIRECT)
            or get_media_type(headers) not in JSON_TYPES
            or not self._door.accepts_host(headers.get(b"host"))
        ):
            return None
        try:
            return ScoreHead(fields, headers, query, read_options(query), keep_alive)
        except Refusal:
            return None

    def submit(self, call: DirectCall) -> bool:
        """Add a request with a complete body to the next batch; return False if ASGI must answer it."""
        call.begun = time.perf_counter()
        call.arrived_us = self._active.clock()
        try:
            call.asked_by = self._door.authorize(call, "score")
        except Refusal:
            return False
        if call.asked_by.offices is not None:
            return False
        self._batcher.add(self._read_or_hand_on, call, partial(self._answer, call))
        return True

    def _read_or_hand_on(self, calls: Sequence[DirectCall]) -> list[ScoreRequest | None]:
        """Read the requests of calls, look up their names together, and count them; hand on what ASGI must answer."""
        begun = time.perf_counter()
        requests = [self._read(call) for call in calls]
        names = iter(self._find_names([request for request in requests if request is not None]))
        for place, (call, request) in enumerate(zip(calls, requests, strict=True)):
            name = next(names) if request is not None else None
            if request is None or name is None or not _spend(call):
                call.connection.hand_on(call)
                requests[place] = None
            else:
                requests[place] = request.with_name(name)
        seconds = (time.perf_counter() - begun) / len(calls)
        for call in calls:
            call.read_seconds = seconds
        return requests

    def _read(self, call: DirectCall) -> ScoreRequest | None:
        """Check a body; return None if ASGI must answer it: it finds the same error, and reports it."""
        try:
            found = self._endpoint.read(call.body)
            if isinstance(found, list):
                return None
            request = build_request(found, call.arrived_us, call.asked_by, call.head.options)
        except Exception:
            return None
        call.c = found
        return None if isinstance(request, list) else request

    def _find_names(self, requests: Sequence[ScoreRequest]) -> Sequence[str | None]:
        """Find the names of consignments in memory; None for each that ASGI must look up, or for all if the log cannot be written."""
        try:
            return self._active.find_in_memory([request.c.consignment_id for request in requests])
        except Exception:
            return [None] * len(requests)

    def _answer(self, call: DirectCall, result: ScoreResult | Exception) -> None:
        """Answer with a result; errors, and scores for which the log must be read, through ASGI."""
        try:
            if isinstance(result, Exception):
                raise result
            score = self._endpoint.build_score_at_once(call.c, result, call.head.options)
            body = b"" if score is None else self._endpoint.encode(score)
        except Exception as error:
            call.connection.hand_on(call, self._build_refusing_app(call, error))
            return
        if score is None or len(body) >= MIN_COMPRESSED_BYTES:
            call.connection.hand_on(call, self._build_reading_app(call, result))
            return
        connection = call.connection
        response = self._writers[connection.secure].write(
            body, read_request_id(call.headers), connection.default_headers, keep_alive=call.keep_alive
        )
        connection.send(call, response)
        self._metrics.record_answer(
            ENDPOINT_NAME, 200, time.perf_counter() - call.begun, _list_timings(call, result)
        )

    def _build_refusing_app(self, call: DirectCall, error: Exception) -> AsgiApp:
        async def refuse(http: HttpCall) -> int:
            http.caller = call.caller
            raise error

        return self._asgi.build_rest(refuse, call.begun)

    def _build_reading_app(self, call: DirectCall, result: ScoreResult) -> AsgiApp:
        async def answer(http: HttpCall) -> int:
            http.caller = call.caller
            http.timings += _list_timings(call, result)
            score = await self._endpoint.build_score(call.c, result, call.head.options)
            await respond(http, 200, self._endpoint.encode(score))
            return 200

        return self._asgi.build_rest(answer, call.begun)


def _list_timings(call: DirectCall, result: ScoreResult) -> list[tuple[str, float]]:
    timings = [("read", call.read_seconds)]
    return timings if result.group is None else [*timings, ("log", result.group.seconds)]


def _spend(call: DirectCall) -> bool:
    """Count a request against the rate limit of its client; return False if it exceeds it."""
    try:
        call.asked_by.spend(1)
    except Refusal:
        return False
    return True
