DELETE FROM api_keys WHERE role = 'usage';
ALTER TABLE api_keys DROP CONSTRAINT api_keys_role_check;
ALTER TABLE api_keys ADD CONSTRAINT api_keys_role_check
    CHECK (role = 'viewer' OR role = 'agent' OR role = 'admin');
