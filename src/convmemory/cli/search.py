"""``convmemory search``: find what a user said, and have what was stored before found as well."""

from __future__ import annotations

from typing import Annotated, Final

from rich.console import Console
from rich.text import Text
from typer import Argument, BadParameter, Option, echo

from convmemory import ConversationMemory
from convmemory.cli.connect import DatabaseUrl, Embedded, Place, RedisUrl, SchemaName, named_object
from convmemory.cli.screen import harmless, screen, tell_of_more
from convmemory.cli.times import moment
from convmemory.errors import ConfigurationError
from convmemory.search_results import Recalled, Recollection, SearchHit

_OFF: Final = (
    "is off, and an index made as it says would be none; name the language your application has there, or --language off to have"
    " nothing found any more"
)
_NONE: Final = (
    "nothing was found; what was stored before search was on is found after `convmemory search --index`"
)


def search(
    query: Annotated[
        str | None,
        Argument(metavar="QUERY", help='Words, phrases "in quotes", - before what must not be there.'),
    ] = None,
    *,
    user: Annotated[str | None, Option("--user", "-u", metavar="USER", help="Whose conversations.")] = None,
    limit: Annotated[
        int, Option("--limit", "-n", metavar="N", min=1, max=1000, help="How many at once.")
    ] = 10,
    cursor: Annotated[
        str | None, Option(metavar="CURSOR", help="Where the page before ended; it says so.")
    ] = None,
    recall: Annotated[
        bool, Option("--recall", help="What answers a question, as an agent would recall it.")
    ] = False,
    index: Annotated[
        bool, Option("--index", help="Have everybody's messages found that were stored before search was on.")
    ] = False,
    embed: Annotated[
        bool,
        Option(
            "--embed",
            help="Have a model tell what messages mean that it has not seen; the user's with --user.",
        ),
    ] = False,
    embeddings: Annotated[
        str | None,
        Option(
            metavar="MODULE:NAME",
            help="Embeddings of LangChain that CONVMEMORY_SEARCH_VECTORS has a name for.",
        ),
    ] = None,
    language: Annotated[
        str | None,
        Option("--language", metavar="NAME", help="Text search configuration; default: CONVMEMORY_SEARCH."),
    ] = None,
    as_json: Annotated[bool, Option("--json", help="One JSON object a hit, for programs.")] = False,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    embedded: Embedded = None,
    schema: SchemaName = None,
) -> None:
    """Find what was said in a user's conversations by its words.

    With `--json` every line is an object with `conversation_id`, `seq`, `role`, `created_at`, `snippet`, `highlights`, `rank` and
    `title`; with `--recall` as well, with `message` and `score`.

    For example:

    ```
    convmemory search 'budget "due on"' --user maria
    convmemory search 'when is the budget due?' --user maria --recall
    convmemory search --index
    CONVMEMORY_SEARCH_VECTORS=minilm convmemory search --embed --embeddings my_app.models:minilm
    ```
    """
    if (query is not None) + index + embed != 1:
        raise BadParameter("QUERY or --index or --embed: give one of them")
    model = None if embeddings is None else named_object("--embeddings", embeddings)
    with Place(database_url, redis_url, embedded, schema, language).memory(model) as memory:
        if index:
            _index(memory, language)
            return
        if embed:
            _embed(memory, user)
            return
        if query is None or user is None:
            raise BadParameter("--user: say whose conversations")
        if recall:
            _print_recalled(memory.search.recall(query, limit, user_id=user), as_json=as_json)
            return
        page = memory.search.messages(query, user_id=user, limit=limit, cursor=cursor)
    for hit in page:
        _print_hit(hit, as_json=as_json)
    if not page:
        echo(_NONE, err=True)
    tell_of_more(page.next_cursor, as_json=as_json)


def _index(memory: ConversationMemory, language: str | None) -> None:
    if memory.settings.search == "off" != language:
        raise ConfigurationError(f"{memory.settings.name_of('search')}: {_OFF}")
    with Console(stderr=True, markup=False, highlight=False).status("Indexing ...") as status:
        looked = memory.search.index(progress=lambda so_far: status.update(f"{so_far:,} messages"))
    screen.print(f"looked at {looked:,} messages: they are found as {memory.settings.search!r} says")


def _embed(memory: ConversationMemory, user: str | None) -> None:
    with Console(stderr=True, markup=False, highlight=False).status("Embedding ...") as status:
        told = memory.search.embed(
            user_id=user, progress=lambda so_far: status.update(f"{so_far:,} messages")
        )
    screen.print(f"embedded {told:,} messages: they are found as {memory.settings.search_vectors!r} says")


def _print_hit(hit: SearchHit, *, as_json: bool) -> None:
    if as_json:
        echo(hit.model_dump_json())
        return
    where = f"{hit.seq:>4}" if hit.seq is not None else "   -"
    what = hit.role or "title"
    screen.print(
        f"{where}  {harmless(hit.conversation_id)}  {harmless(what)}  {moment(hit.created_at)}", style="dim"
    )
    shown = Text("      ")
    place = 0
    for start, end in hit.highlights:
        shown.append(_line(hit.snippet[place:start]))
        shown.append(_line(hit.snippet[start:end]), style="bold")
        place = end
    shown.append(_line(hit.snippet[place:]))
    screen.print(shown)


def _print_recalled(found: Recalled, *, as_json: bool) -> None:
    for one in found:
        _print_one(one, as_json=as_json)
    if not len(found):
        echo(_NONE, err=True)


def _print_one(one: Recollection, *, as_json: bool) -> None:
    if as_json:
        echo(one.model_dump_json(exclude={"message": {"body"}}))
        return
    about = f"{one.seq:>4}  {harmless(one.conversation_id)}  {harmless(one.message.role)}  {moment(one.message.created_at)}"
    screen.print(f"{about}  {one.score:.2f}", style="dim")
    screen.print(Text(f"      {_line(one.content)}"))


def _line(text: str) -> str:
    return harmless(" ".join(text.splitlines()))
