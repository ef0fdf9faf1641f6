-- The newest migration applied; undefined_table when there is no schema.
SELECT coalesce(max(version), 0) FROM {schema}.schema_migrations
