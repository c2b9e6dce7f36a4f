"""The application of a support desk that is there already, for the `interlock` command.

    SUPPORT_DESK_HOME=… interlock serve --app examples.support_desk.app:app

The variable names the desk's home, that of a demo; absent, it is the demo's default one. Importing
this module starts the home's help desk unless it runs. It goes on running afterwards; end it with
`python -m examples.support_desk.helpdesk stop --home …/desk`.
"""

import os
from pathlib import Path
from typing import Final

from interlock import App

from .agent import desk_app
from .connection import DeskConnection
from .decider import NearestExamples
from .handbook import read_handbook
from .helpdesk import ensure_running
from .home import DEFAULT_HOME, HANDBOOK, HOME_VARIABLE, DeskHome, HomeError
from .labelled import read_labelled

__all__ = ["app"]


def _app_of(home: DeskHome) -> App:
    orders = home.orders()
    if orders is None:
        raise HomeError(
            f"{home.folder} holds no support desk; run the demo first (make demo), or name the "
            f"home of one with {HOME_VARIABLE}"
        )
    ensure_running(home.desk)
    return desk_app(
        DeskConnection(home.desk, "agent"),
        NearestExamples(read_labelled(Path(orders.train))),
        read_handbook(HANDBOOK),
        store=home.store,
        floor=orders.floor,
        model=orders.model,
    )


app: Final = _app_of(DeskHome(Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME)))
