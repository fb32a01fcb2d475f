"""Logging of services: lines on standard error, which the supervisor appends to the service's log file.

A line is `<time> <message>: ["key": "value", …]` (contract 1.4): metadata by `extra=fields(key=value)`, keys sorted.
The time, UTC with milliseconds, is on every line of a service, so that `system logs --last` can find its place.
"""

import logging
import os
import sys
import time
from typing import Any

_FIELDS = "container_fields"


def fields(**metadata: object) -> dict[str, Any]:
    """The `extra` that appends metadata to a log line: `log.info("stopping service", extra=fields(service=label))`."""
    return {_FIELDS: metadata}


def setup(*, debug: bool = False, timestamps: bool = True) -> None:
    """Send log records to standard error: debug ones with `debug` or with CONTAINER_DEBUG set to anything."""
    debug = debug or "CONTAINER_DEBUG" in os.environ
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(timestamps=timestamps or debug))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


class LineFormatter(logging.Formatter):
    """Contract 1.4; the lines of a traceback are prefixed too."""

    def __init__(self, *, timestamps: bool) -> None:
        super().__init__()
        self._timestamps = timestamps

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, or as several with a traceback."""
        text = record.getMessage()
        metadata: dict[str, object] = getattr(record, _FIELDS, {})
        if metadata:
            pairs = ", ".join(f'"{key}": "{metadata[key]}"' for key in sorted(metadata))
            text = f"{text}: [{pairs}]"
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        prefix = timestamp(record.created) + " " if self._timestamps else ""
        return "\n".join(prefix + line for line in text.split("\n"))


def timestamp(seconds: float) -> str:
    """`YYYY-MM-DDTHH:MM:SS.mmmZ` of seconds since the epoch."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1000):03d}Z"
