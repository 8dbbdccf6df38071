"""Process that renders pages. It answers requests over a socket, only reads the log, and gives way to the service."""

import sys
from contextlib import suppress
from multiprocessing.connection import Connection

from features.indicators.operation_keys import install_keys
from operation.desk.messages import PageAnswer, decode_request, encode
from operation.desk.views.renderer import render_page
from operation.desk.views.sources import PageSources
from serving.process.logging import configure_logging, format_location, logger
from serving.process.settings import Settings

FAILED = PageAnswer(
    500, b"<!doctype html><html lang=en><title>npsrisk</title><p>This page failed. See the service log.</p>"
)


def main() -> None:
    """Answer requests until the service closes the connection; a failure is logged without texts of the request."""
    configure_logging()
    with suppress(EOFError, ConnectionError), Connection(sys.stdin.fileno()) as pipe:
        sources = PageSources(Settings.model_validate_json(pipe.recv_bytes()))
        install_keys(sources.keys)
        while True:
            request, answer = decode_request(pipe.recv_bytes()), FAILED
            try:
                answer = render_page(sources, request)
            except Exception as error:
                logger.error("page failed", error=error.__class__.__name__, where=format_location(error))
            pipe.send_bytes(encode(answer))
