-- Search that forgives a slip of the pen, and finds a word inside another: made once the setting search_typos is on, where the extension
-- pg_trgm is there. {schema} as in the migrations; {extension} is the schema the extension is in. To take it away again:
-- DROP INDEX messages_by_letters, and alike_v1 as 0001_initial.sql has it. What calls the extension has a body that PostgreSQL knows: so the
-- extension is not dropped from under it, since every append would fail, and may move to another schema.

DROP INDEX CONCURRENTLY IF EXISTS {schema}.messages_by_letters;

-- step
CREATE OR REPLACE FUNCTION {schema}.threes_v1(p_text text) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN {extension}.show_trgm(p_text);

CREATE OR REPLACE FUNCTION {schema}.similar_v1(p_one text, p_other text) RETURNS real LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN {extension}.similarity(p_one, p_other);

CREATE OR REPLACE FUNCTION {schema}.has_similar_v1(p_word text, p_text text) RETURNS real LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN {extension}.strict_word_similarity(p_word, p_text);

-- The threes of letters of a text's first 5,000 characters, each with its owner's six characters in front, as words_v1 has them: looking
-- for some touches one user's messages alone.
CREATE OR REPLACE FUNCTION {schema}.letters_v1(p_words_of text, p_text text) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN (SELECT pg_catalog.array_agg(pg_catalog.concat(pg_catalog.left(p_words_of, 6), t.three))
        FROM pg_catalog.unnest({extension}.show_trgm(pg_catalog.left(p_text, 5000))) AS t (three));

-- step
CREATE INDEX CONCURRENTLY messages_by_letters ON {schema}.messages USING gin ({schema}.letters_v1(words_of, content))
WITH (fastupdate = off) WHERE words_of IS NOT NULL;

-- step
-- Find messages of one user that have p_word inside another word, or, from five letters on, a word like it: four in ten of their threes are
-- the same, or they have the same letters in another order. A word of less than three letters is like none.
CREATE OR REPLACE FUNCTION {schema}.alike_v1(p_user text, p_configs text[], p_word text)
RETURNS TABLE (conversation_id uuid, seq bigint, created_at timestamptz)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    sought CONSTANT text := lower(p_word);
    size CONSTANT integer := length(p_word);
    threes text[];
    inner_ones text[];
    letters CONSTANT text[] := ARRAY(SELECT l FROM unnest(string_to_array(sought, NULL)) AS l ORDER BY l);
    least_of_them integer := size - 3; -- what one wrong letter leaves, or two that changed places
BEGIN
    IF size < 3 OR to_regclass('{schema}.messages_by_letters') IS NULL THEN -- it goes with the extension
        RETURN;
    END IF;
    threes := {schema}.threes_v1(p_word);
    inner_ones := ARRAY(SELECT t FROM unnest(threes) AS t WHERE strpos(sought, t) > 0); -- those of other scripts are hashed
    IF cardinality(threes) = 0 THEN
        RETURN;
    END IF;
    IF size < 5 THEN
        least_of_them := size - 2;
        IF cardinality(inner_ones) > 0 THEN
            threes := inner_ones;
            least_of_them := cardinality(threes);
        END IF;
    END IF;
    RETURN QUERY
    WITH candidates AS MATERIALIZED (
        SELECT m.conversation_id, m.seq, count(*) AS threes
        FROM unnest(p_configs) AS k (config) CROSS JOIN unnest(threes) AS t (three)
        CROSS JOIN LATERAL (
            SELECT o.conversation_id, o.seq FROM {schema}.messages AS o
            WHERE o.words_of IS NOT NULL AND {schema}.letters_v1(o.words_of, o.content)
                  @> ARRAY[concat(left({schema}.words_of_v1(p_user, k.config), 6), t.three)] OFFSET 0) AS m
        GROUP BY 1, 2
    )
    SELECT s.conversation_id, s.seq, m.created_at FROM candidates AS s
    CROSS JOIN LATERAL (
        SELECT o.created_at, lower(left(o.content, 5000)) AS said FROM {schema}.messages AS o
        WHERE o.conversation_id = s.conversation_id AND o.seq = s.seq
          AND (SELECT c.user_id = p_user FROM {schema}.conversations AS c WHERE c.conversation_id = s.conversation_id) OFFSET 0) AS m
    WHERE s.threes >= least_of_them AND (strpos(m.said, sought) > 0 OR size >= 5
        AND {schema}.has_similar_v1(sought, m.said) > 0.19 -- sooner told than the words by themselves
        AND EXISTS (
        SELECT FROM regexp_split_to_table(m.said, '[^[:alnum:]]+') AS w (word)
        WHERE length(w.word) BETWEEN size - 2 AND size + 2
          AND ({schema}.similar_v1(w.word, sought) >= 0.4
               OR length(w.word) = size AND {schema}.similar_v1(w.word, sought) > 0.1
                  AND ARRAY(SELECT l FROM unnest(string_to_array(w.word, NULL)) AS l ORDER BY l) = letters)));
END $$;
