-- Take away some of what the delete or clear of a large conversation has left (see sweep_v1 in migrations/0001_initial.sql).
-- conversation uuid, or NULL for any that nobody is at; batch: rows at most, of messages and of contexts each.
-- Returns how many contexts were taken away, and whether more of it is left.
SELECT contexts, more FROM {schema}.sweep_v1(%(conversation)s::uuid, %(batch)s)
