-- Behind a pooler: what goes before a statement, in the same message, with COMMIT behind it. One round trip, one transaction.
-- statement_timeout, lock_timeout: milliseconds.
-- Returns two results, neither of use. After an error the transaction is to be rolled back.
BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE;
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true),
       pg_catalog.set_config('statement_timeout', %(statement_timeout)s, true),
       pg_catalog.set_config('lock_timeout', %(lock_timeout)s, true),
       pg_catalog.set_config('array_nulls', 'on', true),
       pg_catalog.set_config('extra_float_digits', '1', true),
       pg_catalog.set_config('row_security', 'on', true),
       pg_catalog.set_config('plan_cache_mode', 'force_generic_plan', true),
       pg_catalog.set_config('enable_seqscan', 'off', true),
       pg_catalog.set_config('enable_bitmapscan', 'off', true),
       pg_catalog.set_config('enable_sort', 'off', true),
       pg_catalog.set_config('max_parallel_workers_per_gather', '0', true),
       pg_catalog.set_config('jit', 'off', true)
