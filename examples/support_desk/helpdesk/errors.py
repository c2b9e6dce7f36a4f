"""What can go wrong between the desk's client and Roundup.

    HelpDeskError
    ├── NotMadeError            the write was certainly not made
    │   ├── UnreachableError        no connection, so nothing was sent
    │   ├── ChangedError            somebody else has changed the item meanwhile
    │   ├── RefusedError            Roundup answered no
    │   └── ReferenceTakenError     the reference belongs to another ticket
    └── OutcomeUnknownError     the write may have been made

The two branches matter more than the causes: after `NotMadeError` a write may
simply be tried again, or given up where Roundup would say no again; after
`OutcomeUnknownError` somebody has to ask Roundup first.
"""

__all__ = [
    "ChangedError",
    "HelpDeskError",
    "NotMadeError",
    "OutcomeUnknownError",
    "ReferenceTakenError",
    "RefusedError",
    "UnreachableError",
]


class HelpDeskError(Exception):
    """The root of the client's errors."""


class NotMadeError(HelpDeskError):
    """The request changed nothing in Roundup."""


class UnreachableError(NotMadeError):
    """No connection could be made, so nothing was sent."""


class ChangedError(NotMadeError):
    """The item is not in the state that the request names; after reading again it may work."""


class RefusedError(NotMadeError):
    """Roundup answered that it will not do this. `status` is its HTTP status."""

    def __init__(self, request: str, status: int, reason: str) -> None:
        self.request = request
        self.status = status
        self.reason = reason
        super().__init__(f"Roundup refused {request} with {status}: {reason}")


class ReferenceTakenError(NotMadeError):
    """A ticket with this reference is there, and says something else."""

    def __init__(self, reference: str, ticket: str) -> None:
        self.reference = reference
        self.ticket = ticket
        super().__init__(
            f"issue{ticket} holds the reference {reference!r} with other content; "
            "a reference names one ticket, give this one its own"
        )


class OutcomeUnknownError(HelpDeskError):
    """The request was sent and no answer tells whether it was carried out."""
