-- The ground the migrations stand on: the PostgreSQL schema and the list of what was applied to it.
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE IF NOT EXISTS {schema}.schema_migrations (
    version         integer PRIMARY KEY,
    name            text NOT NULL,
    applied_at      timestamptz NOT NULL DEFAULT now(),
    compatible_from integer NOT NULL DEFAULT 1              -- releases that know the schema up to here run on it as well
)
