"""Scores of single consignments without an ASGI call: the batch holds the connection, which writes the response.

All else goes on to ASGI before anything has changed: lists, messages, keys that are bound to offices, whatever is refused,
and consignments that must be read from the log. Each check has one definition, which both ways call.
"""

import time
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
        self._batcher.add(partial(self._read_or_hand_on, call), partial(self._answer, call))
        return True

    def _read_or_hand_on(self, call: DirectCall) -> ScoreRequest | None:
        begun = time.perf_counter()
        try:
            request = self._read(call)
        except Exception:
            request = None  # ASGI finds the same error, answers it, and reports it
        if request is None:
            call.connection.hand_on(call)
        call.read_seconds = time.perf_counter() - begun
        return request

    def _read(self, call: DirectCall) -> ScoreRequest | None:
        """Check a body and count it against the rate limit; return None, or raise, if ASGI must answer it."""
        found = self._endpoint.read(call.body)
        if isinstance(found, list):
            return None
        request = build_request(found, call.arrived_us, call.asked_by, call.head.options)
        if isinstance(request, list):
            return None
        name = self._active.find_in_memory(found.consignment_id)
        if name is None:
            return None
        call.asked_by.spend(1)
        call.c = found
        return request.with_name(name)

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
