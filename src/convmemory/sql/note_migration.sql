-- Note that a migration was applied. version; name; compatible_from: the version a release must know to run on what it made.
INSERT INTO {schema}.schema_migrations (version, name, compatible_from) VALUES (%(version)s, %(name)s, %(compatible_from)s)
