DROP INDEX boosts_burnt_out;
