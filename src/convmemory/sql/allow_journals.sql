-- Have writes wait in journals beside the windows, or no more (see allow_journals_v1 in migrations/0001_initial.sql). allowed boolean.
SELECT {schema}.allow_journals_v1(%(allowed)s)
