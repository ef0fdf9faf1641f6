-- Let this transaction take as long as it needs, and find nothing but the server's own functions, whatever the role, the
-- database or the server is set to. Only the limits this server knows are named: transaction_timeout came with PostgreSQL 17.
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true), (
    SELECT pg_catalog.count(pg_catalog.set_config(name, '0', true)) FROM pg_catalog.pg_settings
    WHERE name IN ('statement_timeout', 'lock_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout'))
