DROP TABLE entitlement_log;
DROP TABLE usage_holds;
DROP TABLE usage_records;
DROP TABLE counters;
DROP TABLE boosts;
DROP TABLE assignments;
DROP TABLE packages;
DROP TABLE features;
