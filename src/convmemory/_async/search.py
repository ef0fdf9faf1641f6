"""What was said, found again: by people who search, and by agents that recall. One ranking under both."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

from langchain_core.embeddings import Embeddings

from convmemory._async.embedding import AsyncEmbedding, Progress
from convmemory._async.postgres_store import AsyncPostgresStore
from convmemory.arguments import (
    ConversationRef,
    MessageRef,
    checked_limit,
    checked_roles,
    checked_share,
    joined_keys,
    key_of,
    optional_flag,
    optional_id,
    optional_moment,
    optional_span,
    row_of,
)
from convmemory.errors import InvalidArgument
from convmemory.ids import FIRST, checked_id
from convmemory.models import Page
from convmemory.recall_options import Rerank, Rewrite, checked_hooks, checked_options, counts, within
from convmemory.search_results import Recalled, SearchHit
from convmemory.storage.search_queries import asked, typed
from convmemory.storage.search_rows import FIRST_PAGE, page_of, read_cursor, recalled, reordered
from convmemory.tiers.asking import ahooked
from convmemory.windows.window_size import TokenCounter

if TYPE_CHECKING:
    from convmemory.retriever import RecallRetriever

FLOOR: Final = 0.1
"""Of a question's worth: below it nobody would say that a message has to do with it. On LoCoMo it costs no recall."""
NEAR: Final = 3
"""So many floors like is a message that is recalled, or found, by what it means alone: 0.3, which few of a stranger's messages are."""
RERANKED: Final = 50
"""How many of the best a ``rerank`` puts into another order."""
_STRETCH: Final = 1_000
_BATCH: Final = 1_000
_EVER: Final = datetime.max.replace(tzinfo=UTC)


