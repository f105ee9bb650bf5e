ALTER TABLE counters ADD COLUMN burns text NOT NULL DEFAULT '{}';
UPDATE counters SET burns = (
    SELECT json_group_object(boost_id, units) FROM (
        SELECT json_extract(j.value, '$[0]') AS boost_id, sum(json_extract(j.value, '$[1]')) AS units FROM json_each(counters.burnt_in_order) AS j GROUP BY 1
    ) AS by_boost
) WHERE burnt_in_order <> '[]';
UPDATE counters SET burns = (
    SELECT json_group_object(boost_id, units) FROM (
        SELECT json_extract(j.value, '$[0]') AS boost_id, sum(json_extract(j.value, '$[1]')) AS units
        FROM (
            SELECT r.burns FROM usage_records AS r
            WHERE r.counter_id = counters.id AND r.burnt > 0 AND r.at > counters.rolled_until
            UNION ALL
            SELECT h.burns FROM usage_holds AS h
            WHERE h.counter_id = counters.id AND h.burnt > 0 AND h.status = 'active'
        ) AS one CROSS JOIN json_each(one.burns) AS j GROUP BY 1
    ) AS by_boost
) WHERE rolling_burnt > 0;
UPDATE counters SET held = held + (
    SELECT CAST(coalesce(sum(h.quantity), 0) AS bigint) FROM usage_holds AS h
    WHERE h.counter_id = counters.id AND h.status = 'active' AND h.expires_at <= counters.expired_until
) WHERE expired_until IS NOT NULL;
ALTER TABLE usage_holds DROP COLUMN burnt;
ALTER TABLE usage_holds DROP COLUMN burns;
ALTER TABLE usage_records DROP COLUMN burnt;
ALTER TABLE usage_records DROP COLUMN burns;
ALTER TABLE counters DROP COLUMN expired_until;
ALTER TABLE counters DROP COLUMN rolling_burnt;
ALTER TABLE counters DROP COLUMN burnt_in_order;
