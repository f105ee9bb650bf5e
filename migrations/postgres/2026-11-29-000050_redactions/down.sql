DROP INDEX audits_by_resource;
DROP TABLE redactions;
