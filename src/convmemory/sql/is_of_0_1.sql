-- Whether the tables of a schema were made by 0.1, which had a version 1 of its own. schema: its name.
SELECT EXISTS (SELECT FROM pg_catalog.pg_tables WHERE schemaname = %(schema)s AND tablename = 'dirty_windows')
