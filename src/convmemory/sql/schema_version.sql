-- The newest migration applied, in the midst of applying them: the first of them makes what installed.sql asks for.
SELECT coalesce(max(version), 0) FROM {schema}.schema_migrations
