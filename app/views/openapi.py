"""The OpenAPI 3.1 document of the JSON API, made from what the views state with `@operation`."""

from __future__ import annotations

import re
from typing import Any, Final

from flask import Flask
from pydantic import BaseModel

from app.views.contract import FORM, PROBLEM, Operation, View


def document(app: Flask, title: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of all operations of *app*, made when it is first asked for."""
    made: dict[str, Any] | None = app.extensions.get("foxtrot_openapi")
    if made is None:
        made = app.extensions["foxtrot_openapi"] = _make(app, title)
    return made


def _make(app: Flask, title: str) -> dict[str, Any]:
    schemas: dict[str, Any] = {"Problem": _PROBLEM_SCHEMA, "OAuthError": _OAUTH_ERROR_SCHEMA}
    paths: dict[str, Any] = {}
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        view = app.view_functions[rule.endpoint]
        promise = getattr(view, "operation", None)
        if promise is None:
            continue
        path = paths.setdefault(re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), {})
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
            described = _describe(rule.endpoint, view, promise, schemas)
            path[method.lower()] = described | _parameters(rule.arguments, promise)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1"},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "client": {"type": "http", "scheme": "basic"},
            },
        },
    }


def _parameters(names: set[str], promise: Operation) -> dict[str, Any]:
    of_path = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in sorted(names)
    ]
    others = [
        {
            "name": parameter.name,
            "in": parameter.place,
            "description": parameter.description,
            "schema": {"type": "string", "pattern": f"^{parameter.pattern}$"},
        }
        for parameter in promise.parameters
    ]
    return {"parameters": of_path + others} if of_path or others else {}


def _describe(
    endpoint: str, view: View, promise: Operation, schemas: dict[str, Any]
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": endpoint.replace(".", "_"),
        "tags": [endpoint.partition(".")[0]],
        "summary": promise.summary,
        "responses": _responses(view, promise, schemas),
    }
    if promise.body is not None:
        schema = _reference(promise.body, schemas)
        described["requestBody"] = {
            "required": promise.body_required,
            "content": {FORM if promise.is_oauth else "application/json": {"schema": schema}},
        }
    if _is_guarded(view):
        described["security"] = [{"bearer": []}]
    if promise.is_oauth:
        described["security"] = [{"client": []}, {}]  # or the credentials stand in the form
    return described


def _responses(view: View, promise: Operation, schemas: dict[str, Any]) -> dict[str, Any]:
    success: dict[str, Any] = {"description": "Success"}
    media_type = promise.media_type.partition(";")[0]
    if promise.answer is not None:
        schema = _reference(promise.answer, schemas)
        success["content"] = {media_type: {"schema": schema}}
    elif media_type != "application/json":
        success["content"] = {media_type: {"schema": {"type": "string"}}}
    responses = {str(promise.status): success}
    for status, codes in sorted(_refusals(view, promise).items()):
        responses[str(status)] = {
            "description": " or ".join(f"`{code}`" for code in sorted(codes)),
            "content": _refusal_content(promise),
        }
    return responses


def _refusal_content(promise: Operation) -> dict[str, Any]:
    media_type, name = (
        ("application/json", "OAuthError") if promise.is_oauth else (PROBLEM, "Problem")
    )
    return {media_type: {"schema": {"$ref": f"#/components/schemas/{name}"}}}


def _refusals(view: View, promise: Operation) -> dict[int, set[str]]:
    """The refusals that a view names, and those that follow from what it is."""
    refusals: dict[int, set[str]] = {421: {"misdirected_request"}, 503: {"unavailable"}}
    pairs = [(refusal.status, refusal.code) for refusal in promise.refusals]
    if promise.parameters:
        pairs += [(400, "invalid_request")]
    if promise.body is not None:
        pairs += [(400, "invalid_request"), (413, "content_too_large")]
    if promise.body is not None and not promise.is_oauth:
        pairs += [
            (415, "unsupported_media_type"),
            (422, "validation_failed"),
        ]
    if _is_guarded(view):
        pairs += [(400, "invalid_request"), (401, "invalid_token"), (403, "insufficient_scope")]
    for status, code in pairs:
        refusals.setdefault(status, set()).add(code)
    return refusals


def _is_guarded(view: View) -> bool:
    return getattr(view, "access", None) not in ("public", "login")


def _reference(model: type[BaseModel], schemas: dict[str, Any]) -> dict[str, str]:
    """Put a model's schema among the components, and point at it."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    schemas[model.__name__] = schema
    return {"$ref": f"#/components/schemas/{model.__name__}"}


_PROBLEM_SCHEMA: Final = {
    "type": "object",
    "description": "Problem details (RFC 9457) with a `code` that does not change.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "reason": {"type": "string", "description": "Why a token was refused."},
        "scope": {"type": "string", "description": "The scopes that were missing."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}

_OAUTH_ERROR_SCHEMA: Final = {
    "type": "object",
    "description": "RFC 6749 section 5.2.",
    "required": ["error", "error_description"],
    "properties": {"error": {"type": "string"}, "error_description": {"type": "string"}},
}
