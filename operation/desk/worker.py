"""Process that renders pages: reads requests from standard input and writes HTML to standard output, until the input ends.

It only reads the log, and gives way to the service.
"""

import sys
from typing import BinaryIO

from features.indicators.operation_keys import install_keys
from operation.desk.messages import LENGTH_BYTES, PageAnswer, add_length, decode_request, encode_answer
from operation.desk.views.renderer import PageRenderer
from serving.process.logging import configure_logging, format_location, logger
from serving.process.settings import Settings

FAILED = PageAnswer(
    500, b"<!doctype html><html lang=en><title>npsrisk</title><p>This page failed. See the service log.</p>"
)


def read_message(stream: BinaryIO) -> bytes | None:
    """Read a message with its length in front; None at the end of the stream."""
    head = stream.read(LENGTH_BYTES)
    if len(head) < LENGTH_BYTES:
        return None
    length = int.from_bytes(head, "big")
    content = stream.read(length)
    return content if len(content) == length else None


def answer(renderer: PageRenderer, message: bytes) -> PageAnswer:
    """Render the page of a request. A failure is logged without texts of the request, which may contain personal data."""
    try:
        return renderer.render(decode_request(message))
    except Exception as error:
        logger.error("page failed", error=error.__class__.__name__, where=format_location(error))
        return FAILED


def run(source: BinaryIO, target: BinaryIO) -> None:
    """Answer requests until the source ends."""
    settings = read_message(source)
    if settings is None:
        return
    renderer = PageRenderer(Settings.model_validate_json(settings))
    install_keys(renderer.keys)
    while (message := read_message(source)) is not None:
        target.write(add_length(encode_answer(answer(renderer, message))))
        target.flush()
    renderer.close()


def main() -> None:
    """Run until standard input closes, which happens whenever the service ends."""
    configure_logging()
    run(sys.stdin.buffer, sys.stdout.buffer)
