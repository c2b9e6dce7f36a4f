"""The application of a support desk that is there already, for the `interlock` command.

    SUPPORT_DESK_HOME=… interlock serve --app examples.support_desk.app:app

The variable names the desk's home, that of a demo; absent, it is the demo's default one. Importing
this module starts the home's help desk and refund service unless they run. They go on running
afterwards; `python -m examples.support_desk.helpdesk stop --home …/desk` ends the one, and
`python -m examples.support_desk.refunds stop --home …/refunds` the other.
"""

import os
from pathlib import Path
from typing import Final

from interlock import App
from interlock.tools.masking.vault_keys import KEY_FILE_VARIABLE, KEY_VARIABLE

from .agent import desk_app
from .connection import DeskConnection, RefundConnection
from .decider import NearestExamples
from .handbook import read_handbook
from .helpdesk import ensure_running
from .home import DEFAULT_HOME, HANDBOOK, HOME_VARIABLE, DeskHome, HomeError
from .labelled import read_labelled
from .refunds import ensure_refunds

__all__ = ["app"]


def _app_of(home: DeskHome) -> App:
    orders = home.orders()
    if orders is None:
        raise HomeError(
            f"{home.folder} holds no support desk; run the demo first (make demo), or name the "
            f"home of one with {HOME_VARIABLE}"
        )
    ensure_running(home.desk)
    ensure_refunds(home.refunds)
    if KEY_VARIABLE not in os.environ:
        os.environ.setdefault(KEY_FILE_VARIABLE, str(home.vault_key()))
    return desk_app(
        DeskConnection(home.desk, "agent"),
        NearestExamples(read_labelled(Path(orders.train))),
        read_handbook(HANDBOOK),
        refunds=RefundConnection(home.refunds),
        store=home.store,
        floor=orders.floor,
        model=orders.model,
    )


app: Final = _app_of(DeskHome(Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME)))
