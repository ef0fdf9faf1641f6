-- The newest migration applied, and the id of this installation; undefined_table when there is no schema.
SELECT (SELECT coalesce(max(version), 0) FROM {schema}.schema_migrations), (SELECT id::text FROM {schema}.installation)
