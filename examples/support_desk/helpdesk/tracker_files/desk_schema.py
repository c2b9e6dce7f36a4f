"""What the support desk adds to Roundup's classic schema, and who may do what.

Roundup executes this inside the tracker's home, from the last lines of the
home's `schema.py`, each time it opens the database. It therefore imports
nothing but Roundup and must stay a file of its own.
"""

from typing import Any

from roundup import hyperdb  # pyright: ignore[reportMissingTypeStubs]

STATUSES = ("new", "open", "draft ready", "answered", "escalated", "closed")


def extend(db: Any) -> None:
    """Add the desk's properties and roles to an opened database."""
    _add_properties(db)
    _add_payments(db)
    _define_intake(db)
    _define_agent(db)
    _define_queue(db)


def fill(db: Any, admin_password: Any, admin_address: str) -> None:
    """Create the statuses and the two users every tracker needs. Runs once."""
    for order, name in enumerate(STATUSES, start=1):
        db.status.create(name=name, order=order)
    db.user.create(username="admin", password=admin_password, address=admin_address, roles="Admin")
    db.user.create(username="anonymous", roles="Anonymous")


def _add_properties(db: Any) -> None:
    # `reference` is the class's key: Roundup refuses a second issue with the
    # same one, which is what makes opening an issue safe to repeat.
    _add(db.issue, "reference", hyperdb.String())
    _add(db.issue, "customer", hyperdb.Link("user"))
    _add(db.issue, "follow_up_of", hyperdb.Link("issue"))
    _add(db.issue, "opening", hyperdb.String())
    db.issue.setkey("reference")
    db.issue.setlabelprop("title")
    # `effect_key` is no key of the class: Roundup takes a second message with
    # the same one, so a doubled reply would be there for everyone to see.
    _add(db.msg, "issue", hyperdb.Link("issue"))
    _add(db.msg, "effect_key", hyperdb.String())
    _add(db.msg, "draft", hyperdb.Boolean())


def _add_payments(db: Any) -> None:
    """What customers have paid, and from which account: the directory that refunds rely on."""
    new_class: Any = db.keyword.__class__
    new_class(
        db,
        "purchase",
        number=hyperdb.String(),
        customer=hyperdb.Link("user"),
        account=hyperdb.String(),
        cents=hyperdb.Integer(),
    ).setkey("number")


def _add(item_class: Any, name: str, kind: Any) -> None:
    # `addprop` alone leaves a property that does not know its own name.
    kind.register(item_class, name)
    item_class.addprop(**{name: kind})


def _define_agent(db: Any) -> None:
    role = _role(db, "Agent", "Works on tickets through the REST interface")
    for class_name in ("issue", "msg"):
        for permission in ("View", "Create"):
            db.security.addPermissionToRole(role, permission, class_name)
    db.security.addPermissionToRole(role, "View", "purchase")
    _grant(db, role, "Edit", "issue", ("keyword", "assignedto", "status"))
    _grant(db, role, "Edit", "msg", ("draft",))
    _grant_lookups(db, role)


def _define_intake(db: Any) -> None:
    role = _role(db, "Intake", "Files what customers write")
    for permission in ("View", "Create"):
        db.security.addPermissionToRole(role, permission, "issue")
    _grant_lookups(db, role)


def _define_queue(db: Any) -> None:
    _role(db, "Queue", "A team that tickets are assigned to; never signs in")
    _role(db, "Customer", "Writes to the desk; never signs in")


def _role(db: Any, name: str, description: str) -> str:
    db.security.addRole(name=name, description=description)
    if name in ("Agent", "Intake"):
        # Roundup asks for Web Access wherever a password is checked.
        for access in ("Web Access", "Rest Access"):
            db.security.addPermissionToRole(name, access)
    return name


def _grant_lookups(db: Any, role: str) -> None:
    for class_name in ("keyword", "status", "priority"):
        db.security.addPermissionToRole(role, "View", class_name)
    _grant(db, role, "View", "user", ("id", "username"))


def _grant(
    db: Any, role: str, permission: str, class_name: str, properties: tuple[str, ...]
) -> None:
    granted = db.security.addPermission(name=permission, klass=class_name, properties=properties)
    db.security.addPermissionToRole(role, granted)
