-- Register caches, unless they are (see register_v1 in migrations/0001_initial.sql). names text[].
SELECT {schema}.register_v1(%(names)s::text[])
