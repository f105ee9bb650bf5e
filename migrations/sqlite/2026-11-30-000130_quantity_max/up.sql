-- The most units of its plan whose price is within what the API can tell, 2^53 - 1. A plan's price never
-- changes once somebody subscribes to it, so that a change of the quantity need not read the plan.
ALTER TABLE subscriptions ADD COLUMN quantity_max bigint NOT NULL DEFAULT 1000000;
UPDATE subscriptions SET quantity_max = 9007199254740991 /
    (SELECT p.amount FROM plans AS p WHERE p.id = subscriptions.plan_id)
    WHERE plan_id IN (SELECT id FROM plans WHERE amount > 9007199254);
