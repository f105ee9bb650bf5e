DROP TABLE secrets;
DROP TABLE locks;