class AsyncSearch:
    """One user's messages and titles by their words. ``memory.search`` gives it; the setting ``search`` must not be off."""

    def __init__(self, postgres: AsyncPostgresStore, embeddings: Embeddings | None = None) -> None:
        self._postgres = postgres
        self._embedding = AsyncEmbedding(postgres, embeddings)

    async def messages(
        self,
        query: str,
        *,
        user_id: str,
        limit: int = 20,
        cursor: str | None = None,
        match: Literal["all", "any"] = "all",
        roles: Iterable[str] | None = None,
        dept_id: str | None = None,
        archived: bool | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        conversation_id: ConversationRef | None = None,
    ) -> Page[SearchHit]:
        """Messages of a user's conversations, and titles that they or a model gave, that have the words of a query; best first, then newest.

        Words "in quotes" stand side by side, a word with ``-`` before it must not be there, and the last word may go on, as
        people type. A query without a word finds nothing. Pages stay as they were when the first one was read. With ``"any"``, and
        a model of embeddings, messages are found by what they mean as well.

        Args:
            query: What was typed, at most 1,000 characters.
            user_id: Whose conversations.
            limit: 1 to 1,000 hits a page.
            cursor: The ``next_cursor`` of the page before, of the same query.
            match: ``"all"`` words must be there, or ``"any"`` (those in quotes must be all the same).
            roles: Only messages of these, such as ``["human"]`` or ``["user"]``, and no titles.
            dept_id: Only conversations of this department.
            archived: Only those put away, or only those that are not; ``None``: either.
            since: Only what was said at this time or later; a ``timedelta`` is how long ago.
            until: Only what was said before this time.
            conversation_id: Only this one.

        Raises:
            ConfigurationError: The setting ``search`` is off.
        """
        if match not in ("all", "any"):
            raise InvalidArgument("match", f"must be 'all' or 'any', not {match!r:.40}")
        user, size = checked_id("user_id", user_id), checked_limit("limit", limit, 1_000)
        parts, page = typed(query, every=match == "all"), read_cursor(cursor)
        where = await self._where(
            user,
            roles=roles,
            dept_id=dept_id,
            archived=archived,
            since=since,
            until=until,
            within=conversation_id,
        )
        how = {"titles": roles is None, "direct": True, "half_life": None, "floor": 0.0, "around": 0}
        how |= {"limit": size + 1, "marked": True, "near": NEAR * FLOOR}
        vector = await self._embedding.of_query(query) if match == "any" else None
        rows = await self._postgres.search(user, parts, {**where, **how, **page}, vector)
        shown = (page["shown"] or []) if match == "any" else None
        return page_of(rows, size, parts, shown, typos=self._postgres.settings.search_typos)

    async def recall(
        self,
        query: str,
        k: int = 10,
        *,
        user_id: str,
        roles: Iterable[str] | None = None,
        dept_id: str | None = None,
        archived: bool | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        conversation_id: ConversationRef | None = None,
        apart_from: ConversationRef | None = None,
        neighbours: int = 0,
        max_tokens: int | None = None,
        token_counter: TokenCounter | None = None,
        floor: float = FLOOR,
        half_life: timedelta | None = None,
        rewrite: Rewrite | None = None,
        rerank: Rerank | None = None,
    ) -> Recalled:
        """The messages of a user's conversations that answer a question best, those next to the words it has as well.

        Nothing, where nothing has a word of it. How it ranks, and how well, is told under "How search works".

        Args:
            query: A question, or any text.
            k: 1 to 1,000 messages.
            user_id: Whose conversations.
            roles: Only messages of these, such as ``["human"]`` or ``["user"]``.
            dept_id: Only conversations of this department.
            archived: Only those put away, or only those that are not; ``None``: either.
            since: Only what was said at this time or later; a ``timedelta`` is how long ago.
            until: Only what was said before this time.
            conversation_id: Only this one.
            apart_from: Not this one, such as the one that is going on.
            neighbours: 0 to 20 messages to either side come along with each, in ``beside``.
            max_tokens: Stop before there are more tokens than this.
            token_counter: Counts them; without it a token is four characters.
            floor: The least share of the question's worth, 0 to 1; what is below is counted in ``below``.
            half_life: Time in which a message loses half of its score; ``None``: old is as good as new.
            rewrite: Called with the query, and returns what is looked for in its place.
            rerank: Called with the query and the 50 best (or ``k``, if that is more), and returns them in the order it finds better.

        Raises:
            ConfigurationError: The setting ``search`` is off.
        """
        user, size = checked_id("user_id", user_id), checked_limit("k", k, 1_000)
        if neighbours != 0:
            checked_limit("neighbours", neighbours, 20)
        tokens = None if max_tokens is None else checked_limit("max_tokens", max_tokens, 2**31)
        checked_hooks(rewrite=rewrite, rerank=rerank, token_counter=token_counter)
        span = optional_span("half_life", half_life)
        share = checked_share("floor", floor)
        sought = query if rewrite is None else await ahooked(rewrite, query)
        parts = asked(sought, "query" if rewrite is None else "rewrite")
        where = await self._where(
            user,
            roles=roles,
            dept_id=dept_id,
            archived=archived,
            since=since,
            until=until,
            within=conversation_id,
            apart=apart_from,
        )
        how: dict[str, Any] = {"titles": False, "direct": False, "half_life": span, "around": neighbours}
        how |= {"floor": share, "near": NEAR * share, "marked": False}
        how |= {"limit": size if rerank is None else max(size, RERANKED)}
        vector = await self._embedding.of_query(sought)
        rows = await self._postgres.search(user, parts, {**where, **how, **FIRST_PAGE}, vector)
        if rerank is not None:
            rows = reordered(rows, await ahooked(rerank, query, recalled(rows)), size)
        return within(recalled(rows), tokens, counts(token_counter))

    def as_retriever(self, *, user_id: str, k: int = 10, **options: Any) -> RecallRetriever:
        """What ``recall`` finds as documents: a LangChain retriever for one user.

        Args:
            user_id: Whose conversations.
            k: How many messages.
            options: Others of ``recall``, such as ``floor``.
        """
        from convmemory.retriever import RecallRetriever  # noqa: PLC0415 - half a second, and only chains need it

        mine = AsyncUserSearch(self, checked_id("user_id", user_id))
        return RecallRetriever(
            search=mine, options={"k": checked_limit("k", k, 1_000), **checked_options(options)}
        )

    async def set_keys(
        self,
        conversation_id: ConversationRef,
        message_id: MessageRef,
        keys: str | Iterable[str] | None,
        *,
        user_id: str,
    ) -> None:
        """Have a message found by more than its own words: facts in it, a summary, other names for what it is about.

        They take the place of those it had, and are shown to nobody. Other words in the message's place take them away.

        Args:
            conversation_id: A UUID, or a name scoped to the user.
            message_id: Which message.
            keys: At most 5,000 characters, as a text or several; ``None`` for none.
            user_id: The conversation's owner.

        Raises:
            ConversationNotFound: The user has no such conversation.
            MessageNotFound: There is no such message in it.
        """
        key, row = key_of(conversation_id, user_id), row_of(message_id)
        await self._postgres.key_message(key, row, joined_keys(keys))

    async def embed(self, *, user_id: str | None = None, progress: Progress | None = None) -> int:
        """Have the model of embeddings tell what messages mean that it has not seen; how many there were.

        Away from the write path: after a turn for its user, or for everybody now and then, and once when another model is
        named by the setting ``search_vectors``. Until then a message is found by its words. Run it again if it breaks off.

        Args:
            user_id: Whose messages; ``None`` for everybody's, which is an operator's.
            progress: Called with how many there were so far.

        Raises:
            ConfigurationError: There is no model, or the tables for vectors are not there; says what is to be done.
        """
        return await self._embedding.embed(
            None if user_id is None else checked_id("user_id", user_id), progress
        )

    async def index(self, *, progress: Progress | None = None) -> int:
        """Have everybody's messages found as the setting ``search`` says, also those stored before it said so; how many were looked at.

        For operators, once after the setting was changed; "off" takes them out of the index. Small transactions, so that
        nobody waits; run it again if it breaks off.
        """
        looked, after = 0, FIRST
        while True:
            found, last = await self._postgres.walk_conversations(after, _EVER, None, _STRETCH)
            for key in found:
                seq = 0
                while found_there := await self._postgres.index_conversation(key, seq, _BATCH):
                    seq, number = found_there
                    looked += number
                    if progress is not None:
                        progress(looked)
            if last is None:
                return looked
            after = last

    async def _where(
        self,
        user_id: str,
        *,
        roles: Iterable[str] | None,
        dept_id: str | None,
        archived: bool | None,
        since: datetime | timedelta | None,
        until: datetime | timedelta | None,
        within: ConversationRef | None,
        apart: ConversationRef | None = None,
    ) -> dict[str, Any]:
        return {
            "roles": checked_roles("roles", roles),
            "dept_id": optional_id("dept_id", dept_id),
            "archived": optional_flag("archived", archived),
            "since": optional_moment("since", since),
            "until": optional_moment("until", until),
            "within": await self._row(within, user_id),
            "apart": await self._row(apart, user_id),
        }

    async def _row(self, conversation: ConversationRef | None, user_id: str) -> UUID | None:
        if conversation is None:
            return None
        key = key_of(conversation, user_id)
        await self._postgres.settle(key)
        return key.uuid


