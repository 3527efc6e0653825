"""Bodies of the routes that answer with vectors, classes and scores."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, PlainValidator, ValidationError
from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12

from apps.api.body import parse_object
from apps.api.caps import ApiCaps
from apps.api.errors import from_pydantic
from apps.api.field_types import PromptField
from apps.api.parse import Asks, chat_of, shown_names
from apps.api.schema_types import Int, Schema, checked_text
from apps.api.schemas import ChatBody
from engine.errors import InvalidRequest
from engine.pooling.params import PoolingTask

TEXT_FORMS = "must be a string, {'text': string} or a list of these"
TEMPLATE_FIELDS = (
    "messages",
    "add_special_tokens",
    "add_generation_prompt",
    "continue_final_message",
    "chat_template_kwargs",
)
PAIR_NAMES = (  # as other servers spell the two sides of a pair
    ("queries", "documents"),
    ("text_1", "text_2"),
    ("queries", "items"),
    ("data_1", "data_2"),
)


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    texts = [
        one["text"] if isinstance(one, dict) and set(one) == {"text"} else one for one in values
    ]
    if not texts or any(type(text) is not str for text in texts):
        raise ValueError(f"{TEXT_FORMS}, not empty")
    return [checked_text(text) for text in texts]


def _one_text(value: Any) -> str:
    if type(value) is not str and not (isinstance(value, dict) and set(value) == {"text"}):
        raise ValueError("must be a string or {'text': string}")
    return _texts(value)[0]


class TextItem(TypedDict):
    """A document as some clients wrap it."""

    text: str


Texts = Annotated[
    list[str],
    PlainValidator(_texts, json_schema_input_type=str | TextItem | list[str | TextItem]),
]
OneText = Annotated[str, PlainValidator(_one_text, json_schema_input_type=str | TextItem)]
ModelName = Annotated[str, Field(min_length=1, max_length=256)]


class PoolingBody(Schema):
    """What all of these routes share."""

    model: ModelName
    user: Annotated[str, Field(max_length=256)] | None = None
    request_id: Annotated[str, Field(max_length=128)] | None = None
    priority: Int = 0
    truncate_prompt_tokens: Annotated[int, Field(ge=-1, le=10**15)] | None = None
    truncation_side: Literal["left", "right"] = "right"
    use_activation: bool | None = None

    @property
    def stream(self) -> bool:
        """No such answer is streamed."""
        return False

    @property
    def cache_salt(self) -> str | None:
        """Nothing is cached between requests."""
        return None


class InputBody(PoolingBody):
    """`input` in four forms, or a conversation for the model's chat template."""

    input: PromptField | None = None
    messages: list[Any] | None = None
    add_special_tokens: bool | None = None  # default: true for texts, false for messages
    add_generation_prompt: bool = False
    continue_final_message: bool = False
    chat_template_kwargs: dict[str, Any] | None = None
    _chat: ChatBody | None = None

    @property
    def chat(self) -> ChatBody | None:
        """The conversation, once `read_input` has checked it."""
        return self._chat


class EmbeddingBody(InputBody):
    """POST /v1/embeddings."""

    encoding_format: Literal["float", "base64"] = "float"
    dimensions: Annotated[int, Field(ge=1, le=10**15)] | None = None


class PoolBody(EmbeddingBody):
    """POST /pooling."""

    task: PoolingTask | None = Field(default=None, strict=False)


class ClassifyBody(InputBody):
    """POST /classify."""


class ScoreBody(PoolingBody):
    """POST /score: pairs 1:1, 1:N or N:N, in any of the spellings of `PAIR_NAMES`."""

    queries: Texts | None = None
    documents: Texts | None = None
    text_1: Texts | None = None
    text_2: Texts | None = None
    items: Texts | None = None
    data_1: Texts | None = None
    data_2: Texts | None = None
    max_tokens_per_query: Annotated[int, Field(ge=1, le=10**15)] | None = None
    max_tokens_per_doc: Annotated[int, Field(ge=1, le=10**15)] | None = None

    def sides(self) -> tuple[list[str], list[str]]:
        """Queries and documents. Raises `InvalidRequest` unless one spelling is complete."""
        first, second = self.side_names
        return getattr(self, first), getattr(self, second)

    @property
    def side_names(self) -> tuple[str, str]:
        """What the caller calls queries and documents. Raises `InvalidRequest`."""
        given = {name for pair in PAIR_NAMES for name in pair if getattr(self, name) is not None}
        for pair in PAIR_NAMES:
            if given == set(pair):
                return pair
        raise InvalidRequest(
            "Send the pairs as 'queries' and 'documents' (or 'text_1' and 'text_2', 'queries' "
            "and 'items', 'data_1' and 'data_2'), one spelling only.",
            param=sorted(given)[0] if given else "queries",
        )


