"""The process's own log: JSON lines on standard error; no names, addresses or other personal data are among them."""

import sys

import structlog

log_line = structlog.get_logger("npsrisk")


def log_as_json() -> None:
    """Write the process's own log as JSON lines on standard error."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )
