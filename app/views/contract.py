"""The one thin layer between JSON and the views.

`@operation(…)` states what a JSON view takes, answers and refuses. The body, JSON or
for OAuth a form, is read strictly and handed to the view as a checked model; what the
view returns becomes the answer. `openapi` writes the statements of all views down.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, Literal, get_origin
from urllib.parse import parse_qsl

from flask import Response, make_response, request
from pydantic import BaseModel, ConfigDict, ValidationError
from werkzeug.exceptions import RequestEntityTooLarge, UnsupportedMediaType

from app.errors import AppError, InvalidRequest, ValidationFailed

View = Callable[..., Any]

PROBLEM: Final = "application/problem+json"
FORM: Final = "application/x-www-form-urlencoded"
MAX_PARAMETERS: Final = 100


class Body(BaseModel):
    """What a request may say: nothing beyond the fields named, and no type guessed."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class Form(BaseModel):
    """What a form says. Parameters that are not known are ignored (RFC 6749 section 3.2)."""

    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)


class Answer(BaseModel):
    """What an answer says."""

    model_config = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Parameter:
    """A header or a query parameter that a view takes, and what it may be."""

    name: str
    place: Literal["header", "query"]
    pattern: str
    description: str

    def read(self) -> str | None:
        """Give what the request says.

        :raises InvalidRequest: it does not match the pattern, or is there twice.
        """
        source = request.headers if self.place == "header" else request.args
        given = source.getlist(self.name)
        if not given:
            return None
        if len(given) > 1 or not re.fullmatch(self.pattern, given[0], re.ASCII):
            raise InvalidRequest(
                f"The {self.place} parameter {self.name} must be one text like {self.pattern}."
            )
        return given[0]


@dataclass(frozen=True)
class Operation:
    """What a JSON view promises."""

    summary: str
    body: type[Body | Form] | None
    answer: type[Answer] | None
    status: int
    refusals: tuple[type[AppError], ...]
    media_type: str
    body_required: bool
    parameters: tuple[Parameter, ...]

    @property
    def is_oauth(self) -> bool:
        """Whether it takes a form and refuses in the words of RFC 6749 section 5.2."""
        return self.body is not None and issubclass(self.body, Form)


def operation(
    summary: str,
    *,
    body: type[Body | Form] | None = None,
    answer: type[Answer] | None = None,
    status: int = 200,
    refusals: tuple[type[AppError], ...] = (),
    media_type: str = "application/json",
    body_required: bool = True,
    parameters: tuple[Parameter, ...] = (),
) -> Callable[[View], View]:
    """State what a view takes and answers; see `Operation`.

    The view's first argument is the checked body, where there is one. It returns
    an `Answer`, a dict, None for an empty answer, or a whole response. A query
    parameter is refused where others are stated and it is not.
    """
    promise = Operation(
        summary, body, answer, status, refusals, media_type, body_required, parameters
    )
    known = {parameter.name for parameter in parameters if parameter.place == "query"}

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(*args: Any, **kwargs: Any) -> Response:
            if known and request.args.keys() - known:
                raise InvalidRequest(f"Query parameters here are: {', '.join(sorted(known))}.")
            given = () if body is None else (_given_body(body, body_required),)
            return _respond(view(*given, *args, **kwargs), promise)

        checked.operation = promise  # type: ignore[attr-defined]
        return checked

    return decorate


def _given_body(model: type[Body | Form], required: bool) -> Body | Form:
    """The request's body, or an empty one where none is needed and none was sent."""
    if issubclass(model, Form):
        return read_form(model)
    if required or request.mimetype or request.get_data():
        return read_body(model)
    return model()


def read_body(model: type[Body]) -> Body:
    """Read the JSON body of the request into a model.

    :raises UnsupportedMediaType: it is not announced as JSON.
    :raises RequestEntityTooLarge: it is too long.
    :raises InvalidRequest: it is not one JSON object (RFC 8259), or says a thing twice.
    :raises ValidationFailed: fields are missing, unknown or of a wrong type.
    """
    if request.mimetype != "application/json":
        raise UnsupportedMediaType("Send JSON, with Content-Type: application/json.")
    members = _parse(_raw_body())
    try:
        return model.model_validate(members)
    except ValidationError as error:
        raise ValidationFailed(_messages(error)) from None


