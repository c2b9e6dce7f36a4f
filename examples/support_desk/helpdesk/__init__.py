"""A real help desk to practise on: Roundup, its process, and a typed client."""

from .desk import HelpDesk
from .errors import (
    ChangedError,
    HelpDeskError,
    NotMadeError,
    OutcomeUnknownError,
    ReferenceTakenError,
    RefusedError,
    UnreachableError,
)
from .process import RunningHelpDesk, address_of, ensure_running, find_running
from .records import Message, Purchase, Ticket
from .tally import Tally, TicketCount, count_actions
from .tracker import Account, TrackerError, read_account

__all__ = [
    "Account",
    "ChangedError",
    "HelpDesk",
    "HelpDeskError",
    "Message",
    "NotMadeError",
    "OutcomeUnknownError",
    "Purchase",
    "ReferenceTakenError",
    "RefusedError",
    "RunningHelpDesk",
    "Tally",
    "Ticket",
    "TicketCount",
    "TrackerError",
    "UnreachableError",
    "address_of",
    "count_actions",
    "ensure_running",
    "find_running",
    "read_account",
]
