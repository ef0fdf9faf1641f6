"""What a user said in the past as documents, for the chains of LangChain."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables.config import run_in_executor
from pydantic import ConfigDict

from convmemory.errors import AsyncOnly
from convmemory.recall_options import checked_options
from convmemory.search_results import Recollection


class RecallRetriever(BaseRetriever):
    """One user's past conversations as a retriever: ``memory.for_user(user_id).search.as_retriever()`` makes it.

    A document is a message; its metadata names the conversation, the place, the role, the time and the score.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    search: Any
    options: Mapping[str, Any]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        del run_manager
        if inspect.iscoroutinefunction(self.search.recall):
            raise AsyncOnly("this retriever is of an AsyncConversationMemory: await its ainvoke")
        return [document_of(one) for one in self.search.recall(query, **self._with(options))]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        if inspect.iscoroutinefunction(self.search.recall):
            return [document_of(one) for one in await self.search.recall(query, **self._with(options))]
        ask = partial(self._get_relevant_documents, query, run_manager=run_manager.get_sync(), **options)
        return await run_in_executor(None, ask)

    def _with(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The retriever's options, and those that one call gave, as chains and LangChain's own tests do with ``k``."""
        k = {name: options[name] for name in options if name == "k"}
        return {
            **self.options,
            **k,
            **checked_options({name: options[name] for name in options if name != "k"}),
        }


def document_of(one: Recollection) -> Document:
    """A message as a document."""
    message = one.message
    return Document(
        id=str(message.id),
        page_content=message.content,
        metadata={
            "conversation_id": message.conversation_id,
            "seq": message.seq,
            "role": message.role,
            "title": one.title,
            "created_at": message.created_at.isoformat(),
            "score": one.score,
        },
    )
