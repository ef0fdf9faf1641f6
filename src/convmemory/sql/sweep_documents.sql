-- Take away some of the documents that messages have let go of, where no other message has them (see sweep_documents_v1 in
-- migrations/0001_initial.sql). user_id: whose, or NULL for anybody's whom nobody keeps busy; batch: documents at most.
-- Returns how many were taken away, and whether there are more to look at.
SELECT removed, more FROM {schema}.sweep_documents_v1(%(user_id)s::text, %(batch)s)
