-- name: head
-- The last event of a stream: what it is hashed from.
SELECT
    e.prev_hash, e.commitment, :stream, e.seq, e.epoch, e.kind, e.version, e.key, e.at_us, e.header
FROM events AS e
WHERE e.stream = (SELECT id FROM streams WHERE name = :stream)
ORDER BY e.seq DESC
LIMIT 1;

-- name: read
-- Events of a stream with their bodies, in order.
SELECT
    :stream, e.seq, e.position, e.epoch, e.kind, e.version, e.key, e.at_us, e.header, e.commitment,
    e.prev_hash, b.body
FROM events AS e
LEFT JOIN bodies AS b ON b.position = e.position
WHERE e.stream = (SELECT id FROM streams WHERE name = :stream) AND e.seq > :after_seq
ORDER BY e.seq
LIMIT :limit;

-- name: scan
-- Events of all streams in commit order, without bodies.
SELECT
    s.name, e.seq, e.position, e.epoch, e.kind, e.version, e.key, e.at_us, e.header, e.commitment,
    e.prev_hash
FROM events AS e
CROSS JOIN streams AS s ON s.id = e.stream
WHERE e.position > :after_position
ORDER BY e.position
LIMIT :limit;

-- name: entry
-- One event with its body.
SELECT
    s.name, e.seq, e.position, e.epoch, e.kind, e.version, e.key, e.at_us, e.header, e.commitment,
    e.prev_hash, b.body
FROM events AS e
JOIN streams AS s ON s.id = e.stream
LEFT JOIN bodies AS b ON b.position = e.position
WHERE e.position = :position;

-- name: run
-- One run.
SELECT
    id, agent, tenant, state, outcome, priority, created_at_us, updated_at_us, start_after_us,
    deadline_at_us, wake_at_us, parent, parent_key, close_policy, generation, generation_seq,
    claims, claim_seq, worker, code_version, reason, waits, input_position, result_position
FROM runs WHERE id = :run;

-- name: runs
-- Runs of all states, newest first.
SELECT
    id, agent, tenant, state, outcome, priority, created_at_us, updated_at_us, start_after_us,
    deadline_at_us, wake_at_us, parent, parent_key, close_policy, generation, generation_seq,
    claims, claim_seq, worker, code_version, reason, waits, input_position, result_position,
    position
FROM runs
WHERE position < coalesce((SELECT position FROM runs WHERE id = :before), :newest)
    AND (:agent = '' OR agent = :agent) AND (:tenant = '' OR tenant = :tenant)
ORDER BY position DESC
LIMIT :limit;

-- name: runs_in_state
-- Runs of one state, newest first.
SELECT
    id, agent, tenant, state, outcome, priority, created_at_us, updated_at_us, start_after_us,
    deadline_at_us, wake_at_us, parent, parent_key, close_policy, generation, generation_seq,
    claims, claim_seq, worker, code_version, reason, waits, input_position, result_position,
    position
FROM runs INDEXED BY runs_by_state
WHERE state = :state
    AND position < coalesce((SELECT position FROM runs WHERE id = :before), :newest)
    AND (:agent = '' OR agent = :agent) AND (:tenant = '' OR tenant = :tenant)
ORDER BY position DESC
LIMIT :limit;

-- name: runs_of_parent
-- Children of a run, newest first; :states is a JSON array, empty for all.
SELECT
    id, agent, tenant, state, outcome, priority, created_at_us, updated_at_us, start_after_us,
    deadline_at_us, wake_at_us, parent, parent_key, close_policy, generation, generation_seq,
    claims, claim_seq, worker, code_version, reason, waits, input_position, result_position,
    position
FROM runs
WHERE parent = :parent AND parent <> ''
    AND position < coalesce((SELECT position FROM runs WHERE id = :before), :newest)
    AND (:agent = '' OR agent = :agent) AND (:tenant = '' OR tenant = :tenant)
    AND (:states = '[]' OR state IN (SELECT value FROM json_each(:states)))
ORDER BY position DESC
LIMIT :limit;

-- name: open_children
-- Children of a run that are not finished, oldest first.
SELECT
    id, agent, tenant, state, outcome, priority, created_at_us, updated_at_us, start_after_us,
    deadline_at_us, wake_at_us, parent, parent_key, close_policy, generation, generation_seq,
    claims, claim_seq, worker, code_version, reason, waits, input_position, result_position
FROM runs
WHERE parent = :parent AND parent <> ''
    AND state NOT IN ('completed', 'failed', 'cancelled')
ORDER BY position;

-- name: run_counts
-- How many runs are in each state.
SELECT state, count(*) FROM runs INDEXED BY runs_by_state GROUP BY state;

