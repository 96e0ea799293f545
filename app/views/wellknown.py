"""Blueprint `wellknown`: what machines read about this service; keys, metadata, health, API."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, current_app, jsonify, render_template, request

from app import schema, services, status_lists, tokens
from app.errors import NoAccessToken, NotFound, Unavailable
from app.metrics import MEDIA_TYPE as METRICS
from app.metrics import Meter
from app.views.access import public
from app.views.contract import Answer, operation
from app.views.openapi import document
from foxtrot.status_list import MEDIA_TYPE

blueprint = Blueprint("wellknown", __name__)

CACHEABLE = f"public, max-age={tokens.KEYS_MAX_AGE}"
CLIENT_AUTH_METHODS = ["client_secret_basic", "client_secret_post"]


class JWKSetAnswer(Answer):
    """RFC 7517 section 5."""

    keys: list[dict[str, str]]


class MetadataAnswer(Answer):
    """RFC 8414 section 2."""

    issuer: str
    jwks_uri: str | None = None
    scopes_supported: list[str]
    response_types_supported: list[str]
    grant_types_supported: list[str]
    token_endpoint: str
    token_endpoint_auth_methods_supported: list[str]
    introspection_endpoint: str
    introspection_endpoint_auth_methods_supported: list[str]
    revocation_endpoint: str
    revocation_endpoint_auth_methods_supported: list[str]
    service_documentation: str


class HealthAnswer(Answer):
    status: str


@blueprint.get("/.well-known/jwks.json")
@public
@operation(
    "The public keys that verify access tokens",
    answer=JWKSetAnswer,
    media_type="application/jwk-set+json",
)
def jwks() -> Response:
    return _cacheable({"keys": tokens.published_keys()})


@blueprint.get("/.well-known/oauth-authorization-server")
@public
@operation("What this issuer is and where its keys are", answer=MetadataAnswer)
def metadata() -> Response:
    issuer = tokens.issuer()
    members = {
        "issuer": issuer,
        "scopes_supported": sorted(services.declared_by()),
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint": f"{issuer}/oauth/token",
        "token_endpoint_auth_methods_supported": CLIENT_AUTH_METHODS,
        "introspection_endpoint": f"{issuer}/oauth/introspect",
        "introspection_endpoint_auth_methods_supported": CLIENT_AUTH_METHODS,
        "revocation_endpoint": f"{issuer}/oauth/revoke",
        "revocation_endpoint_auth_methods_supported": [*CLIENT_AUTH_METHODS, "none"],
        "service_documentation": f"{issuer}/docs",
    }
    if tokens.publishes_keys():
        members["jwks_uri"] = f"{issuer}/.well-known/jwks.json"
    return _cacheable(members)


@blueprint.get("/status-lists/<int:number>")
@public
@operation(
    "Which sessions have ended, as a signed Token Status List",
    refusals=(NotFound,),
    media_type=MEDIA_TYPE,
)
def status_list(number: int) -> Response:
    return _list_answer(status_lists.published(number))


@blueprint.get("/status-lists/machines")
@public
@operation(
    "Which machines were removed or disabled, as a signed Token Status List",
    media_type=MEDIA_TYPE,
)
def status_list_of_machines() -> Response:
    return _list_answer(status_lists.published(status_lists.MACHINES))


def _list_answer(published: status_lists.Published) -> Response:
    response = Response(published.token)
    response.headers["Cache-Control"] = "no-cache"  # kept, but asked for anew each time
    response.set_etag(published.etag, weak=True)  # two workers sign the same list differently
    return response.make_conditional(request)  # type: ignore[return-value]  # it gives itself


@blueprint.get("/healthz")
@public
@operation("Whether the process is alive", answer=HealthAnswer)
def healthz() -> HealthAnswer:
    return HealthAnswer(status="alive")


@blueprint.get("/readyz")
@public
@operation("Whether requests can be answered: database and schema", answer=HealthAnswer)
def readyz() -> HealthAnswer:
    watch: schema.Watch = current_app.extensions["foxtrot_schema"]
    if not watch.is_ready():
        raise Unavailable(
            "The schema of the database is older than this version, or newer. If it is older,"
            " run: flask db upgrade. If it is newer, start the newer version."
        )
    return HealthAnswer(status="ready")


@blueprint.get("/metrics")
@public
@operation(
    "What was counted on this machine, for Prometheus",
    refusals=(NotFound, NoAccessToken),
    media_type=METRICS,
)
def metrics() -> Response:
    meter: Meter = current_app.extensions["foxtrot_metrics"]
    if not meter.is_on:
        raise NotFound("Nothing is counted here: FOXTROT_METRICS_TOKEN is not set.")
    given = request.authorization
    if given is None or given.type != "bearer" or not meter.may_be_read_with(given.token or ""):
        raise NoAccessToken("This needs Authorization: Bearer and the metrics token.")
    return Response(meter.exposition())


@blueprint.get("/openapi.json")
@public
def openapi() -> Response:
    title = f"{current_app.config['FOXTROT_SITE_NAME']} API"
    return jsonify(document(current_app, title))


@blueprint.get("/docs")
@public
def docs() -> str:
    return render_template("docs.html")


@blueprint.get("/foxtrot.js")
@public
def browser_client() -> Response:
    """The module of docs/browser.md."""
    with current_app.open_resource("static/foxtrot.js") as source:
        response = Response(source.read(), mimetype="text/javascript")
    response.headers["Cache-Control"] = "no-cache"  # kept, but asked for anew each time
    response.add_etag()
    return response.make_conditional(request)  # type: ignore[return-value]  # it gives itself


def _cacheable(members: dict[str, Any]) -> Response:
    response = jsonify(members)
    response.headers["Cache-Control"] = CACHEABLE
    return response
