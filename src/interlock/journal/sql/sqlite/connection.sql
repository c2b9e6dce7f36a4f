-- name: journal_mode
-- Which journal mode the file is in.
PRAGMA journal_mode;

-- name: use_wal
-- Readers never block the writer and the writer never blocks readers. Stored in the file.
PRAGMA journal_mode = WAL;

-- name: synchronous_full
-- A commit returns only when the write-ahead log is on disk.
PRAGMA synchronous = FULL;

-- name: synchronous_off
-- For simulations only: a power cut loses commits.
PRAGMA synchronous = OFF;

-- name: busy_wait
-- How long a statement waits for a lock that another process holds.
PRAGMA busy_timeout = {milliseconds};

-- name: cache_size
-- Page cache in KiB (negative means KiB).
PRAGMA cache_size = -16384;

-- name: checkpoint_pages
-- Copy the write-ahead log into the database after this many pages.
PRAGMA wal_autocheckpoint = 4000;

-- name: secure_delete
-- Overwrite deleted content with zeros: an erased body must not survive in a free page.
PRAGMA secure_delete = ON;

-- name: reader_only
-- The reading connection cannot write by mistake.
PRAGMA query_only = ON;

-- name: application_id
-- Which program the file says it belongs to.
PRAGMA application_id;

-- name: mark_application
-- "ILCK": the file is an Interlock journal.
PRAGMA application_id = 1229734731;

-- name: table_names
-- The tables of the file.
SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name;

-- name: format_version
-- The number of the last migration that ran.
SELECT CAST(value AS INTEGER) FROM meta WHERE name = 'format';

-- name: set_meta
-- Store one fact about the database.
INSERT INTO meta (name, value) VALUES (:name, :value)
ON CONFLICT (name) DO UPDATE SET value = excluded.value;

-- name: begin_write
-- Take the write lock at once, so that judging and writing see one state.
BEGIN IMMEDIATE;

-- name: begin_read
-- Several statements that see one state.
BEGIN;

-- name: commit
-- End the transaction and make it durable.
COMMIT;

-- name: rollback
-- End the transaction and forget it.
ROLLBACK;

-- name: data_version
-- Differs after another connection has committed.
PRAGMA data_version;

-- name: empty_wal
-- Copy the whole write-ahead log into the database and cut it to zero bytes.
PRAGMA wal_checkpoint(TRUNCATE);

-- name: page_check
-- The database's own check of its pages and indexes; one row saying ok when sound.
PRAGMA integrity_check(100);
