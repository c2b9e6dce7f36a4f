-- name: copy_runs
-- Projection `runs`, for comparison.
SELECT * FROM runs ORDER BY position;

-- name: copy_effects
-- Projection `effects`, for comparison.
SELECT * FROM effects ORDER BY position;

-- name: copy_inbox
-- Projection `inbox`, for comparison.
SELECT * FROM inbox ORDER BY position;

-- name: copy_mail
-- Projection `mail`, for comparison.
SELECT * FROM mail ORDER BY position;

-- name: copy_unique_keys
-- Projection `unique_keys`, for comparison.
SELECT scope, key, holder, position FROM unique_keys ORDER BY position, scope, key;

-- name: copy_budgets
-- Projection `budgets`, for comparison.
SELECT account, spend_limit, held, spent FROM budgets ORDER BY account;

-- name: copy_budget_holds
-- Projection `budget_holds`, for comparison.
SELECT hold, account, amount, settled FROM budget_holds ORDER BY hold;

-- name: copy_approvals
-- Projection `approvals`, for comparison.
SELECT approval, call_hash, expires_at_us, granted_position, consumed_position
FROM approvals ORDER BY approval;