class AsyncUserSearch:
    """The same for one user, as ``memory.for_user(user_id).search`` gives it."""

    def __init__(self, search: AsyncSearch, user_id: str) -> None:
        self._search = search
        self._user_id = user_id

    async def messages(
        self,
        query: str,
        *,
        limit: int = 20,
        cursor: str | None = None,
        match: Literal["all", "any"] = "all",
        roles: Iterable[str] | None = None,
        dept_id: str | None = None,
        archived: bool | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        conversation_id: ConversationRef | None = None,
    ) -> Page[SearchHit]:
        """Messages and titles of the user that have the words of a query; see ``AsyncSearch.messages``."""
        return await self._search.messages(
            query,
            user_id=self._user_id,
            limit=limit,
            cursor=cursor,
            match=match,
            roles=roles,
            dept_id=dept_id,
            archived=archived,
            since=since,
            until=until,
            conversation_id=conversation_id,
        )

    async def recall(
        self,
        query: str,
        k: int = 10,
        *,
        roles: Iterable[str] | None = None,
        dept_id: str | None = None,
        archived: bool | None = None,
        since: datetime | timedelta | None = None,
        until: datetime | timedelta | None = None,
        conversation_id: ConversationRef | None = None,
        apart_from: ConversationRef | None = None,
        neighbours: int = 0,
        max_tokens: int | None = None,
        token_counter: TokenCounter | None = None,
        floor: float = FLOOR,
        half_life: timedelta | None = None,
        rewrite: Rewrite | None = None,
        rerank: Rerank | None = None,
    ) -> Recalled:
        """The user's messages that answer a question best; see ``AsyncSearch.recall``."""
        return await self._search.recall(
            query,
            k,
            user_id=self._user_id,
            roles=roles,
            dept_id=dept_id,
            archived=archived,
            since=since,
            until=until,
            conversation_id=conversation_id,
            apart_from=apart_from,
            neighbours=neighbours,
            max_tokens=max_tokens,
            token_counter=token_counter,
            floor=floor,
            half_life=half_life,
            rewrite=rewrite,
            rerank=rerank,
        )

    async def set_keys(
        self, conversation_id: ConversationRef, message_id: MessageRef, keys: str | Iterable[str] | None
    ) -> None:
        """Have a message of the user's found by more than its own words; see ``AsyncSearch.set_keys``."""
        await self._search.set_keys(conversation_id, message_id, keys, user_id=self._user_id)

    async def embed(self, *, progress: Progress | None = None) -> int:
        """Have the model of embeddings tell what the user's new messages mean; see ``AsyncSearch.embed``."""
        return await self._search.embed(user_id=self._user_id, progress=progress)

    def as_retriever(self, *, k: int = 10, **options: Any) -> RecallRetriever:
        """What ``recall`` finds as documents; see ``AsyncSearch.as_retriever``."""
        return self._search.as_retriever(user_id=self._user_id, k=k, **checked_options(options))
