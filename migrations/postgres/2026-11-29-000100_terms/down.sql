-- An older program bills a subscription from here on as if its plan had never changed.
DROP INDEX subscriptions_by_due;
DROP INDEX subscriptions_by_period_end;
ALTER TABLE subscriptions ADD COLUMN anchor_at bigint NOT NULL DEFAULT 0;
ALTER TABLE subscriptions ADD COLUMN plan_changes text NOT NULL DEFAULT '[]';
ALTER TABLE subscriptions ADD COLUMN billed_quantity bigint;
UPDATE subscriptions SET anchor_at = coalesce(settled_anchor, trial_end, start_at),
    billed_quantity = CASE WHEN billed_until >= current_period_start THEN quantity END;
UPDATE subscriptions SET current_period_start = start_at, current_period_end = start_at + 86400000000
    WHERE current_period_start IS NULL;
ALTER TABLE subscriptions DROP COLUMN reached_at;
ALTER TABLE subscriptions DROP COLUMN due_at;
ALTER TABLE subscriptions DROP COLUMN billed_until;
ALTER TABLE subscriptions DROP COLUMN settled_at;
ALTER TABLE subscriptions DROP COLUMN settled_anchor;
ALTER TABLE subscriptions DROP COLUMN settled_term;
ALTER TABLE subscriptions DROP COLUMN had_draft;
ALTER TABLE subscriptions
    ALTER COLUMN current_period_start SET NOT NULL,
    ALTER COLUMN current_period_end SET NOT NULL,
    ALTER COLUMN anchor_at DROP DEFAULT,
    ALTER COLUMN plan_changes DROP DEFAULT;
CREATE INDEX subscriptions_by_period ON subscriptions (current_period_end, id)
    WHERE status <> 'canceled' AND deleted_at IS NULL;
CREATE INDEX subscriptions_by_period_end ON subscriptions (current_period_end, id);
DROP TABLE subscription_terms;
DROP INDEX invoices_by_charge;
ALTER TABLE invoices DROP COLUMN balance_applied;
ALTER TABLE invoices DROP COLUMN charged_until;
DROP INDEX transfers_by_invoice;
ALTER TABLE transfers DROP COLUMN invoice_id;
ALTER TABLE transfers DROP COLUMN invoice_cause;
DROP INDEX ledger_accounts_by_workspace;
CREATE INDEX ledger_accounts_by_workspace ON ledger_accounts (workspace_id);
