-- Behind a pooler: ask for what the server reports when it changes. PgBouncer keeps these for each client by that report,
-- and the driver reads times by it. Everything else comes with each statement (frame.sql). Returns nothing of use.
SELECT pg_catalog.set_config('DateStyle', 'ISO, MDY', false), pg_catalog.set_config('TimeZone', 'UTC', false),
       pg_catalog.set_config('standard_conforming_strings', 'on', false)
