-- Search by what messages mean: made once the setting search_vectors names a model, where the extension vector (0.7 or newer) is there.
-- {schema} as in the migrations; {extension} is the schema the extension is in. To take it away again: DROP FUNCTION vectors_gone CASCADE,
-- DROP TABLE vectors, embedded, and near_v1 as 0001_initial.sql has it. What calls the extension has a body that PostgreSQL knows, so that
-- the extension may move to another schema.

-- of a time when the extension was there, and was dropped with what is of its types
DROP FUNCTION IF EXISTS {schema}.vectors_gone() CASCADE;
DROP TABLE IF EXISTS {schema}.vectors, {schema}.embedded;

-- A vector belongs to a message as it is: another text, other keys, and it is gone (vectors_gone).
CREATE TABLE {schema}.vectors (
    conversation_id uuid NOT NULL,
    seq             bigint NOT NULL,
    created_at      timestamptz NOT NULL,                   -- the message's
    user_id         text NOT NULL,                          -- where to look for it; whose it is says its conversation
    model           text NOT NULL,                          -- whose vector it is: those of two models cannot be compared
    vector          {extension}.halfvec NOT NULL,
    PRIMARY KEY (conversation_id, seq)
) WITH (toast_tuple_target = 8160); -- beside its row as long as a page holds it: a search reads all of a user's

-- serves near_v1
CREATE INDEX vectors_by_user ON {schema}.vectors (user_id);

ALTER TABLE {schema}.vectors ALTER COLUMN vector SET STORAGE MAIN;

CREATE OR REPLACE FUNCTION {schema}.vector_v1(p_numbers text) RETURNS {extension}.halfvec LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN p_numbers::{extension}.halfvec;

CREATE OR REPLACE FUNCTION {schema}.dimensions_v1(p_one {extension}.halfvec) RETURNS integer LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN {extension}.vector_dims(p_one);

CREATE OR REPLACE FUNCTION {schema}.cosine_v1(p_one {extension}.halfvec, p_other {extension}.halfvec) RETURNS double precision
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN 1 - (p_one OPERATOR({extension}.<=>) p_other);

-- Conversations of which every message has a vector of that model, as they were under that stamp and in that version.
CREATE TABLE {schema}.embedded (
    conversation_id uuid PRIMARY KEY,
    model           text NOT NULL,
    state           text NOT NULL
);

-- What messages meant goes with them, and with what they said, in the same transaction: whoever may delete those need not be granted
-- anything here.
CREATE OR REPLACE FUNCTION {schema}.vectors_gone() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off -- also where it was planned for an empty table
AS $$
DECLARE
    one record;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        DELETE FROM {schema}.vectors;
        DELETE FROM {schema}.embedded;
    ELSIF TG_LEVEL = 'ROW' THEN -- another owner
        UPDATE {schema}.vectors AS v SET user_id = NEW.user_id WHERE v.conversation_id = NEW.conversation_id;
    ELSIF TG_TABLE_NAME = 'conversations' THEN
        DELETE FROM {schema}.embedded AS e WHERE e.conversation_id = ANY (ARRAY(SELECT g.conversation_id FROM gone AS g));
    ELSIF TG_OP = 'DELETE' THEN
        FOR one IN SELECT g.conversation_id, array_agg(g.seq) AS seqs FROM gone AS g GROUP BY g.conversation_id LOOP
            DELETE FROM {schema}.vectors AS v WHERE v.conversation_id = one.conversation_id AND v.seq = ANY (one.seqs);
        END LOOP;
    ELSE
        FOR one IN
            SELECT g.conversation_id, array_agg(g.seq) AS seqs
            FROM gone AS g JOIN came AS c ON c.conversation_id = g.conversation_id AND c.seq = g.seq
            WHERE (g.content, g.keys, g.created_at) IS DISTINCT FROM (c.content, c.keys, c.created_at) GROUP BY g.conversation_id
        LOOP
            DELETE FROM {schema}.vectors AS v WHERE v.conversation_id = one.conversation_id AND v.seq = ANY (one.seqs);
            DELETE FROM {schema}.embedded AS e WHERE e.conversation_id = one.conversation_id;
        END LOOP;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER vectors_gone AFTER DELETE ON {schema}.messages
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION {schema}.vectors_gone();
CREATE TRIGGER vectors_changed AFTER UPDATE ON {schema}.messages
REFERENCING OLD TABLE AS gone NEW TABLE AS came FOR EACH STATEMENT EXECUTE FUNCTION {schema}.vectors_gone();
CREATE TRIGGER vectors_gone AFTER DELETE ON {schema}.conversations
REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION {schema}.vectors_gone();
CREATE TRIGGER vectors_moved AFTER UPDATE OF user_id ON {schema}.conversations
FOR EACH ROW WHEN (OLD.user_id <> NEW.user_id AND NEW.user_id <> '') EXECUTE FUNCTION {schema}.vectors_gone();
CREATE TRIGGER vectors_emptied AFTER TRUNCATE ON {schema}.messages
FOR EACH STATEMENT EXECUTE FUNCTION {schema}.vectors_gone();