class RerankBody(PoolingBody):
    """POST /rerank, as Jina and Cohere spell it."""

    query: OneText
    documents: Texts
    top_n: Annotated[int, Field(ge=0, le=10**15)] | None = None
    return_documents: bool = True
    max_tokens_per_query: Annotated[int, Field(ge=1, le=10**15)] | None = None
    max_tokens_per_doc: Annotated[int, Field(ge=1, le=10**15)] | None = None

    @property
    def side_names(self) -> tuple[str, str]:
        return "query", "documents"


P = TypeVar("P", bound=PoolingBody)
I = TypeVar("I", bound=InputBody)  # noqa: E741
FIELDS = frozenset().union(
    *(kind.model_fields for kind in (PoolBody, ClassifyBody, ScoreBody, RerankBody))
)


def read_input(kind: type[I], data: bytes, caps: ApiCaps) -> tuple[I, list[str]]:
    """The body and the names of fields nobody knows. Raises `InvalidRequest`."""
    raw = parse_object(data)
    body = _validate(kind, raw)
    if (body.input is None) == (body.messages is None):
        raise InvalidRequest("Send either 'input' or 'messages'.", param="input")
    if isinstance(body.input, list) and not isinstance(body.input[0], int):
        at_most("input", len(body.input), caps.max_inputs)
    if body.messages is not None:
        chat = {name: raw[name] for name in TEMPLATE_FIELDS if raw.get(name) is not None}
        chat.setdefault("add_generation_prompt", False)
        body._chat, of_chat = chat_of({"model": body.model, **chat}, caps)
        return body, shown_names([*_ignored(kind, raw), *of_chat])
    return body, _ignored(kind, raw)


def read_score(data: bytes, caps: ApiCaps) -> tuple[ScoreBody, list[str]]:
    """As `read_input`."""
    raw = parse_object(data)
    body = _validate(ScoreBody, raw)
    queries, documents = body.sides()
    first, second = body.side_names
    at_most(first, len(queries), caps.max_documents)
    at_most(second, len(documents), caps.max_documents)
    if len(queries) not in (1, len(documents)):
        raise InvalidRequest(
            f"'{first}' has {len(queries)} entries for {len(documents)} in '{second}': send one, "
            "or as many.",
            param=first,
        )
    return body, _ignored(ScoreBody, raw)


def read_rerank(data: bytes, caps: ApiCaps) -> tuple[RerankBody, list[str]]:
    """As `read_input`."""
    raw = parse_object(data)
    if isinstance(raw.get("documents"), list):
        at_most("documents", len(raw["documents"]), caps.max_documents)
    return _validate(RerankBody, raw), _ignored(RerankBody, raw)


def _no_template(raw: dict[str, Any]) -> bool:
    return raw.get("messages") is None


def _of_ids(raw: dict[str, Any]) -> bool:
    given = raw.get("input")
    return isinstance(given, list) and not isinstance(given[0], str)


def _uncut(raw: dict[str, Any]) -> bool:
    bounds = ("truncate_prompt_tokens", "max_tokens_per_query", "max_tokens_per_doc")
    return all(raw.get(name) is None for name in bounds)


NO_EFFECT: dict[str, Asks] = {  # known fields, if given, and the bodies that they do not change
    "user": lambda raw: True,
    "truncation_side": _uncut,
    "add_special_tokens": _of_ids,
    "add_generation_prompt": _no_template,
    "continue_final_message": _no_template,
    "chat_template_kwargs": _no_template,
}


def at_most(param: str, count: int, most: int) -> None:
    """Raises `InvalidRequest`."""
    if count > most:
        raise InvalidRequest(
            f"'{param}' has {count} entries; at most {most} are allowed.", param=param
        )


def _validate(kind: type[P], raw: dict[str, Any]) -> P:
    try:
        body = kind.model_validate({name: v for name, v in raw.items() if v is not None})
    except ValidationError as error:
        raise from_pydantic(error, FIELDS) from None
    if body.truncate_prompt_tokens == 0:
        raise InvalidRequest(
            "'truncate_prompt_tokens' must be at least 1, or -1 for all that the model takes.",
            param="truncate_prompt_tokens",
        )
    return body


def _ignored(kind: type[PoolingBody], raw: dict[str, Any]) -> list[str]:
    idle = {name for name, asks in NO_EFFECT.items() if raw.get(name) is not None and asks(raw)}
    return shown_names(name for name in raw if name not in kind.model_fields or name in idle)