-- name: running
-- Runs that the journal has as running, oldest first.
SELECT id FROM runs INDEXED BY runs_by_state WHERE state = 'running' ORDER BY position;

-- name: due
-- Runs in given states that nobody executes and whose time has come, earliest first.
SELECT
    id, agent, tenant, state, outcome, priority, created_at_us, updated_at_us, start_after_us,
    deadline_at_us, wake_at_us, parent, parent_key, close_policy, generation, generation_seq,
    claims, claim_seq, worker, code_version, reason, waits, input_position, result_position
FROM runs INDEXED BY runs_due
WHERE wake_at_us IS NOT NULL AND wake_at_us <= :now_us
    AND state IN (SELECT value FROM json_each(:states))
    AND agent NOT IN (SELECT value FROM json_each(:without_agents))
ORDER BY wake_at_us, position
LIMIT :limit;

-- name: queue_groups
-- The groups that have a run to start: each step jumps to the next group in the index, so the cost
-- is that of the groups and not that of the queued runs.
WITH RECURSIVE found (position) AS (
    SELECT (
        SELECT position FROM runs INDEXED BY runs_queued WHERE state = 'queued'
        ORDER BY priority DESC, tenant, agent, start_after_us, position LIMIT 1
    )
    UNION ALL
    SELECT coalesce(
        (
            SELECT n.position FROM runs AS n INDEXED BY runs_queued
            WHERE n.state = 'queued' AND n.priority = r.priority AND n.tenant = r.tenant
                AND n.agent > r.agent
            ORDER BY n.agent, n.start_after_us, n.position LIMIT 1
        ),
        (
            SELECT n.position FROM runs AS n INDEXED BY runs_queued
            WHERE n.state = 'queued' AND n.priority = r.priority AND n.tenant > r.tenant
            ORDER BY n.tenant, n.agent, n.start_after_us, n.position LIMIT 1
        ),
        (
            SELECT n.position FROM runs AS n INDEXED BY runs_queued
            WHERE n.state = 'queued' AND n.priority < r.priority
            ORDER BY n.priority DESC, n.tenant, n.agent, n.start_after_us, n.position LIMIT 1
        )
    )
    FROM found JOIN runs AS r ON r.position = found.position
)
SELECT r.priority, r.tenant, r.agent
FROM found JOIN runs AS r ON r.position = found.position
WHERE r.start_after_us <= :now_us;

-- name: queued
-- One group's runs that may start now, first come first.
SELECT
    id, agent, tenant, state, outcome, priority, created_at_us, updated_at_us, start_after_us,
    deadline_at_us, wake_at_us, parent, parent_key, close_policy, generation, generation_seq,
    claims, claim_seq, worker, code_version, reason, waits, input_position, result_position
FROM runs INDEXED BY runs_queued
WHERE state = 'queued' AND priority = :priority AND tenant = :tenant AND agent = :agent
    AND start_after_us <= :now_us
ORDER BY start_after_us, position
LIMIT :limit;

-- name: next_wake
-- The earliest later moment at which a run becomes due or may start.
SELECT min(at_us) FROM (
    SELECT min(wake_at_us) AS at_us FROM runs INDEXED BY runs_due
    WHERE wake_at_us IS NOT NULL AND wake_at_us > :now_us
    UNION ALL
    SELECT min(start_after_us) FROM runs INDEXED BY runs_delayed
    WHERE state = 'queued' AND start_after_us > :now_us
);

-- name: mail
-- A run's untaken mail, in order.
SELECT m.position, m.message_id, m.run, m.kind, m.name, e.header, b.body, e.at_us
FROM mail AS m
JOIN events AS e ON e.position = m.position
LEFT JOIN bodies AS b ON b.position = m.position
WHERE m.run = :run AND m.position > :after_position AND m.taken_position IS NULL
ORDER BY m.position;

-- name: mail_since
-- Untaken mail of all runs after a position, in order.
SELECT m.position, m.message_id, m.run, m.kind, m.name, e.header, b.body, e.at_us
FROM mail AS m INDEXED BY mail_untaken
JOIN events AS e ON e.position = m.position
LEFT JOIN bodies AS b ON b.position = m.position
WHERE m.position > :after_position AND m.taken_position IS NULL
ORDER BY m.position
LIMIT :limit;

-- name: inbox_in_state
-- Inbox tasks of one state behind a task, oldest first; :tenant is empty for those of all.
SELECT
    id, run, key, kind, role, state, opened_at_us, due_at_us, decided_by, decided_at_us, position,
    decision_position
FROM inbox INDEXED BY inbox_by_state
WHERE state = :state
    AND position > coalesce((SELECT position FROM inbox WHERE id = :after), 0)
    AND (:tenant = '' OR EXISTS (SELECT 1 FROM runs WHERE runs.id = inbox.run AND runs.tenant = :tenant))
