"""The tour: without memory, with it, from a second process, and after a session has ended."""

from __future__ import annotations

import time
from typing import Final

import convmemory
from convmemory.cli.demo.narrator import answered, asked, heading, remark
from convmemory.cli.demo.script import (
    AGAIN_QUESTION,
    APPROVAL_QUESTION,
    CONVERSATION,
    HANDBOOK,
    POLICY_QUESTION,
    REQUEST_QUESTION,
    USER,
    VACATION_FILE,
)
from convmemory.cli.demo.second_process import Errand, send
from convmemory.cli.demo.stage import Stage
from convmemory.models import Draft, RetrievedContext
from convmemory.storage.redis_keys import Keys

_BRIEF: Final = 1.0
"""Seconds that the session of the fourth part lives."""


def tour(stage: Stage, redis_url: str | None) -> None:
    """Play the four parts; ``redis_url`` is where another process finds Redis."""
    _without_memory(stage)
    _with_memory(stage)
    _in_a_second_process(stage, redis_url)
    _after_the_session(stage)


def _without_memory(stage: Stage) -> None:
    heading("1  Without memory")
    for question in (POLICY_QUESTION, REQUEST_QUESTION):
        asked(question)
        answered(str(stage.talk.ask(question).text), stage.talk.reached)


def _with_memory(stage: Stage) -> None:
    heading("2  With convmemory: the same model, the same questions")
    for question in (POLICY_QUESTION, REQUEST_QUESTION):
        asked(question)
        answered(stage.ask(question, f"2  {question}"), stage.talk.reached)


def _in_a_second_process(stage: Stage, redis_url: str | None) -> None:
    heading("3  A second process goes on; it shares nothing with this one but the servers")
    if redis_url is None:
        remark("Redis is inside this process (fakeredis), so the second one has PostgreSQL alone.")
    asked(APPROVAL_QUESTION)
    errand = Errand(APPROVAL_QUESTION, stage.settings.postgres_conninfo(), redis_url, stage.talk.model)
    with stage.meter.time("3  start a second Python with LangChain"):
        answer = send(errand)
    stage.meter.costs.append(answer.cost)
    answered(answer.text, answer.reached)


def _after_the_session(stage: Stage) -> None:
    heading("4  The session ends, the conversation does not")
    _let_a_session_expire(stage)
    memory, meter = stage.memory, stage.meter
    with meter.step("   a new session: create_session"):
        memory.create_session(USER, conversation_id=CONVERSATION)
    remark("A new session names the same conversation. This time without LangChain's wrapper:")
    with meter.step("   get_history, from PostgreSQL again"):
        history = memory.get_history(CONVERSATION, user_id=USER)
    asked(AGAIN_QUESTION)
    with meter.time("   the model"):
        answer = stage.talk.ask(AGAIN_QUESTION, history)
    answered(str(answer.text), stage.talk.reached)
    source = RetrievedContext(HANDBOOK[VACATION_FILE], doc_id=VACATION_FILE)
    turn = [("human", AGAIN_QUESTION), Draft(answer, latency_ms=round(meter.costs[-1].ms), contexts=[source])]
    with meter.step("   save_messages, with source and latency"):
        memory.save_messages(CONVERSATION, turn, user_id=USER)


def _let_a_session_expire(stage: Stage) -> None:
    settings = stage.settings.model_copy(update={"session_ttl_minutes": _BRIEF / 60})
    brief = convmemory.ConversationMemory(
        stage.memory.postgres, convmemory.RedisStore(stage.client, settings)
    )
    with stage.meter.step(f"4  a session of {_BRIEF:g} s: create_session"):
        session = brief.create_session(USER, conversation_id=CONVERSATION)
    # A cached window lives as long as its last reader says: this one is to end with the session.
    brief.get_history(CONVERSATION, user_id=USER)
    remark(f"A session that ends after {_BRIEF:g} s without use, and {_BRIEF:g} s in which nobody uses it.")
    time.sleep(_BRIEF + 0.1)
    with stage.meter.step("   after that: get_session"):
        found = brief.get_session(session.session_id)
    conversation = brief.get_conversation(CONVERSATION, user_id=USER)
    window = stage.client.exists(
        Keys(settings.key_prefix, brief.postgres.installation or "").window(conversation.uuid)
    )
    remark(
        f"get_session now returns {found}, and Redis has {'a' if window else 'no'} window of the conversation."
    )
