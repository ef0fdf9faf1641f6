"""A bot that answers from documents and cites them, with its conversations and its sources in convmemory.

    python examples/rag_bot.py                                       two questions, on servers of its own
    python examples/rag_bot.py "How many days off do I get?"         your questions
    python examples/rag_bot.py --env --model openai:gpt-5-mini       on DATABASE_URL and REDIS_URL, with a real model

Nobody hands the documents to the memory: what the chain's retriever returns is stored beside the answer it led to,
in the same order, so that a citation [2] is the second of the message's contexts, today and in a year.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Sequence
from typing import Any

from example_model import example_model
from example_servers import example_servers
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_core.runnables.history import RunnableWithMessageHistory

from convmemory import ConversationMemory, Message

USER, CONVERSATION = "ada", "handbook"
QUESTIONS = ("What is the vacation policy?", "How do I request it?")
HANDBOOK = {
    "vacation": "Vacation is 20 days a year. You request vacation in the staff portal, two weeks ahead.",
    "approval": "The team lead approves a vacation request within three days.",
    "parking": "A parking space costs 20 a month. You request parking by mail to the front desk.",
    "laptops": "A laptop is replaced every three years. You request a laptop at the help desk.",
    "expenses": "Expenses are paid back on the last day of the month. The receipts go to accounting.",
    "remote work": "Remote work is possible on two days a week, after the first month.",
}
COMMON = {"does", "from", "have", "many", "much", "what", "when", "with", "your"}

warnings.filterwarnings("ignore", message=".*RunnableWithMessageHistory")  # see docs/how-to/langchain.md


class WordRetriever(BaseRetriever):
    """The documents that share the most words with the question: any retriever of LangChain's fits in its place."""

    documents: list[Document]
    most: int = 2

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        del run_manager
        asked = words(query)
        shares = [
            (len(asked & words(f"{d.id} {d.page_content}")) / max(len(asked), 1), d) for d in self.documents
        ]
        best = sorted((pair for pair in shares if pair[0]), key=lambda pair: -pair[0])[: self.most]
        return [found.model_copy(update={"metadata": {"score": round(share, 2)}}) for share, found in best]


def words(text: str) -> set[str]:
    """The words that say what a text is about, without their plurals."""
    return {word.removesuffix("s") for word in set(re.findall(r"\w{4,}", text.lower())) - COMMON}


def searched(given: dict[str, Any]) -> str:
    """What to look for: the question, and where it says "it", the one before, which says what that is."""
    question: str = given["question"]
    earlier = [message.text for message in given["history"] if message.type == "human"]
    return " ".join([*earlier[-1:], question]) if "it" in re.findall(r"\w+", question) else question


def numbered(given: dict[str, Any]) -> str:
    """The documents as the prompt shows them, with the numbers that a citation uses."""
    return "\n".join(f"[{n}] {found.page_content}" for n, found in enumerate(given["documents"], 1))


def rag_chain(memory: ConversationMemory, model: BaseChatModel) -> RunnableWithMessageHistory:
    """Look up, put into the prompt, answer; and remember all of it."""
    retriever = WordRetriever(documents=[Document(text, id=name) for name, text in HANDBOOK.items()])
    prompt = ChatPromptTemplate.from_messages(
        [
            ("system", "Answer from these documents only, and cite them by their number.\n{sources}"),
            MessagesPlaceholder("history"),
            ("human", "{question}"),
        ]
    )
    found = RunnablePassthrough.assign(documents=RunnableLambda(searched) | retriever)
    return RunnableWithMessageHistory(
        found | RunnablePassthrough.assign(sources=numbered) | prompt | model,
        memory.history_factory,
        history_factory_config=memory.history_factory_config,
        input_messages_key="question",
        history_messages_key="history",
    )


def quote(prompt: Sequence[BaseMessage]) -> AIMessage:
    """The rule of the scripted model: from each document the sentence nearest to the question, with its number."""
    sources = re.findall(r"^\[(\d+)\] (.*)$", prompt[0].text, re.MULTILINE)
    question = words(" ".join(message.text for message in prompt if message.type == "human"))
    newest = words(prompt[-1].text)
    said = []
    for number, text in sources:
        near = max(text.split(". "), key=lambda one: (len(words(one) & newest), len(words(one) & question)))
        said.append(f"{near.rstrip('.')} [{number}].")
    return AIMessage(" ".join(said) or "The handbook says nothing about that.")


def citations(stored: Message) -> list[str]:
    """The lines under an answer: what each number in it stands for."""
    cited = sorted({int(number) for number in re.findall(r"\[(\d+)\]", stored.content)})
    named = [(n, stored.contexts[n - 1]) for n in cited if n <= len(stored.contexts)]
    return [f"    [{n}] {found.doc_id} (score {found.score}): {found.content}" for n, found in named]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("questions", nargs="*", default=QUESTIONS, metavar="QUESTION")
    parser.add_argument("--model", metavar="PROVIDER:NAME", help="a real model, as LangChain names it")
    parser.add_argument("--env", action="store_true", help="the servers that the environment names")
    options = parser.parse_args()
    with example_servers(env=options.env) as what, ConversationMemory.from_env() as memory:
        memory.init_schema()
        chain = rag_chain(memory, example_model(options.model, quote))
        config = memory.run_config(conversation_id=CONVERSATION, user_id=USER)
        for question in options.questions:
            chain.invoke({"question": question}, config)
        print(f"On {what}:")
        for stored in memory.get_messages(CONVERSATION, user_id=USER, limit=2 * len(options.questions)):
            print(f"{stored.seq:2} {stored.role:5} {stored.content}", *citations(stored), sep="\n")


if __name__ == "__main__":
    main()
