"""Structured logs: one JSON object a line on standard error, never with what a user sent.

Call sites log names, counts, statuses and durations. As a second line of defence the processors drop bytes, cut long
text, and reduce exceptions to their type and place: an exception's message may quote its input.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

from cloister.hosting.fault import place_of

LogLevel = Literal["debug", "info", "warning", "error"]
MAXIMUM_TEXT = 300  # characters of one value


def configure(service: str, *, level: str = "info", stream: TextIO = sys.stderr) -> FilteringBoundLogger:
    """Send this process's logs, the standard library's too, to `stream`; returns the service's logger."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,  # the request's id, which `admission` makes
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        fault_without_message,
        without_content,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
            foreign_pre_chain=shared,
        )
    )
    logging.basicConfig(handlers=[handler], level=max(threshold, logging.WARNING), force=True)
    logger: FilteringBoundLogger = structlog.get_logger().bind(service=service)
    return logger


def fault_without_message(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace `exc_info` by `fault`: the exception's type and where it was raised."""
    given = event.pop("exc_info", None)
    error = sys.exc_info()[1] if given is True else given[1] if isinstance(given, tuple) else given
    if isinstance(error, BaseException):
        event["fault"] = place_of(error)
    return event


def without_content(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Bytes by their length, text cut at `MAXIMUM_TEXT`, errors by type and place; names beginning `_` are kept."""
    return {name: value if name.startswith("_") else _harmless(value) for name, value in event.items()}


def _harmless(value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if isinstance(value, BaseException):
        return place_of(value)
    text = str(value)
    return text if len(text) <= MAXIMUM_TEXT else text[:MAXIMUM_TEXT] + "…"
