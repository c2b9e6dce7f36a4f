-- name: create_keys
-- Data keys, one for each owner, wrapped by a key that is not in the file. Without it nothing opens.
CREATE TABLE IF NOT EXISTS vault_keys (
    owner BLOB PRIMARY KEY,
    key_id TEXT NOT NULL,
    wrapped BLOB,
    created_at_us INTEGER NOT NULL,
    erased_at_us INTEGER
) WITHOUT ROWID;

-- name: create_values
-- Values by run and handle. One that is erased keeps its handle only.
CREATE TABLE IF NOT EXISTS vault_values (
    run TEXT NOT NULL,
    handle TEXT NOT NULL,
    owner BLOB NOT NULL,
    digest BLOB,
    sealed BLOB,
    PRIMARY KEY (run, handle)
) WITHOUT ROWID;

-- name: create_values_by_digest
-- The same value has one handle in a run, and is found in all runs when it is erased.
CREATE INDEX IF NOT EXISTS vault_values_by_digest ON vault_values (digest, run);

-- name: create_values_by_owner
-- All that belongs to a person.
CREATE INDEX IF NOT EXISTS vault_values_by_owner ON vault_values (owner);

-- name: key_of
-- An owner's wrapped data key.
SELECT key_id, wrapped, erased_at_us FROM vault_keys WHERE owner = :owner;

-- name: all_keys
-- Every data key that is not erased, to wrap them anew.
SELECT owner, key_id, wrapped FROM vault_keys WHERE wrapped IS NOT NULL ORDER BY owner;

-- name: add_key
-- A new owner's data key; another process may have been first.
INSERT OR IGNORE INTO vault_keys (owner, key_id, wrapped, created_at_us)
VALUES (:owner, :key_id, :wrapped, :now_us);

-- name: change_key
-- The same data key wrapped by another key.
UPDATE vault_keys SET key_id = :key_id, wrapped = :wrapped WHERE owner = :owner;

-- name: values_of
-- A run's handles.
SELECT handle, owner, digest, sealed FROM vault_values WHERE run = :run ORDER BY handle;

-- name: add_value
-- A value under its handle.
INSERT INTO vault_values (run, handle, owner, digest, sealed)
VALUES (:run, :handle, :owner, :digest, :sealed);

-- name: erase_key
-- Without its data key nothing of an owner can be read again.
UPDATE vault_keys SET wrapped = NULL, erased_at_us = :now_us
WHERE owner = :owner AND wrapped IS NOT NULL;

-- name: erase_values_of_owner
-- What belongs to a person.
UPDATE vault_values SET digest = NULL, sealed = NULL
WHERE owner = :owner AND sealed IS NOT NULL;

-- name: erase_values
-- One value, in all runs and whomever it was kept for.
UPDATE vault_values SET digest = NULL, sealed = NULL
WHERE digest = :digest AND sealed IS NOT NULL;
