-- Which text search configurations the server does not have, or not for whoever asks. names text[], each with its schema unless that is pg_catalog.
SELECT n.name FROM pg_catalog.unnest(%(names)s::text[]) AS n (name)
WHERE NOT EXISTS (
    SELECT FROM pg_catalog.pg_ts_config AS c JOIN pg_catalog.pg_namespace AS s ON s.oid = c.cfgnamespace
    WHERE pg_catalog.concat(s.nspname, '.', c.cfgname) IN (n.name, pg_catalog.concat('pg_catalog.', n.name))
      AND pg_catalog.has_schema_privilege(s.oid, 'USAGE'))
