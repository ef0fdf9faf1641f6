-- Let this transaction take as long as it needs, whatever the role, the database or the server is set to.
-- Only the limits this server knows are named: transaction_timeout came with PostgreSQL 17.
SELECT set_config(name, '0', true) FROM pg_settings
WHERE name IN ('statement_timeout', 'lock_timeout', 'transaction_timeout')
