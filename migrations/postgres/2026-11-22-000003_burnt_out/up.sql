-- Consumables without a unit left: they are marked as over some weeks after the last one was burnt.
CREATE INDEX boosts_burnt_out ON boosts (updated_at)
    WHERE NOT is_over AND duration = 'consumable' AND consumed >= amount;
