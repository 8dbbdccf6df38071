"""The two ways of a request into the service: the connection that answers scores itself, and ASGI alone.

`NPSRISK_TEST_WAY=asgi` lets every test that goes through a service use ASGI alone; `make asgi` runs those of the HTTP interface so.
"""

import asyncio
import os
from pathlib import Path

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.http.app import App
from serving.http.direct.scores import DirectScores
from serving.http.server import build_server

BY_ASGI = os.environ.get("NPSRISK_TEST_WAY", "connection") == "asgi"
PROGRAM_START = (
    f"import sys; sys.path.append({str(Path(__file__).parent.parent)!r}); import support.ways; "
    if BY_ASGI
    else ""
)
"""Begins the program of a service process; imported there, this module closes the direct way as it does here."""


def close_direct_way() -> None:
    """Send all requests to ASGI, in this process and from now on."""
    DirectScores.accept = lambda *_, **__: None  # type: ignore[method-assign]


if BY_ASGI:
    close_direct_way()


async def listen_in_loop(app: App) -> asyncio.Server:
    """Listen on a free port of 127.0.0.1 with the connections of the service, in the loop that runs."""
    server = build_server(app)
    server.config.load()

    def accept() -> HttpToolsProtocol:
        found: HttpToolsProtocol = server.config.http_protocol_class(  # type: ignore[operator, assignment]
            config=server.config, server_state=server.server_state, app_state={}
        )
        return found

    return await asyncio.get_running_loop().create_server(accept, "127.0.0.1", 0)
