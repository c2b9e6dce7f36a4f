"""A refund service to pay people back with: its books, its process, and a typed client."""

from pathlib import Path

from examples.support_desk.helpdesk.process import RunningService, start_or_find

from .client import RefundService
from .ledger import Refund
from .server import read_token

__all__ = ["Refund", "RefundService", "ensure_refunds", "read_token"]


def ensure_refunds(home: Path) -> RunningService:
    """The refund service in `home`: the one that runs, or one started now. Safe to repeat."""
    return start_or_find(home, __name__)
