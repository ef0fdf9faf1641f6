"""The router: which routes there are, and on whose behalf."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, get_args

from fastapi import APIRouter

from convmemory.api.bodies import NewMessage
from convmemory.api.callers import CurrentUser, Memory, Served, caller, checked_login
from convmemory.api.conversations import add_conversations, add_list
from convmemory.api.health import add_health
from convmemory.api.messages import add_messages, add_pages
from convmemory.api.problems import route_of_at_most
from convmemory.api.searches import add_search
from convmemory.api.sessions import add_sessions
from convmemory.api.users import add_users
from convmemory.errors import InvalidArgument

_ROLES: Final = get_args(NewMessage.model_fields["role"].annotation)


def create_router(
    memory: Memory,
    *,
    current_user: CurrentUser,
    roles: Collection[str] = ("user", "human"),
    max_body: int = 1_000_000,
) -> APIRouter:
    """Routes for conversations, messages, sessions and health, to be included in an application of FastAPI.

    Args:
        memory: The application's memory, awaited or blocking; the application opens and closes it.
        current_user: The application's own dependency: gives the id of the user who is asking, and raises an
            ``HTTPException`` for a stranger. Nobody else's conversations can be reached, or told from none.
        roles: In which roles a client may store messages. An agent believes what stands in its conversation, so others
            than the user's are for clients that you trust: ``("user", "assistant", "system")``.
        max_body: Bytes a request may have.

    Raises:
        InvalidArgument: There is no ``current_user``: the routes would be everybody's; or ``roles`` or ``max_body`` cannot be used.
    """
    checked_login(current_user)
    served = Served.of(memory)
    if isinstance(roles, str) or not set(roles) <= set(_ROLES):
        raise InvalidArgument("roles", f"must be some of {', '.join(_ROLES)}, as ('user', 'assistant')")
    router = APIRouter(
        route_class=route_of_at_most(max_body), generate_unique_id_function=lambda route: route.name
    )
    mine = caller(served, current_user)
    add_list(router, mine)  # routes are tried in this order, and these two are asked for most
    add_pages(router, mine)
    add_conversations(router, mine)
    add_messages(router, mine, frozenset(roles))
    add_search(router, mine)
    add_sessions(router, mine)
    add_users(router, served.retention, mine)
    add_health(router, served.memory)
    return router
