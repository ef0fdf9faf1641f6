-- Forget marks whose windows were dropped; one that was made again meanwhile stays, and one that another process is
-- forgetting at this moment is left to it: many drain at once after an outage, and must neither wait nor deadlock.
-- conversations uuid[], incarnations, versions: as read_dirty.sql returned them.
DELETE FROM {schema}.dirty_windows AS d
WHERE d.conversation_id IN (
    SELECT m.conversation_id FROM {schema}.dirty_windows AS m
    JOIN unnest(%(conversations)s::uuid[], %(incarnations)s::bigint[], %(versions)s::bigint[])
        AS seen (conversation_id, incarnation, version) USING (conversation_id, incarnation, version)
    FOR UPDATE OF m SKIP LOCKED)
