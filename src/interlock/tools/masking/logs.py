"""Log records without secrets and personal data."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from interlock.tools.masking.mask import mask_text

__all__ = ["MaskedLog", "mask_logs"]

# A filter of a logger sees only what is logged to it, so each has its own.
_LOGGERS: Final = ("interlock", "interlock.http", "interlock.access")
_NO_FORMAT: Final = logging.Formatter()


class MaskedLog(logging.Filter):
    """Masks the message and the traceback of each record, and keeps them all."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the record in place."""
        message = record.getMessage()
        masked = mask_text(message)
        if masked != message:
            record.msg, record.args = masked, ()
        if record.exc_info and record.exc_text is None:
            record.exc_text = mask_text(_NO_FORMAT.formatException(record.exc_info))
        return True


def mask_logs(handlers: Iterable[logging.Handler] = ()) -> None:
    """Mask what Interlock logs, and all that goes through these handlers. Repeatable."""
    for one in (*map(logging.getLogger, _LOGGERS), *handlers):
        if not any(isinstance(each, MaskedLog) for each in one.filters):
            one.addFilter(MaskedLog())
