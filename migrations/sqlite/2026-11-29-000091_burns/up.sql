-- A fixed window keeps what was burnt for it in the order of burning: the last unit is the first to be
-- given back. In a rolling window each record and hold keeps what it burnt.
ALTER TABLE counters ADD COLUMN burnt_in_order text NOT NULL DEFAULT '[]';
ALTER TABLE counters ADD COLUMN rolling_burnt bigint NOT NULL DEFAULT 0;
-- Holds that expired up to and including this instant are no longer in `held`.
ALTER TABLE counters ADD COLUMN expired_until bigint;
ALTER TABLE usage_records ADD COLUMN burns text NOT NULL DEFAULT '[]';
ALTER TABLE usage_records ADD COLUMN burnt bigint NOT NULL DEFAULT 0;
ALTER TABLE usage_holds ADD COLUMN burns text NOT NULL DEFAULT '[]';
ALTER TABLE usage_holds ADD COLUMN burnt bigint NOT NULL DEFAULT 0;

-- The order was not stored. Boosts burn by priority, then expiry, then age.
UPDATE counters SET burnt_in_order = (
    SELECT json_group_array(json_array(j.key, j.value)
        ORDER BY b.priority, coalesce(b.expires_at, 9223372036854775807), b.created_at, j.key)
    FROM json_each(counters.burns) AS j LEFT JOIN boosts AS b ON b.id = j.key
) WHERE rolled_until IS NULL AND burns <> '{}';

-- The units that a rolling window burnt are taken to be those of its newest records and holds.
CREATE TABLE burnt_shares AS
WITH burnt AS (
    SELECT c.id AS counter_id, j.key AS boost_id, CAST(j.value AS bigint) AS units,
        sum(CAST(j.value AS bigint)) OVER (
            PARTITION BY c.id ORDER BY b.priority DESC,
            coalesce(b.expires_at, 9223372036854775807) DESC, b.created_at DESC, j.key DESC
        ) AS upto
    FROM counters AS c CROSS JOIN json_each(c.burns) AS j LEFT JOIN boosts AS b ON b.id = j.key
    WHERE c.rolled_until IS NOT NULL AND c.burns <> '{}'
), taken AS (
    SELECT one.*, sum(units) OVER (PARTITION BY counter_id ORDER BY at DESC, id DESC) AS upto
    FROM (
        SELECT r.counter_id, r.id, r.at, r.quantity - r.reversed AS units
        FROM usage_records AS r JOIN counters AS c ON c.id = r.counter_id
        WHERE c.burns <> '{}' AND r.is_rolling AND r.reversed < r.quantity AND r.at > c.rolled_until
        UNION ALL
        SELECT h.counter_id, h.id, h.created_at AS at, h.quantity AS units
        FROM usage_holds AS h JOIN counters AS c ON c.id = h.counter_id
        WHERE c.burns <> '{}' AND c.rolled_until IS NOT NULL AND h.status = 'active'
    ) AS one
)
SELECT t.counter_id, t.id, b.boost_id, b.upto AS place,
    CAST(min(t.upto, b.upto) - max(t.upto - t.units, b.upto - b.units) AS bigint) AS units
FROM taken AS t JOIN burnt AS b ON b.counter_id = t.counter_id
WHERE min(t.upto, b.upto) > max(t.upto - t.units, b.upto - b.units);

UPDATE usage_records SET
    burns = (SELECT json_group_array(json_array(s.boost_id, s.units) ORDER BY s.place DESC) FROM burnt_shares AS s WHERE s.id = usage_records.id),
    burnt = (SELECT CAST(sum(s.units) AS bigint) FROM burnt_shares AS s WHERE s.id = usage_records.id)
WHERE id IN (SELECT id FROM burnt_shares);
UPDATE usage_holds SET
    burns = (SELECT json_group_array(json_array(s.boost_id, s.units) ORDER BY s.place DESC) FROM burnt_shares AS s WHERE s.id = usage_holds.id),
    burnt = (SELECT CAST(sum(s.units) AS bigint) FROM burnt_shares AS s WHERE s.id = usage_holds.id)
WHERE id IN (SELECT id FROM burnt_shares);
UPDATE counters SET rolling_burnt = (
    SELECT CAST(sum(s.units) AS bigint) FROM burnt_shares AS s WHERE s.counter_id = counters.id
) WHERE id IN (SELECT counter_id FROM burnt_shares);
DROP TABLE burnt_shares;
ALTER TABLE counters DROP COLUMN burns;
