-- Forget which messages were removed one by one, of some that were so more than 30 days ago: no entry that old is stored. batch: how many.
DELETE FROM {schema}.removed_rows AS r
WHERE r.ctid = ANY (ARRAY (
    SELECT o.ctid FROM {schema}.removed_rows AS o WHERE o.removed_at < now() - interval '30 days' ORDER BY o.removed_at LIMIT %(batch)s))
