"""`python -m examples.support_desk.refunds serve|stop --home DIRECTORY`."""

import sys

from examples.support_desk.helpdesk.__main__ import main_of

from .server import serve

if __name__ == "__main__":
    sys.exit(main_of("refunds", "the refund service", serve))
