-- Take away some of what the delete or clear of a large conversation has left (see sweep_v1 in migrations/0001_initial.sql).
-- conversation uuid, or NULL for any that nobody is at; batch: messages at most.
-- Returns whether more of it is left.
SELECT {schema}.sweep_v1(%(conversation)s::uuid, %(batch)s)
