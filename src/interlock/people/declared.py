"""Who holds which role, as the last executor knew it: in the journal, for whoever has no more.

A decision is taken at a door that may be another process than the one that executes, without the
application or while no executor is up. What `people.yaml` said when an executor last started is the
last event of a stream of its own, written when it says something else than before. The executor
still judges each decision by its own file.
"""

from __future__ import annotations

import json
from typing import Final

from interlock.base.codec import canonical
from interlock.journal.event import Draft
from interlock.journal.guard import Append, Commit
from interlock.journal.store import Store
from interlock.people.roles import Roles

__all__ = ["declaration", "declared_roles"]

_STREAM: Final = "people"
_KIND: Final = "people_declared"


def declared_roles(store: Store) -> Roles | None:
    """The roles as an executor last declared them; None where nobody wrote down who holds which."""
    body = _last(store)
    return None if body is None else Roles.model_validate(body)


def declaration(store: Store, roles: Roles | None) -> Commit | None:
    """What an executor that starts has to commit; None when the journal says the same already."""
    now = None if roles is None else roles.model_dump(mode="json", by_alias=True)
    if now == _last(store):
        return None
    draft = Draft(_KIND, "", {}, canonical(now, "the file of people"))
    return Commit((Append(_STREAM, (draft,)),))


def _last(store: Store) -> object:
    head = store.head(_STREAM)
    if head is None:
        return None
    (entry,) = store.read(_STREAM, head.seq - 1, limit=1)
    return json.loads(entry.body or b"null")
