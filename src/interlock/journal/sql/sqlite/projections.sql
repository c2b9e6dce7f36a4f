-- name: run_queued
-- A run exists and waits to be started; its deadline wakes it even there.
INSERT INTO runs (
    position, id, agent, tenant, state, outcome, priority, created_at_us, updated_at_us,
    start_after_us, deadline_at_us, wake_at_us, parent, parent_key, close_policy, generation,
    generation_seq, claims, claim_seq, worker, code_version, reason, waits, input_position,
    result_position
) VALUES (
    :position, :stream, :agent, :tenant, 'queued', '', :priority, :at_us, :at_us,
    :start_after_us, :deadline_at_us, :deadline_at_us, :parent, :parent_key, :close_policy, 1,
    :seq, 0, 0, '', :code_version, '', '[]', :position, NULL
) ON CONFLICT DO NOTHING;

-- name: run_started
-- A run exists and is executed at once: as run_queued and run_claimed, in one.
INSERT INTO runs (
    position, id, agent, tenant, state, outcome, priority, created_at_us, updated_at_us,
    start_after_us, deadline_at_us, wake_at_us, parent, parent_key, close_policy, generation,
    generation_seq, claims, claim_seq, worker, code_version, reason, waits, input_position,
    result_position
) VALUES (
    :position, :stream, :agent, :tenant, 'running', '', :priority, :at_us, :at_us,
    :start_after_us, :deadline_at_us, NULL, :parent, :parent_key, :close_policy, 1,
    :seq, :claim, :claim_seq, :worker, :code_version, '', '[]', :position, NULL
) ON CONFLICT DO NOTHING;

-- name: run_claimed
-- A worker executes the run.
UPDATE runs SET
    state = 'running', worker = :worker, claims = :claim, claim_seq = :seq, wake_at_us = NULL,
    waits = '[]', updated_at_us = :at_us
WHERE id = :stream;

-- name: run_suspended
-- The run waits and nobody executes it.
UPDATE runs SET
    state = 'waiting', wake_at_us = :wake_at_us, waits = :waits, worker = '',
    updated_at_us = :at_us
WHERE id = :stream;

-- name: run_ended
-- The run is completed, failed or cancelled.
UPDATE runs SET
    state = :state, outcome = CASE WHEN :outcome = '' THEN outcome ELSE :outcome END,
    reason = :reason, result_position = :position, wake_at_us = NULL, waits = '[]', worker = '',
    updated_at_us = :at_us
WHERE id = :stream;

-- name: run_parked
-- The run needs an operator. Its deadline wakes it even there, and so does a request to cancel it
-- that came while it was executing and was not taken.
UPDATE runs SET
    state = 'parked', reason = :reason, result_position = :position, worker = '',
    wake_at_us = CASE WHEN EXISTS (
        SELECT 1 FROM mail
        WHERE run = :stream AND kind = 'cancel' AND taken_position IS NULL
    ) THEN 0 ELSE deadline_at_us END,
    updated_at_us = :at_us
WHERE id = :stream;

-- name: run_retried
-- An operator lets the run try again, or its executor lets go of it; as for any queued run, its
-- deadline wakes it.
UPDATE runs SET
    state = 'queued', worker = '', waits = '[]', start_after_us = :at_us, claims = 0, reason = '',
    wake_at_us = deadline_at_us, updated_at_us = :at_us
WHERE id = :stream;

-- name: run_continued
-- The run begins a new generation with a new input; as for any queued run, its deadline wakes it.
UPDATE runs SET
    state = 'queued', generation = :generation, generation_seq = :seq, input_position = :position,
    claims = 0, start_after_us = :at_us, worker = '', waits = '[]',
    wake_at_us = deadline_at_us, updated_at_us = :at_us
WHERE id = :stream;

-- name: outcome_set
-- The business result of the run, before its end.
UPDATE runs SET outcome = :outcome, updated_at_us = :at_us WHERE id = :stream;

-- name: withdraw_tasks
-- Nobody needs to answer the open questions of this run any more.
UPDATE inbox SET state = 'withdrawn' WHERE run = :stream AND state = 'open';

-- name: effect_intended
-- A write is about to be sent, for the first time or again.
INSERT INTO effects (
    position, effect_key, run, key, tool, tool_version, recovery, state, attempts, reason,
    intended_at_us, settled_at_us, result_position
) VALUES (
    :position, :effect_key, :stream, :key, :tool, :tool_version, :recovery, 'intended', 1, '',
    :at_us, NULL, NULL
) ON CONFLICT (effect_key) DO UPDATE SET
    state = 'intended', attempts = attempts + 1, reason = '', settled_at_us = NULL,
    result_position = NULL;

-- name: effect_completed
-- The write was made.
UPDATE effects SET
    state = 'completed', reason = '', settled_at_us = :at_us, result_position = :position
WHERE effect_key = :effect_key;