-- Which messages of a conversation have no vector of a model yet: p_batch of those behind p_after, at most, whatever their role, if they
-- say something. p_longest: of each so many characters, what else it is found by first. Returns the conversation's state with each,
-- and its mark, by which store_vectors_v1 sees that it says the same still; one row of NULLs but the state where there are no more.
CREATE OR REPLACE FUNCTION {schema}.without_vector_v1(
    p_conversation uuid, p_user text, p_model text, p_after bigint, p_batch integer, p_longest integer
) RETURNS TABLE (state text, seq bigint, mark text, said text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT concat(c.stamp, '/', c.version), m.seq, md5(m.whole), left(m.whole, p_longest)
    FROM {schema}.conversations AS c
    LEFT JOIN LATERAL (
        SELECT o.seq, coalesce(o.keys || E'\n', '') || o.content AS whole FROM {schema}.messages AS o
        WHERE o.conversation_id = c.conversation_id AND o.seq > greatest(c.cleared, p_after) AND o.content ~ '\S'
          AND (SELECT v.model FROM {schema}.vectors AS v
               WHERE v.conversation_id = o.conversation_id AND v.seq = o.seq) IS DISTINCT FROM p_model
        ORDER BY o.conversation_id, o.seq LIMIT p_batch) AS m ON true
    WHERE c.conversation_id = p_conversation AND c.user_id = p_user
    ORDER BY m.seq;
END $$;

-- Keep vectors, as text, of messages that say what they said when these were made: p_marks as without_vector_v1 gave them. p_state is the
-- conversation's when its first message was looked at, if these are the last ones, else NULL. Returns how many were kept; with a minus sign how many
-- dimensions the user's vectors of that model have, where these have others and so are not kept: they cannot be compared. No row when the conversation is not there.
CREATE OR REPLACE FUNCTION {schema}.store_vectors_v1(
    p_conversation uuid, p_user text, p_model text, p_seqs bigint[], p_marks text[], p_vectors text[], p_state text
) RETURNS TABLE (kept bigint)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c {schema}.conversations;
BEGIN
    SELECT * INTO c FROM {schema}.hold_v1(p_conversation, p_user);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT - {schema}.dimensions_v1(v.vector) INTO kept FROM {schema}.vectors AS v WHERE v.user_id = p_user AND v.model = p_model LIMIT 1;
    IF EXISTS (SELECT FROM unnest(p_vectors) AS g (vector) WHERE {schema}.dimensions_v1({schema}.vector_v1(g.vector)) <> - kept) THEN
        RETURN NEXT;
        RETURN;
    END IF;
    INSERT INTO {schema}.vectors AS v (conversation_id, seq, created_at, user_id, model, vector)
    SELECT p_conversation, g.seq, m.created_at, p_user, p_model, {schema}.vector_v1(g.vector)
    FROM unnest(p_seqs, p_marks, p_vectors) AS g (seq, mark, vector)
    CROSS JOIN LATERAL (
        SELECT o.created_at FROM {schema}.messages AS o
        WHERE o.conversation_id = p_conversation AND o.seq = g.seq AND o.seq > c.cleared
          AND md5(coalesce(o.keys || E'\n', '') || o.content) = g.mark OFFSET 0) AS m
    ON CONFLICT (conversation_id, seq) DO UPDATE SET
        created_at = excluded.created_at, user_id = excluded.user_id, model = excluded.model, vector = excluded.vector;
    GET DIAGNOSTICS kept = ROW_COUNT;
    IF concat(c.stamp, '/', c.version) = p_state THEN -- nothing came or changed meanwhile
        INSERT INTO {schema}.embedded AS e (conversation_id, model, state) VALUES (p_conversation, p_model, p_state)
        ON CONFLICT (conversation_id) DO UPDATE SET model = excluded.model, state = excluded.state;
    END IF;
    RETURN NEXT;
END $$;

-- Which conversations may have messages without a vector of a model: the next p_batch behind p_after, of one user or (NULL) of all.
CREATE OR REPLACE FUNCTION {schema}.to_embed_v1(p_user text, p_model text, p_after uuid, p_batch integer)
RETURNS TABLE (conversation_id uuid, user_id text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
BEGIN
    IF p_user IS NOT NULL THEN -- in a statement of its own: it has another plan
        RETURN QUERY
        SELECT c.conversation_id, c.user_id FROM (
            SELECT o.* FROM {schema}.conversations AS o WHERE o.user_id = p_user OFFSET 0) AS c
        LEFT JOIN {schema}.embedded AS e ON e.conversation_id = c.conversation_id AND e.model = p_model
        WHERE c.last_seq > c.gaps AND c.conversation_id > p_after AND e.state IS DISTINCT FROM concat(c.stamp, '/', c.version)
        ORDER BY c.conversation_id LIMIT p_batch;
        RETURN;
    END IF;
    RETURN QUERY
    SELECT c.conversation_id, c.user_id FROM {schema}.conversations AS c
    LEFT JOIN {schema}.embedded AS e ON e.conversation_id = c.conversation_id AND e.model = p_model
    WHERE c.user_id <> '' AND c.last_seq > c.gaps
      AND c.conversation_id > p_after AND e.state IS DISTINCT FROM concat(c.stamp, '/', c.version)
    ORDER BY c.conversation_id LIMIT p_batch;
END $$;

-- The messages of one user that are likest to a vector: all of the user's are compared, and none of anybody else's. The likeness is the
-- cosine, made to run from 0, which is what the user's messages are on average (p_middle, or what is found to be; ten more are taken to have
-- nothing to do with it, since the average of a few says little), to 1: models differ in what they call far. Those above 0, 2,000 at most.
-- (Vectors of other dimensions are not compared, and those of no length point nowhere.)
CREATE OR REPLACE FUNCTION {schema}.likest_v1(p_user text, p_model text, p_vector text, p_middle double precision)
RETURNS TABLE (conversation_id uuid, seq bigint, created_at timestamptz, likeness double precision, middle double precision)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    asked CONSTANT {schema}.vectors.vector%TYPE := {schema}.vector_v1(p_vector);
    size CONSTANT integer := {schema}.dimensions_v1(asked);
BEGIN
    RETURN QUERY
    WITH everything AS MATERIALIZED (
        SELECT v.conversation_id, v.seq, v.created_at, {schema}.cosine_v1(v.vector, asked) AS cosine
        FROM {schema}.vectors AS v WHERE v.user_id = p_user AND v.model = p_model AND {schema}.dimensions_v1(v.vector) = size
    ), compared AS MATERIALIZED (
        SELECT e.* FROM (SELECT DISTINCT o.conversation_id FROM everything AS o) AS d
        CROSS JOIN LATERAL (
            SELECT o.conversation_id, o.cleared, o.last_seq FROM {schema}.conversations AS o
            WHERE o.conversation_id = d.conversation_id AND o.user_id = p_user OFFSET 0) AS c
        JOIN everything AS e ON e.conversation_id = c.conversation_id AND e.seq > c.cleared AND e.seq <= c.last_seq
        WHERE e.cosine <> 'NaN'
    ), average AS MATERIALIZED (
        SELECT coalesce(p_middle, sum(o.cosine) / (count(*) + 10)) AS middle FROM compared AS o
    )
    SELECT o.conversation_id, o.seq, o.created_at, (o.cosine - a.middle) / greatest(1 - a.middle, 0.01), a.middle
    FROM compared AS o CROSS JOIN average AS a
    WHERE o.cosine > a.middle ORDER BY 4 DESC LIMIT 2000;
END $$;

-- The same where the extension is still there.
CREATE OR REPLACE FUNCTION {schema}.near_v1(p_user text, p_model text, p_vector text, p_middle double precision)
RETURNS TABLE (conversation_id uuid, seq bigint, created_at timestamptz, likeness double precision, middle double precision)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF p_vector IS NOT NULL AND EXISTS (
        SELECT FROM pg_attribute AS a WHERE a.attrelid = to_regclass('{schema}.vectors') AND a.attname = 'vector' AND NOT a.attisdropped) THEN
        RETURN QUERY SELECT n.* FROM {schema}.likest_v1(p_user, p_model, p_vector, p_middle) AS n;
    END IF;
END $$;