def read_form(model: type[Form]) -> Form:
    """Read the form that the request brings into a model.

    A parameter without a value counts as left out, and none may be there twice but those that
    are lists (RFC 6749 section 3.2).

    :raises RequestEntityTooLarge: it is too long.
    :raises InvalidRequest: it is no form in UTF-8, says a thing twice, or lacks something.
    """
    if request.mimetype != FORM:
        raise InvalidRequest(f"Send a form, with Content-Type: {FORM}.")
    members: dict[str, Any] = {}
    for name, values in _form_values(_raw_body(), model.model_fields.keys()).items():
        is_list = get_origin(model.model_fields[name].annotation) is list
        if len(values) > 1 and not is_list:
            raise InvalidRequest(f"The parameter {name} is there twice.")
        if given := [value for value in values if value]:
            members[name] = given if is_list else given[0]
    try:
        return model.model_validate(members)
    except ValidationError as error:
        said = [f"{field}: {' '.join(texts)}" for field, texts in _messages(error).items()]
        raise InvalidRequest(f"The form is not complete or not right. {'; '.join(said)}.") from None


def _form_values(raw: bytes, known: Collection[str]) -> dict[str, list[str]]:
    """What a form says of the parameters that are known."""
    try:
        text = raw.decode("utf-8")
        pairs = parse_qsl(
            text, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS
        )
    except ValueError:
        raise InvalidRequest(
            f"The body is not a form in UTF-8, or has more than {MAX_PARAMETERS} parameters."
        ) from None
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        if name in known:
            values.setdefault(name, []).append(value)
    if any("\0" in value for given in values.values() for value in given):
        raise InvalidRequest("The body has a NUL character in a parameter.")
    return values


def _raw_body() -> bytes:
    raw = request.get_data()  # kept, for the case that the request is answered anew
    if request.content_length is None and len(raw) >= (request.max_content_length or len(raw) + 1):
        raise RequestEntityTooLarge  # a chunked body: its length shows only now, cut at the limit
    return raw


def _parse(raw: bytes) -> dict[str, Any]:
    try:
        members = _DECODER.decode(raw.decode("utf-8"))
        has_escapes = b"\\" in raw  # without one there is no lone surrogate and no NUL
        if has_escapes:
            json.dumps(members, ensure_ascii=False).encode("utf-8")  # refuses lone surrogates
        has_nul = has_escapes and _has_nul(members)
    except _Duplicate as error:
        raise InvalidRequest(f"The body has the member {str(error)!r} twice.") from None
    except (ValueError, RecursionError):
        raise InvalidRequest("The body is not well-formed JSON in UTF-8.") from None
    if not isinstance(members, dict):
        raise InvalidRequest("The body must be a JSON object.")
    if has_nul:
        raise InvalidRequest("The body has a NUL character in a text.")
    return members


class _Duplicate(ValueError):
    """A JSON object has two members of one name."""


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        counts = Counter(name for name, _ in pairs)  # each name once: a body has room for thousands
        raise _Duplicate(next(name for name, count in counts.items() if count > 1)[:50])
    return members


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique_members, parse_constant=_refuse_constant
)


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(part) for pair in value.items() for part in pair)
    return isinstance(value, list) and any(_has_nul(part) for part in value)


def _messages(error: ValidationError) -> dict[str, list[str]]:
    """What is wrong, by field; never what was sent."""
    messages: dict[str, list[str]] = {}
    details = error.errors(include_input=False, include_url=False, include_context=False)
    for detail in details:
        field = ".".join(str(part) for part in detail["loc"])[:100]
        text = "This field is not known." if detail["type"] == "extra_forbidden" else detail["msg"]
        messages.setdefault(field, []).append(text)
    return messages


def _respond(result: Any, promise: Operation) -> Response:
    if result is None:
        return Response(status=promise.status)
    if isinstance(result, Answer):
        result = result.model_dump(exclude_none=True)
    response: Response = make_response(result)
    if response.status_code == 200:
        response.status_code = promise.status
    if promise.media_type != "application/json" and response.status_code != 304:
        response.content_type = promise.media_type
    return response