-- name: effect_attempt_failed
-- The last call was certainly not made; an earlier one may have been.
UPDATE effects SET
    state = CASE WHEN :maybe_made THEN 'unknown' ELSE 'failed' END, reason = :reason
WHERE effect_key = :effect_key;

-- name: effect_failed
-- The write was certainly not made.
UPDATE effects SET state = 'failed', reason = :reason, settled_at_us = :at_us
WHERE effect_key = :effect_key;

-- name: effect_unknown
-- Nobody knows whether the write was made.
UPDATE effects SET state = 'unknown', reason = :reason, settled_at_us = NULL
WHERE effect_key = :effect_key;

-- name: effect_resolved
-- Recovery or a person found out whether the write was made.
UPDATE effects SET
    state = CASE WHEN :verdict = 'happened' THEN 'completed' ELSE 'failed' END,
    reason = CASE WHEN :verdict = 'happened' THEN '' ELSE :verdict END,
    settled_at_us = :at_us,
    result_position = CASE WHEN :verdict = 'happened' THEN :position ELSE NULL END
WHERE effect_key = :effect_key;

-- name: task_opened
-- A person is asked.
INSERT INTO inbox (
    position, id, run, key, kind, role, state, opened_at_us, due_at_us, decided_by, decided_at_us,
    decision_position
) VALUES (
    :position, :task, :stream, :key, :kind, :role, 'open', :at_us, :due_at_us, '', NULL, NULL
) ON CONFLICT DO NOTHING;

-- name: task_expired
-- Nobody answered in time.
UPDATE inbox SET state = 'expired' WHERE id = :task AND state = 'open';

-- name: task_withdrawn
-- The answer is not needed any more.
UPDATE inbox SET state = 'withdrawn' WHERE id = :task AND state = 'open';

-- name: task_decided
-- A person answered, by mail.
UPDATE inbox SET
    state = 'decided', decided_by = :by, decided_at_us = :at_us, decision_position = :position
WHERE id = :task AND state = 'open';

-- name: mail_sent
-- A message for a run; a message id counts once.
INSERT INTO mail (position, message_id, run, kind, name, taken_position)
VALUES (:position, :key, :run, :kind, :name, NULL)
ON CONFLICT DO NOTHING;

-- name: mail_wakes
-- News for a run that waits; orders also for one that is queued or parked.
UPDATE runs SET wake_at_us = 0, updated_at_us = :at_us
WHERE id = :run AND (
    (
        state = 'waiting'
        AND :kind IN ('signal', 'decision', 'resolution', 'child', 'budget_raised')
    )
    OR (state IN ('queued', 'waiting', 'parked') AND :kind IN ('cancel', 'retry'))
);

-- name: mail_taken
-- The owner of the run moved the message into it.
UPDATE mail SET taken_position = :position
WHERE message_id = :message_id AND taken_position IS NULL;

-- name: key_claimed
-- A key that may be claimed once.
INSERT INTO unique_keys (scope, key, holder, position)
VALUES (:scope, :unique_key, :stream, :position)
ON CONFLICT DO NOTHING;

-- name: budget_set
-- What an account may spend.
INSERT INTO budgets (account, spend_limit, held, spent) VALUES (:account, :limit, 0, 0)
ON CONFLICT (account) DO UPDATE SET spend_limit = excluded.spend_limit;

-- name: budget_raised
-- More may be spent on an account that was set; the largest integer is the end of it.
UPDATE budgets SET spend_limit = min(spend_limit, 9223372036854775807 - :amount) + :amount
WHERE account = :account;

-- name: hold_counted
-- Count a reservation on its account; before the hold is stored, so that it counts once.
UPDATE budgets SET held = held + :amount
WHERE account = :account AND NOT EXISTS (SELECT 1 FROM budget_holds WHERE hold = :hold);

-- name: hold_stored
-- A reservation; on an account that was never set it is none, now or later.
INSERT INTO budget_holds (hold, account, amount, settled)
SELECT :hold, account, :amount, NULL FROM budgets WHERE account = :account
ON CONFLICT DO NOTHING;

-- name: spend_counted
-- Turn a reservation into what was really spent; before the hold is marked, so that it counts once.
UPDATE budgets SET
    held = held - (SELECT amount FROM budget_holds WHERE hold = :hold),
    spent = spent + :amount
WHERE account = (SELECT account FROM budget_holds WHERE hold = :hold AND settled IS NULL);

-- name: hold_settled
-- A reservation is over.
UPDATE budget_holds SET settled = :amount WHERE hold = :hold AND settled IS NULL;

-- name: approval_granted
-- A person allowed one exact call.
INSERT INTO approvals (approval, call_hash, expires_at_us, granted_position, consumed_position)
VALUES (:approval, :call_hash, :expires_at_us, :position, NULL)
ON CONFLICT DO NOTHING;

-- name: approval_consumed
-- The approved call was intended.
UPDATE approvals SET consumed_position = :position
WHERE approval = :approval AND consumed_position IS NULL;
