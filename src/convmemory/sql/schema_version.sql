-- The newest migration applied, and the version a release must know to run on it, in the midst of applying them: the first of them
-- makes what installed.sql asks for.
SELECT coalesce(max(version), 0), coalesce(max(compatible_from), 0) FROM {schema}.schema_migrations
