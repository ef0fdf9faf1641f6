-- Ask for what every statement leans on, if the session is the client's own: role, database and environment may say otherwise.
-- pid: the server's process as the client was told it; a pooler tells another. statement_timeout, lock_timeout: milliseconds.
-- Returns own (whether it is the client's own session, and all was set) and the database's encoding. Everything is written
-- with its schema: this runs before search_path is what it should be.
-- From plan_cache_mode on: every statement here is written for one plan, along an index and in its order. Which one that is must not
-- hang on statistics, which are of yesterday, or of a table that was still empty; and no call pays for making it anew.
SELECT (
    SELECT pg_catalog.count(pg_catalog.set_config(name, value, false))
    FROM (VALUES
        ('search_path', 'pg_catalog, pg_temp'),
        ('DateStyle', 'ISO, MDY'),
        ('IntervalStyle', 'postgres'),
        ('TimeZone', 'UTC'),
        ('bytea_output', 'hex'),
        ('array_nulls', 'on'),
        ('extra_float_digits', '1'),
        ('standard_conforming_strings', 'on'),
        ('row_security', 'on'),
        ('default_transaction_isolation', 'read committed'),
        ('default_transaction_read_only', 'off'),
        ('default_transaction_deferrable', 'off'),
        ('plan_cache_mode', 'force_generic_plan'),
        ('enable_seqscan', 'off'),
        ('enable_bitmapscan', 'off'),
        ('enable_sort', 'off'),
        ('max_parallel_workers_per_gather', '0'),
        ('jit', 'off'),
        ('statement_timeout', %(statement_timeout)s),
        ('lock_timeout', %(lock_timeout)s)) AS wanted (name, value)
    WHERE pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) %(pid)s::pg_catalog.int4
) OPERATOR(pg_catalog.>) 0 AS own, pg_catalog.current_setting('server_encoding') AS encoding
