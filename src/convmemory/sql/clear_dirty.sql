-- Forget marks whose windows were dropped; one that was made again meanwhile stays.
-- conversations uuid[], incarnations, versions: as read_dirty.sql returned them.
DELETE FROM {schema}.dirty_windows AS d
USING unnest(%(conversations)s::uuid[], %(incarnations)s::bigint[], %(versions)s::bigint[])
      AS seen (conversation_id, incarnation, version)
WHERE d.conversation_id = seen.conversation_id AND d.incarnation = seen.incarnation AND d.version = seen.version
