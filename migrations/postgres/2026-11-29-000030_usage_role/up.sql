-- API keys may have the role `usage`.
ALTER TABLE api_keys DROP CONSTRAINT api_keys_role_check;
ALTER TABLE api_keys ADD CONSTRAINT api_keys_role_check
    CHECK (role = 'viewer' OR role = 'usage' OR role = 'agent' OR role = 'admin');
