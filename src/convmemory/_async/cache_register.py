"""Who caches windows, and which of them must be dropped: what PostgreSQL knows of its caches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from convmemory._async.statements import AsyncStatements
from convmemory.ids import FIRST, ConversationKey
from convmemory.storage.cache_marks import Looked, Mark, looked
from convmemory.storage.text_arrays import array
from convmemory.windows.snapshots import Written

_BITE: Final = 250
"""Marks one look brings: the reader that looks waits until their windows are dropped."""
BATCH: Final = 2000
"""Rows of a table that one statement deletes at most: some ten milliseconds, for which others wait. Larger ones are no faster."""


class AsyncCacheRegister(AsyncStatements):
    """The tables ``caches`` and ``marks``; the store of PostgreSQL has them beside conversations and messages."""

    async def look(self, names: Sequence[str], after: UUID = FIRST, page: int = _BITE) -> Looked:
        """Which of these caches are registered, and the windows they must drop, those of smaller ids first."""
        place = {"names": array(names), "after": after, "page": page}
        return looked(await self._run("look", place), page)

    async def register(self, names: Sequence[str]) -> None:
        """Register caches, unless somebody just did; waits a moment at most for the writes that are under way."""
        await self._run("register", {"names": array(names)}, fetch=False)

    async def mark(self, conversation: UUID, names: Sequence[str]) -> None:
        """Note that these caches were not told of a committed change."""
        parameters = {"conversation": conversation, "names": array(names)}
        await self._run("mark", parameters, fetch=False)

    async def clear_marks(self, marks: Sequence[Mark]) -> None:
        """Forget marks whose windows were dropped; one that was made again meanwhile stays."""
        caches, conversations, ids = ([*column] for column in zip(*marks, strict=True))
        parameters = {"caches": array(caches), "conversations": conversations, "ids": ids}
        await self._run("clear_marks", parameters, fetch=False)

    async def tidy_caches(self, names: Sequence[str]) -> None:
        """Note that these caches are in use, and forget those that nobody has used for an hour."""
        await self._run("tidy_caches", {"names": array(names)}, fetch=False)

    async def sweep(self, conversation: UUID | None = None) -> tuple[int, bool]:
        """Take away ``BATCH`` of the messages, or contexts, that the delete of a large conversation has left.

        How many contexts that were, and whether it has left more. Without a ``conversation`` it is any that nobody is at: the
        process that deleted it may have ended before it was through.
        """
        [[contexts, more]] = await self._run("sweep", {"conversation": conversation, "batch": BATCH})
        return int(contexts), bool(more)

    async def unfinished(self) -> UUID | None:
        """A conversation of which a delete has left something, also where somebody is at it; ``None`` where there is none."""
        return next((row[0] for row in await self._run("unfinished", {})), None)

    async def sweep_documents(self, user_id: str | None = None) -> tuple[int, bool]:
        """Look at ``BATCH`` of a user's documents that messages have let go of, and take away those that no other message has.

        How many that were, and whether there are more to look at. Whoever refers to one at this moment is waited for; without a
        ``user_id`` it is somebody's who keeps nobody waiting.
        """
        [[removed, more]] = await self._run("sweep_documents", {"user_id": user_id, "batch": BATCH})
        return int(removed), bool(more)

    async def finish(self, key: ConversationKey, written: Written) -> Counter[str]:
        """Take away what a delete has left, in many short transactions: messages of a large conversation, and the user's documents.

        What another delete has left, whose process ended before it was through, is taken away as well: all of it by a
        large one, and a little by any other. How many contexts of this conversation that were, and documents that no message has any more.
        """
        found: Counter[str] = Counter()
        more = written.left_here
        while more:
            contexts, more = await self.sweep(key.uuid)
            found["message_contexts"] += contexts
        more = written.left_anywhere
        while more:
            _, more = await self.sweep()
            more = more and written.left_here
        more = written.left_here or written.left_anywhere
        while more:
            documents, more = await self.sweep_documents(key.user_id)
            found["documents"] += documents
        return found

    async def ping(self) -> dict[str, Any]:
        """Ask the server for a sign of life: its version, how many windows wait to be dropped, and how many caches there are.

        And of how many conversations a delete was not finished, which is gone on with; and where writes may wait, how many entries of
        journals were refused.
        """
        [[dirty, caches, unfinished, loose, refused, version]] = await self._run("count_marks", {})
        if unfinished:
            await self.sweep()
        if loose:
            await self.sweep_documents()
        about = {
            "version": version,
            "dirty_windows": dirty,
            "caches": caches,
            "unfinished_deletes": unfinished,
        }
        return about | {"journal_refused": refused} if refused or self.journals else about

    async def forget_caches(self, names: Sequence[str] | None = None) -> int:
        """Forget caches, all of them by default; how many there were. Nothing from before is served afterwards.

        Whoever uses one looks at PostgreSQL at least once a second, and registers it anew.
        """
        found = await self._run("forget_caches", {"names": None if names is None else array(names)})
        return int(found[0][0])
