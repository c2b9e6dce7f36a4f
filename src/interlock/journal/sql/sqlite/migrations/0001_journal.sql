-- The journal and its projections, format 1.
-- Streams have a surrogate id, so that the index on (stream, seq) grows at few places and an insert
-- costs the same in a small and in a large database. Events and bodies are clustered by position.

CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Names of streams. The end of a stream is its last event, and nothing else says so.
CREATE TABLE streams (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);

-- What happened, in commit order. Only ever appended.
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    kind TEXT NOT NULL,
    version INTEGER NOT NULL,
    key TEXT NOT NULL,
    at_us INTEGER NOT NULL,
    header TEXT NOT NULL,
    commitment BLOB NOT NULL,
    prev_hash BLOB NOT NULL
);
CREATE UNIQUE INDEX events_by_stream ON events (stream, seq);

-- Payloads apart from their events: erasing one deletes its row.
CREATE TABLE bodies (
    position INTEGER PRIMARY KEY,
    salt BLOB NOT NULL,
    body BLOB NOT NULL
);

-- Projection: runs. `position` is that of the run's first event.
CREATE TABLE runs (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    agent TEXT NOT NULL,
    tenant TEXT NOT NULL,
    state TEXT NOT NULL,
    outcome TEXT NOT NULL,
    priority INTEGER NOT NULL,
    created_at_us INTEGER NOT NULL,
    updated_at_us INTEGER NOT NULL,
    start_after_us INTEGER NOT NULL,
    deadline_at_us INTEGER,
    wake_at_us INTEGER,
    parent TEXT NOT NULL,
    parent_key TEXT NOT NULL,
    close_policy TEXT NOT NULL,
    generation INTEGER NOT NULL,
    generation_seq INTEGER NOT NULL,
    claims INTEGER NOT NULL,
    claim_seq INTEGER NOT NULL,
    worker TEXT NOT NULL,
    code_version TEXT NOT NULL,
    reason TEXT NOT NULL,
    waits TEXT NOT NULL,
    input_position INTEGER NOT NULL,
    result_position INTEGER
);
CREATE INDEX runs_by_state ON runs (state, position);
CREATE INDEX runs_queued ON runs (priority DESC, tenant, agent, start_after_us, position) WHERE state = 'queued';
CREATE INDEX runs_delayed ON runs (start_after_us) WHERE state = 'queued';
CREATE INDEX runs_due ON runs (wake_at_us) WHERE wake_at_us IS NOT NULL;
CREATE INDEX runs_by_parent ON runs (parent, position) WHERE parent <> '';

-- Projection: writes to the world that were intended. `position` is that of the first intent.
CREATE TABLE effects (
    position INTEGER PRIMARY KEY,
    effect_key TEXT NOT NULL UNIQUE,
    run TEXT NOT NULL,
    key TEXT NOT NULL,
    tool TEXT NOT NULL,
    tool_version TEXT NOT NULL,
    recovery TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    reason TEXT NOT NULL,
    intended_at_us INTEGER NOT NULL,
    settled_at_us INTEGER,
    result_position INTEGER
);
CREATE INDEX effects_by_run ON effects (run, position);
CREATE INDEX effects_by_state ON effects (state, position);

-- Projection: tasks for people. `position` is that of the question.
CREATE TABLE inbox (
    position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    run TEXT NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    role TEXT NOT NULL,
    state TEXT NOT NULL,
    opened_at_us INTEGER NOT NULL,
    due_at_us INTEGER,
    decided_by TEXT NOT NULL,
    decided_at_us INTEGER,
    decision_position INTEGER
);
CREATE INDEX inbox_by_state ON inbox (state, position);
CREATE INDEX inbox_open_by_run ON inbox (run) WHERE state = 'open';

-- Projection: messages to runs. `taken_position` is that of the event that took it.
CREATE TABLE mail (
    position INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL UNIQUE,
    run TEXT NOT NULL,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    taken_position INTEGER
);
CREATE INDEX mail_untaken_by_run ON mail (run, position) WHERE taken_position IS NULL;
CREATE INDEX mail_untaken ON mail (position) WHERE taken_position IS NULL;

-- Projection: claims on keys that may be claimed once.
CREATE TABLE unique_keys (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    holder TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) WITHOUT ROWID;

-- Projection: what accounts may spend. All three are in the account's own unit.
CREATE TABLE budgets (
    account TEXT PRIMARY KEY,
    spend_limit INTEGER NOT NULL,
    held INTEGER NOT NULL,
    spent INTEGER NOT NULL
) WITHOUT ROWID;

-- Projection: reservations on accounts; `settled` is what was spent in the end.
CREATE TABLE budget_holds (
    hold TEXT PRIMARY KEY,
    account TEXT NOT NULL,
    amount INTEGER NOT NULL,
    settled INTEGER
) WITHOUT ROWID;

-- Projection: approvals, each bound to one call, each consumed once.
CREATE TABLE approvals (
    approval TEXT PRIMARY KEY,
    call_hash TEXT NOT NULL,
    expires_at_us INTEGER,
    granted_position INTEGER NOT NULL,
    consumed_position INTEGER
) WITHOUT ROWID;
