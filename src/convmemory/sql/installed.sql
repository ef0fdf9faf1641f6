-- The newest migration applied, the version a release must know to run on it, the id of this installation, and what its names are
-- rows of; undefined_table when there is no schema. The last two are NULL where somebody has emptied the table.
SELECT (SELECT coalesce(max(version), 0) FROM {schema}.schema_migrations),
       (SELECT coalesce(max(compatible_from), 0) FROM {schema}.schema_migrations),
       (SELECT id::text FROM {schema}.installation), (SELECT names::text FROM {schema}.installation)
