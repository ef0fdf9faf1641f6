-- From here on, wait for no lock longer than this: what waits for an exclusive one holds up all that come after it.
-- lock_timeout: milliseconds.
SELECT pg_catalog.set_config('lock_timeout', %(lock_timeout)s, true)