ORDER BY position
LIMIT :limit;

-- name: open_tasks
-- Open inbox tasks of one run, oldest first.
SELECT
    id, run, key, kind, role, state, opened_at_us, due_at_us, decided_by, decided_at_us, position,
    decision_position
FROM inbox INDEXED BY inbox_open_by_run
WHERE run = :run AND state = 'open'
ORDER BY position;

-- name: inbox_task
-- One inbox task.
SELECT
    id, run, key, kind, role, state, opened_at_us, due_at_us, decided_by, decided_at_us, position,
    decision_position
FROM inbox WHERE id = :task;

-- name: effects
-- Effects of all states, newest first; :tenant is empty for those of all.
SELECT
    effect_key, run, key, tool, tool_version, recovery, state, attempts, reason, intended_at_us,
    settled_at_us, position, result_position
FROM effects
WHERE position < coalesce((SELECT position FROM effects WHERE effect_key = :before), :newest)
    AND (:tenant = '' OR EXISTS (SELECT 1 FROM runs WHERE runs.id = effects.run AND runs.tenant = :tenant))
ORDER BY position DESC
LIMIT :limit;

-- name: effects_in_state
-- Effects of one state, newest first; :tenant is empty for those of all.
SELECT
    effect_key, run, key, tool, tool_version, recovery, state, attempts, reason, intended_at_us,
    settled_at_us, position, result_position
FROM effects INDEXED BY effects_by_state
WHERE state = :state
    AND position < coalesce((SELECT position FROM effects WHERE effect_key = :before), :newest)
    AND (:tenant = '' OR EXISTS (SELECT 1 FROM runs WHERE runs.id = effects.run AND runs.tenant = :tenant))
ORDER BY position DESC
LIMIT :limit;

-- name: effects_of_run
-- Effects of one run, newest first; :states is a JSON array, empty for all.
SELECT
    effect_key, run, key, tool, tool_version, recovery, state, attempts, reason, intended_at_us,
    settled_at_us, position, result_position
FROM effects INDEXED BY effects_by_run
WHERE run = :run
    AND position < coalesce((SELECT position FROM effects WHERE effect_key = :before), :newest)
    AND (:states = '[]' OR state IN (SELECT value FROM json_each(:states)))
    AND (:tenant = '' OR EXISTS (SELECT 1 FROM runs WHERE runs.id = effects.run AND runs.tenant = :tenant))
ORDER BY position DESC
LIMIT :limit;

-- name: effect
-- One effect.
SELECT
    effect_key, run, key, tool, tool_version, recovery, state, attempts, reason, intended_at_us,
    settled_at_us, position, result_position
FROM effects WHERE effect_key = :effect_key;

-- name: budgets
-- Accounts whose names begin alike, by name; U+10FFFF ends the range, since no name holds it.
SELECT account, spend_limit, held, spent FROM budgets
WHERE account >= :prefix AND account < :prefix || char(1114111)
ORDER BY account
LIMIT :limit;

-- name: budget
-- One account.
SELECT account, spend_limit, held, spent FROM budgets WHERE account = :account;

-- name: unique_holder
-- Who claimed a key.
SELECT holder FROM unique_keys WHERE scope = :scope AND key = :key;

-- name: records
-- Events of all streams in commit order, as stored, with salts and bodies: what verification reads.
SELECT
    e.position, s.name, e.seq, e.epoch, e.kind, e.version, e.key, e.at_us, e.header, e.commitment,
    e.prev_hash, b.salt, b.body
FROM events AS e
LEFT JOIN streams AS s ON s.id = e.stream
LEFT JOIN bodies AS b ON b.position = e.position
WHERE e.position > :after_position
ORDER BY e.position
LIMIT :limit;

-- name: last_position
-- The position of the journal's last event, 0 when it is empty.
SELECT coalesce(max(position), 0) FROM events;

-- name: changed_heads
-- The last events of the streams that have an event after a position.
SELECT
    e.prev_hash, e.commitment, s.name, e.seq, e.epoch, e.kind, e.version, e.key, e.at_us, e.header
FROM (SELECT DISTINCT stream FROM events WHERE position > :after_position) AS changed
JOIN streams AS s ON s.id = changed.stream
JOIN events AS e
    ON e.stream = s.id AND e.seq = (SELECT max(seq) FROM events WHERE stream = s.id)
ORDER BY s.name;

-- name: bodies_without_event
-- Bodies that no event commits to, at most a few.
SELECT b.position FROM bodies AS b
WHERE NOT EXISTS (SELECT 1 FROM events AS e WHERE e.position = b.position)
ORDER BY b.position
LIMIT 20;
