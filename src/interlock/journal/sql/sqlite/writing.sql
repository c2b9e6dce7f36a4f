-- name: load_last_events
-- The last events of the streams that a group appends to; the parameter is a JSON array of names.
SELECT
    s.id, e.prev_hash, e.commitment, s.name, e.seq, e.epoch, e.kind, e.version, e.key, e.at_us,
    e.header
FROM json_each(?) AS wanted
JOIN streams AS s ON s.name = wanted.value
JOIN events AS e
    ON e.stream = s.id AND e.seq = (SELECT max(seq) FROM events WHERE stream = s.id);

-- name: last_event
-- Position and time of the journal's last event.
SELECT position, at_us FROM events ORDER BY position DESC LIMIT 1;

-- name: last_stream
-- The highest surrogate id in use, 0 when there is none.
SELECT coalesce(max(id), 0) FROM streams;

-- name: load_unique
-- Who holds the keys that a group wants; the parameter is a JSON array of [scope, key].
SELECT u.scope, u.key, u.holder
FROM json_each(?) AS wanted
JOIN unique_keys AS u
    ON u.scope = json_extract(wanted.value, '$[0]') AND u.key = json_extract(wanted.value, '$[1]');

-- name: load_run_states
-- The states of the runs that guards of a group ask for; the parameter is a JSON array of ids.
SELECT r.id, r.state FROM json_each(?) AS wanted JOIN runs AS r ON r.id = wanted.value;

-- name: load_messages
-- The messages that guards of a group ask for, and whether they were taken.
SELECT m.message_id, m.run, m.taken_position IS NOT NULL
FROM json_each(?) AS wanted
JOIN mail AS m ON m.message_id = wanted.value;

-- name: load_unread
-- Untaken mail after a position, per run; the parameter is a JSON array of [run, position].
SELECT m.run, m.message_id, m.position
FROM json_each(?) AS wanted
JOIN mail AS m
    ON m.run = json_extract(wanted.value, '$[0]')
    AND m.position > json_extract(wanted.value, '$[1]')
    AND m.taken_position IS NULL;

-- name: load_tasks
-- The inbox tasks that guards of a group ask for; the parameter is a JSON array of ids.
SELECT i.id, i.run, i.state, i.decided_by
FROM json_each(?) AS wanted
JOIN inbox AS i ON i.id = wanted.value;

-- name: load_budgets
-- The accounts that a group reserves on; the parameter is a JSON array.
SELECT b.account, b.spend_limit, b.held, b.spent
FROM json_each(?) AS wanted
JOIN budgets AS b ON b.account = wanted.value;

-- name: load_holds
-- The reservations that a group makes or settles; the parameter is a JSON array.
SELECT h.hold, h.account, h.amount, h.settled IS NOT NULL
FROM json_each(?) AS wanted
JOIN budget_holds AS h ON h.hold = wanted.value;

-- name: load_approvals
-- The approvals that a group consumes; the parameter is a JSON array.
SELECT a.approval, a.call_hash, a.expires_at_us, a.consumed_position IS NOT NULL
FROM json_each(?) AS wanted
JOIN approvals AS a ON a.approval = wanted.value;

-- name: insert_stream
-- A new stream.
INSERT INTO streams (id, name) VALUES (?, ?);

-- name: insert_event
-- One event.
INSERT INTO events
    (position, stream, seq, epoch, kind, version, key, at_us, header, commitment, prev_hash)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: insert_body
-- One body with the salt of its commitment.
INSERT INTO bodies (position, salt, body) VALUES (?, ?, ?);

-- name: delete_body
-- Erase one body and its salt for good; the event and its commitment remain.
DELETE FROM bodies WHERE position = ?;

-- name: event_at
-- What the event at a position is hashed from, to find out whether a commit took place.
SELECT
    e.prev_hash, e.commitment, s.name, e.seq, e.epoch, e.kind, e.version, e.key, e.at_us, e.header
FROM events AS e JOIN streams AS s ON s.id = e.stream
WHERE e.position = :position;

-- name: positions_without_event
-- Which of the positions have no event; the parameter is a JSON array.
SELECT wanted.value FROM json_each(?) AS wanted
WHERE NOT EXISTS (SELECT 1 FROM events WHERE position = wanted.value);

-- name: positions_with_body
-- Which of the positions have a body; the parameter is a JSON array.
SELECT b.position FROM json_each(?) AS wanted JOIN bodies AS b ON b.position = wanted.value
ORDER BY b.position;
