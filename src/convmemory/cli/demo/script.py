"""The conversation about vacation, and the model that plays it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatResult

USER: Final = "maria"
CONVERSATION: Final = "vacation-policy"

POLICY_QUESTION: Final = "What is our vacation policy?"
REQUEST_QUESTION: Final = "How do I request it?"
APPROVAL_QUESTION: Final = "Who approves it?"
AGAIN_QUESTION: Final = "How many days was it again?"

VACATION_FILE: Final = "vacation.md"
HANDBOOK: Final = {
    VACATION_FILE: "Vacation: 30 days a year. Request it in the staff portal under Time Off, two weeks ahead."
    " The team lead approves it.",
    "parking.md": "Parking: a space costs 20 a month. Request it by mail to the front desk, which approves it.",
    "laptops.md": "Laptops: a new one every 3 years. Request it in the help desk. IT approves it.",
}
"""Three topics, so that "it" means something only to whoever heard the question before."""

_POLICY: Final = "Everyone has 30 days of vacation a year."
_FOLLOW_UPS: Final = {
    REQUEST_QUESTION: "Request your vacation in the staff portal, under Time Off, two weeks ahead.",
    APPROVAL_QUESTION: "Your team lead approves your vacation.",
    AGAIN_QUESTION: "30 days of vacation a year.",
}
_LOST: Final = 'I cannot know what "it" is: no earlier turn reached me.'


class ScriptedModel(BaseChatModel):
    """A chat model that reads what it is given: a follow-up is answered only if vacation came up before it.

    Its tokens are words.
    """

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        del stop, run_manager, kwargs
        said = [message.text for message in messages if message.type in {"human", "ai"}]
        answer = _answer(said[-1], said[:-1])
        given, made = sum(len(message.text.split()) for message in messages), len(answer.split())
        usage = UsageMetadata(input_tokens=given, output_tokens=made, total_tokens=given + made)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(answer, usage_metadata=usage))])


def _answer(question: str, earlier: Sequence[str]) -> str:
    if "vacation" in question.lower():
        return _POLICY
    wanted = _plain(question)
    known = next((answer for asked, answer in _FOLLOW_UPS.items() if _plain(asked) == wanted), None)
    if known is None:
        return f"I play a part and know four questions: {', '.join((POLICY_QUESTION, *_FOLLOW_UPS))}"
    return known if any("vacation" in text.lower() for text in earlier) else _LOST


def _plain(text: str) -> str:
    return text.strip(" ?!.").lower()
