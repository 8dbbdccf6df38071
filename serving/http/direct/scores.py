"""Scores of single consignments without an ASGI call: the batch holds the connection, which writes the response.

All else goes on to ASGI before anything has changed: lists, messages, keys that are bound to offices, whatever is refused,
and consignments that must be read from the log. Each check has one definition, which both ways call.
"""

import time
from functools import partial

from serving.http.asgi import AsgiApp, AsgiEndpoint, HttpCall, read_request_id, respond
from serving.http.direct.call import DirectCall
from serving.http.direct.response import ResponseWriter
from serving.http.protocol.compression import MIN_COMPRESSED_BYTES
from serving.http.requests import JSON_TYPES, MAX_SMALL_BYTES, Door, get_media_type
from serving.http.scores import (
    ENDPOINT_NAME,
    SCORES_PATH,
    ScoresEndpoint,
    build_request,
    read_options,
)
from serving.scoring.scorer import ScoreRequest, ScoreResult
from serving.service import Service

PATH = SCORES_PATH.encode()
NOT_DIRECT = (b"content-encoding", b"transfer-encoding")
"""Headers of bodies that only the ASGI way reads."""
MAX_LENGTH_DIGITS = 9


class DirectScores:
    """The direct way of `POST /v1/scores`.

    Parameters
    ----------
    endpoint : ScoresEndpoint
    asgi : AsgiEndpoint
        The same endpoint in ASGI, which answers errors.
    door : Door
    service : Service
    """

    def __init__(self, endpoint: ScoresEndpoint, asgi: AsgiEndpoint, door: Door, service: Service) -> None:
        self._endpoint, self._asgi, self._door = endpoint, asgi, door
        self._active, self._batcher, self._metrics = service.active, service.batcher, service.metrics
        self._max_bytes = min(MAX_SMALL_BYTES, door.bodies.limit)
        self._writers = {scheme: ResponseWriter(secure=scheme == "https") for scheme in ("http", "https")}

    def accepts(self, path: bytes, headers: dict[bytes, bytes]) -> bool:
        """Check whether a POST has the head of a request that may be answered directly."""
        length = headers.get(b"content-length", b"")
        return (
            path == PATH
            and length.isdigit()
            and len(length) <= MAX_LENGTH_DIGITS
            and int(length) <= self._max_bytes
            and not any(name in headers for name in NOT_DIRECT)
            and get_media_type(headers) in JSON_TYPES
            and self._door.accepts_host(headers.get(b"host"))
        )

    def submit(self, call: DirectCall) -> bool:
        """Add a request with a complete body to the next batch; return False if nothing was done and ASGI must answer it."""
        call.begun = time.perf_counter()
        try:
            request = self._read(call)
        except Exception:
            return False  # ASGI finds the same error, answers it, and reports it
        if request is None:
            return False
        call.read_seconds = time.perf_counter() - call.begun
        self._batcher.add(request, partial(self.answer, call))
        return True

    def _read(self, call: DirectCall) -> ScoreRequest | None:
        """Check a request and count it against the rate limit; return None, or raise, if ASGI must answer it."""
        caller = self._door.authorize(call, "score")
        call.options = options = read_options(call)
        if caller.offices is not None:
            return None
        found = self._endpoint.read(call.body)
        if isinstance(found, list):
            return None
        request = build_request(found, self._active.clock(), caller, options)
        if isinstance(request, list) or not self._active.has_in_memory(found.consignment_id):
            return None
        caller.spend(1)
        call.c = found
        return request

    def answer(self, call: DirectCall, result: ScoreResult | Exception) -> None:
        """Answer with a result; errors, and scores for which the log must be read, through ASGI."""
        try:
            if isinstance(result, Exception):
                raise result
            score = self._endpoint.build_score_at_once(call.c, result, call.options)
            body = b"" if score is None else self._endpoint.encode(score)
        except Exception as error:
            call.connection.hand_on(call, self._build_refusing_app(call, error))
            return
        if score is None or len(body) >= MIN_COMPRESSED_BYTES:
            call.connection.hand_on(call, self._build_reading_app(call, result))
            return
        connection = call.connection
        response = self._writers[call.scope["scheme"]].write(
            body,
            read_request_id(call.headers),
            connection.default_headers,
            keep_alive=call.keep_alive,
        )
        connection.send(call, response)
        self._metrics.record_answer(
            ENDPOINT_NAME, 200, time.perf_counter() - call.begun, self._list_timings(call, result)
        )

    def _build_refusing_app(self, call: DirectCall, error: Exception) -> AsgiApp:
        async def refuse(http: HttpCall) -> int:
            http.caller = call.caller
            raise error

        return self._asgi.build_rest(refuse, call.begun)

    def _build_reading_app(self, call: DirectCall, result: ScoreResult) -> AsgiApp:
        async def answer(http: HttpCall) -> int:
            http.caller = call.caller
            http.timings += self._list_timings(call, result)
            score = await self._endpoint.build_score(call.c, result, call.options)
            await respond(http, 200, self._endpoint.encode(score))
            return 200

        return self._asgi.build_rest(answer, call.begun)

    @staticmethod
    def _list_timings(call: DirectCall, result: ScoreResult) -> list[tuple[str, float]]:
        timings = [("read", call.read_seconds)]
        return timings if result.group is None else [*timings, ("log", result.group.seconds)]
