"""The decorator on a small Flask app, seen from outside through HTTP (RFC 6750)."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from foxtrot import IssuerKeys, JWKSet
from foxtrot.flask import Bearer
from tests.verifier.minting import (
    ABSENT,
    AUDIENCE,
    ISSUER,
    NOW,
    Mint,
    SigningKey,
    make_es256,
)
from tests.verifier.service import CHALLENGE, Notes, ask, ask_with, notes_client
from tests.verifier.site import Site

# The table of answers


def test_a_good_token_lets_through(client: FlaskClient, mint: Mint) -> None:
    """The view runs and knows whose token it was."""
    answer = ask(client, mint())
    assert (answer.status_code, answer.json) == (200, {"subject": "u_alice"})


def test_no_credentials_are_401_without_an_error_code(client: FlaskClient, app: Notes) -> None:
    """RFC 6750 section 3.1: a request that lacks credentials gets no error information."""
    answer = ask(client, None)
    assert answer.status_code == 401
    assert answer.headers.getlist("WWW-Authenticate") == [CHALLENGE]
    assert app.calls == []


@pytest.mark.parametrize(
    "header",
    [
        "Basic dXNlcjpwYXNz",
        "Digest username=x",
        "Negotiate abc",
        "DPoP {token}",
        "Token {token}",
        "{token}",
        "JWT {token}",
        "Bearerx {token}",
        "xBearer {token}",
        "",
        " ",
        "\u212aearer {token}".encode().decode("latin-1"),
    ],
)
@pytest.mark.parametrize("path", ["/notes", "/read"])
def test_another_scheme_is_no_credentials(
    header: str, path: str, client: FlaskClient, mint: Mint
) -> None:
    """A good token under any other name than Bearer is not looked at."""
    answer = ask_with(client, header.replace("{token}", mint()), path)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == CHALLENGE
    assert answer.get_json()["code"] == "unauthorized"


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR", "Bearer"])
def test_the_scheme_is_matched_in_any_letter_case(
    scheme: str, client: FlaskClient, mint: Mint
) -> None:
    """RFC 9110 section 11.1."""
    assert ask_with(client, f"{scheme} {mint()}").status_code == 200


@pytest.mark.parametrize("header", ["  Bearer {token}", "Bearer {token}  ", "Bearer    {token}"])
def test_spaces_around_do_not_matter(header: str, client: FlaskClient, mint: Mint) -> None:
    """RFC 9110 section 11.4 allows several between scheme and token."""
    assert ask_with(client, header.replace("{token}", mint())).status_code == 200


MALFORMED = [
    "Bearer",
    "Bearer ",
    "bearer    ",
    "Bearer {token} {token}",
    "Bearer {token}, Bearer {token}",
    "Bearer {token},Bearer {token}",
    "Bearer {token},",
    "Bearer {token} x",
    "Bearer x {token}",
    'Bearer "{token}"',
    "Bearer token={token}",
    "Bearer {token}\x00",
    "Bearer \x00{token}",
    "Bearer {token}\n",
    "Bearer {token}\r\nX-Evil: 1",
    "Bearer \xff\xfe\x80\x00",
    "Bearer \xc3\xa9",
    "Bearer {}",
    "Bearer <script>alert(1)</script>",
    "Bearer\t{token}",
    "Bearer: {token}",
    "Bearer={token}",
    "Bearer/{token}",
    "Bearer,Bearer {token}",
    "Bearer\xa0{token}",
    "Bearer\x00{token}",
    "Bearer Bearer {token}",
]


@pytest.mark.parametrize("header", MALFORMED, ids=repr)
@pytest.mark.parametrize("path", ["/notes", "/maybe"])
def test_a_malformed_header_is_400_invalid_request(
    header: str, path: str, client: FlaskClient, app: Notes, mint: Mint
) -> None:
    """RFC 6750 section 3.1: a request that includes a token badly is a bad request."""
    answer = ask_with(client, header.replace("{token}", mint()), path)
    assert answer.status_code == 400
    assert answer.get_json()["code"] == "invalid_request"
    assert 'error="invalid_request"' in answer.headers["WWW-Authenticate"]
    assert app.calls == []


def test_what_is_too_large_is_not_asked_whether_it_is_a_token(client: FlaskClient) -> None:
    """Its size is the reason, whatever it consists of."""
    answer = ask_with(client, "Bearer " + "<" * 8193)
    assert (answer.status_code, answer.get_json()["reason"]) == (401, "too_large")


def test_two_headers_are_400_invalid_request(client: FlaskClient, mint: Mint) -> None:
    """Servers join repeated headers; which of the tokens counts is not guessed."""
    headers = [("Authorization", f"Bearer {mint()}"), ("Authorization", f"Bearer {mint()}")]
    answer = client.get("/notes", headers=headers)
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_request")


def bad_tokens(mint: Mint, hs_key: SigningKey) -> dict[str, str]:
    """One token for each reason."""
    return {
        "too_large": "A" * 9000,
        "malformed": "abc.def",
        "wrong_algorithm": mint(key=hs_key),
        "unknown_key": mint(header={"kid": "nobody"}),
        "bad_signature": mint(key=make_es256("es-1")),
        "wrong_type": mint(header={"typ": "JWT"}),
        "missing_claim": mint({"jti": ABSENT}),
        "bad_claim": mint({"sub": 5, "uid": ABSENT}),
        "wrong_issuer": mint({"iss": "https://evil.example"}),
        "wrong_audience": mint({"aud": "photos"}),
        "not_yet_valid": mint({"nbf": NOW + 60}),
        "expired": mint({"exp": NOW - 60, "iat": NOW - 900}),
    }


REASONS = [
    "too_large",
    "malformed",
    "wrong_algorithm",
    "unknown_key",
    "bad_signature",
    "wrong_type",
    "missing_claim",
    "bad_claim",
    "wrong_issuer",
    "wrong_audience",
    "not_yet_valid",
    "expired",
]


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("path", ["/notes", "/read", "/maybe", "/maybe/admin"])
def test_a_bad_token_is_401_with_the_reason(
    reason: str, path: str, client: FlaskClient, app: Notes, mint: Mint, hs_key: SigningKey
) -> None:
    """Also where a token is optional, and before any scope is looked at."""
    answer = ask(client, bad_tokens(mint, hs_key)[reason], path)
    assert answer.status_code == 401
    assert answer.get_json()["code"] == "invalid_token"
    assert answer.get_json()["reason"] == reason
    assert app.calls == []


@pytest.mark.parametrize("reason", REASONS)
def test_the_challenge_names_the_error(
    reason: str, client: FlaskClient, mint: Mint, hs_key: SigningKey
) -> None:
    """One header in the form of RFC 6750 section 3."""
    answer = ask(client, bad_tokens(mint, hs_key)[reason])
    detail = answer.get_json()["detail"]
    assert answer.headers.getlist("WWW-Authenticate") == [
        f'{CHALLENGE}, error="invalid_token", error_description="{detail}"'
    ]


def test_a_missing_scope_is_403_with_the_scope(client: FlaskClient, app: Notes, mint: Mint) -> None:
    """The client learns what to ask for."""
    answer = ask(client, mint({"scope": "notes:write"}), "/read")
    assert answer.status_code == 403
    assert answer.get_json()["code"] == "insufficient_scope"
    assert answer.get_json()["scope"] == "notes:read"
    assert answer.headers["WWW-Authenticate"].startswith(
        f'{CHALLENGE}, error="insufficient_scope", error_description="'
    )
    assert answer.headers["WWW-Authenticate"].endswith('", scope="notes:read"')
    assert app.calls == []


@pytest.mark.parametrize("scope", ["notes:read", "admin", "notes:read admins", ABSENT, ""])
def test_all_scopes_are_needed(scope: object, client: FlaskClient, mint: Mint) -> None:
    """Two scopes mean both, and the challenge names both in order."""
    answer = ask(client, mint({"scope": scope}), "/both")
    assert answer.status_code == 403
    assert answer.headers["WWW-Authenticate"].endswith('scope="admin notes:read"')


@pytest.mark.parametrize(
    "scope", ["notes:read admin", "admin notes:read other", "  admin notes:read"]
)
def test_enough_scopes_let_through(scope: str, client: FlaskClient, mint: Mint) -> None:
    """Their order and others beside them do not matter."""
    assert ask(client, mint({"scope": scope}), "/both").status_code == 200


@pytest.mark.parametrize(
    "scope",
    ["notes:reader", "notes:rea", "notes", "NOTES:READ", "notes:read,admin", "*", "notes:*"],
)
def test_a_scope_that_only_resembles_is_none(scope: str, client: FlaskClient, mint: Mint) -> None:
    """Scopes are compared whole and know neither case nor wildcards."""
    assert ask(client, mint({"scope": scope}), "/read").status_code == 403


def test_a_verifier_without_keys_is_503(mint: Mint) -> None:
    """No key was ever fetched: nobody gets in, and everybody may try again."""
    client = notes_client(keys=[IssuerKeys("http://127.0.0.1:1")])
    answer = ask(client, mint())
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert "WWW-Authenticate" not in answer.headers
    assert answer.get_json()["code"] == "unavailable"


@pytest.mark.parametrize("path", ["/maybe", "/maybe/admin"])
def test_a_verifier_without_keys_is_503_where_a_token_is_optional(path: str, mint: Mint) -> None:
    """A token that cannot be judged does not become nobody."""
    client = notes_client(keys=[IssuerKeys("http://127.0.0.1:1")])
    assert ask(client, mint(), path).status_code == 503


def test_a_service_finds_the_keys_by_the_issuer_alone(
    site: Site, es_key: SigningKey, mint: Mint
) -> None:
    """Issuer and audience are all that has to be configured."""
    site.publish(es_key)
    client = Notes(Bearer(issuer=site.url, audience=AUDIENCE)).test_client()
    now = int(time.time())
    times = {"iat": now, "nbf": now, "exp": now + 900}
    assert ask(client, mint({"iss": site.url, **times})).status_code == 200


@pytest.mark.parametrize("setting", ["secret", "public_key"])
def test_a_service_may_hold_one_key(
    setting: str, es_key: SigningKey, hs_key: SigningKey, mint: Mint
) -> None:
    """One shared secret, or one public key."""
    assert isinstance(hs_key.private, bytes)
    value = hs_key.private if setting == "secret" else es_key.pem
    client = notes_client(**{setting: value})
    assert ask(client, mint(key=hs_key if setting == "secret" else es_key)).status_code == 200


# The form of a refusal


def refusals(client: FlaskClient, mint: Mint) -> list[TestResponse]:
    """Answers of 401 of both kinds, 400 and 403."""
    return [
        ask(client, None),
        ask(client, "x"),
        ask_with(client, "Bearer"),
        ask(client, mint({"scope": ""}), "/read"),
    ]


def test_a_refusal_is_a_problem_document(client: FlaskClient, mint: Mint) -> None:
    """RFC 9457, with a fixed `code`; section 4.2.1 says what the title of a blank type is."""
    for answer in refusals(client, mint):
        problem = answer.get_json()
        assert answer.content_type == "application/problem+json"
        assert problem["status"] == answer.status_code
        assert problem["title"] == HTTPStatus(answer.status_code).phrase
        assert {"detail", "code"} <= problem.keys()
        assert problem["type"] == "about:blank"


def test_a_refusal_is_not_stored(client: FlaskClient, mint: Mint) -> None:
    """No cache keeps a refusal for somebody else."""
    assert {answer.headers["Cache-Control"] for answer in refusals(client, mint)} == {"no-store"}


@pytest.mark.parametrize("reason", REASONS)
def test_no_part_of_the_token_is_in_the_answer(
    reason: str, client: FlaskClient, mint: Mint, hs_key: SigningKey
) -> None:
    """Answers are logged in places where tokens must not be."""
    token = bad_tokens(mint, hs_key)[reason]
    answer = ask(client, token)
    told = answer.get_data(as_text=True) + str(answer.headers)
    assert not [part for part in (token, *token.split(".")) if part in told]


def test_what_was_sent_is_not_in_the_answer(client: FlaskClient) -> None:
    """Neither is a header that holds no token."""
    answer = ask_with(client, "Bearer hunter2 <script>alert(1)</script>")
    assert "hunter2" not in answer.get_data(as_text=True) + str(answer.headers)


@pytest.mark.parametrize(
    ("realm", "told"),
    [
        ("My notes", "My notes"),
        ('a"b', "ab"),
        ("a\\", "a"),
        ("a\r\nX-Evil: 1", "aX-Evil: 1"),
        ("Bücher", "Bcher"),
        (None, AUDIENCE),
        ("", AUDIENCE),
    ],
)
def test_the_realm_is_a_quoted_string(realm: str | None, told: str, keys: JWKSet) -> None:
    """Whatever it is set to, the header stays one well-formed header."""
    answer = ask(notes_client(keys=[keys], realm=realm), None)
    assert answer.headers["WWW-Authenticate"] == f'Bearer realm="{told}"'


def test_an_audience_is_made_fit_for_the_realm_too(keys: JWKSet) -> None:
    """The default realm goes the same way."""
    client = Notes(Bearer(ISSUER, 'no"tes\n', keys=[keys])).test_client()
    assert ask(client, None).headers["WWW-Authenticate"] == 'Bearer realm="notes"'


def unsigned(reason: str) -> bool:
    return reason in REASONS[:5]


@pytest.mark.parametrize("reason", REASONS)
def test_without_explanation_what_is_known_unsigned_is_one(
    reason: str, keys: JWKSet, mint: Mint, hs_key: SigningKey
) -> None:
    """With `explain=False` a forger learns nothing from the reason."""
    client = notes_client(keys=[keys], explain=False)
    answer = ask(client, bad_tokens(mint, hs_key)[reason])
    assert answer.get_json()["reason"] == ("bad_signature" if unsigned(reason) else reason)


def test_without_explanation_the_whole_answers_are_equal(
    keys: JWKSet, mint: Mint, hs_key: SigningKey
) -> None:
    """Neither body nor headers tell the five apart."""
    client, tokens = notes_client(keys=[keys], explain=False), bad_tokens(mint, hs_key)
    answers = [ask(client, tokens[reason]) for reason in REASONS if unsigned(reason)]
    assert len({(answer.data, str(answer.headers)) for answer in answers}) == 1


# Where the token is read


def test_a_token_in_the_url_is_not_read(client: FlaskClient, mint: Mint) -> None:
    """URLs end up in logs (RFC 9700 section 4.3.2)."""
    answer = client.get("/notes", query_string={"access_token": mint()})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == CHALLENGE


def test_a_token_in_the_body_or_a_cookie_is_not_read(client: FlaskClient, mint: Mint) -> None:
    """The header alone counts."""
    client.set_cookie("access_token", mint())
    assert client.post("/notes", data={"access_token": mint()}).status_code == 401
    assert client.post("/notes", json={"access_token": mint()}).status_code == 401


@pytest.fixture
def url_client(keys: JWKSet) -> FlaskClient:
    """A service that opted in to tokens in the URL."""
    return notes_client(keys=[keys], locations=("header", "query"))


def test_a_token_in_the_url_is_read_where_that_was_wanted(
    url_client: FlaskClient, mint: Mint
) -> None:
    """The article's way, as an explicit choice."""
    assert url_client.get("/notes", query_string={"access_token": mint()}).status_code == 200
    assert ask(url_client, mint()).status_code == 200
    assert ask(url_client, None).status_code == 401


@pytest.mark.parametrize("path", ["/notes", "/maybe"])
def test_a_bad_token_in_the_url_is_refused(path: str, url_client: FlaskClient) -> None:
    """It is judged like any other, where it is optional too."""
    assert url_client.get(path, query_string={"access_token": "x.y.z"}).status_code == 401


@pytest.mark.parametrize("value", ["", " ", "x y", "\x00", "é"])
def test_what_is_no_token_in_the_url_is_400(value: str, url_client: FlaskClient) -> None:
    """An empty parameter is a token that is missing its text."""
    answer = url_client.get("/maybe", query_string={"access_token": value})
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_request")


def test_a_token_in_two_places_is_400(url_client: FlaskClient, mint: Mint) -> None:
    """RFC 6750 section 2: not more than one method in a request."""
    answer = ask(url_client, mint(), f"/notes?access_token={mint()}")
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_request")


def test_two_tokens_in_the_url_are_400(url_client: FlaskClient, mint: Mint) -> None:
    """The same parameter twice is not a choice of one."""
    answer = url_client.get(f"/notes?access_token={mint()}&access_token={mint()}")
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("locations", [(), ("body",), ("header", "cookie"), "header"])
def test_other_places_cannot_be_asked_for(locations: Any, keys: JWKSet) -> None:
    """A misspelt place is an error when the service starts."""
    with pytest.raises(ValueError, match="locations"):
        Bearer(ISSUER, AUDIENCE, keys=[keys], locations=locations)


# Optional tokens


def test_no_token_is_anonymous_where_it_is_optional(client: FlaskClient) -> None:
    """The view runs for nobody in particular."""
    assert ask(client, None, "/maybe").get_json() == {"subject": None}


def test_another_scheme_is_anonymous_where_a_token_is_optional(client: FlaskClient) -> None:
    """A login by another scheme is none of our business."""
    assert ask_with(client, "Basic dXNlcjpwYXNz", "/maybe").get_json() == {"subject": None}


def test_a_good_token_counts_where_it_is_optional(client: FlaskClient, mint: Mint) -> None:
    """Whoever says who he is is known."""
    assert ask(client, mint(), "/maybe").get_json() == {"subject": "u_alice"}


def test_a_token_without_the_scope_is_403_where_it_is_optional(
    client: FlaskClient, mint: Mint
) -> None:
    """A token is there, and it does not carry what it needs."""
    assert ask(client, mint(), "/maybe/admin").status_code == 403


# Methods


def test_head_is_guarded_like_get(client: FlaskClient, app: Notes) -> None:
    """HEAD runs the view of GET, so it needs the same token."""
    assert client.head("/notes").status_code == 401
    assert client.head("/notes", headers={"Authorization": "Bearer x"}).status_code == 401
    assert app.calls == []


def test_a_head_with_a_token_lets_through(client: FlaskClient, mint: Mint) -> None:
    """And is answered without a body."""
    answer = client.head("/notes", headers={"Authorization": f"Bearer {mint()}"})
    assert (answer.status_code, answer.data) == (200, b"")


PREFLIGHT = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}


def test_a_preflight_needs_no_token(client: FlaskClient, app: Notes) -> None:
    """Browsers send it without credentials; it says the methods and runs nothing."""
    answer = client.options("/notes", headers=PREFLIGHT)
    assert answer.status_code == 200
    assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))
    assert app.calls == []


def test_a_preflight_passes_where_a_view_would_serve_it(
    app: Notes, bearer: Bearer, client: FlaskClient
) -> None:
    """The guard answers it in the place of a view that lists OPTIONS itself."""
    app.add_url_rule("/open", "open", bearer.required()(app.who), methods=["PUT", "OPTIONS"])
    answer = client.options("/open", headers=PREFLIGHT)
    assert answer.status_code == 200
    assert "PUT" in answer.headers["Allow"]


@pytest.mark.parametrize("method", ["OPTIONS", "options", "Options"])
def test_a_route_that_serves_options_is_no_hole(
    method: str, app: Notes, bearer: Bearer, client: FlaskClient
) -> None:
    """A view that lists OPTIONS among its methods does not run without a token."""
    view = bearer.required()(app.who)
    app.add_url_rule("/open", "open", view, methods=["GET", "OPTIONS"])
    answer = client.open("/open", method=method, headers=PREFLIGHT)
    assert answer.data == b"" or answer.status_code == 401
    assert app.calls == []


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_a_method_in_a_header_is_no_hole(header: str, client: FlaskClient, app: Notes) -> None:
    """Only the request's own method counts."""
    assert client.get("/notes", headers={header: "OPTIONS"}).status_code == 401
    assert app.calls == []


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
def test_every_other_method_is_guarded(
    method: str, app: Notes, bearer: Bearer, client: FlaskClient
) -> None:
    """Whatever methods a view has, none runs it without a token."""
    app.add_url_rule("/any", "any", bearer.required()(app.who), methods=[method])
    assert client.open("/any", method=method).status_code == 401
    assert app.calls == []


# Junk


@pytest.mark.parametrize("junk", ["A", "{", " ", ".", "=", "\xff", ",", "é", "Bearer "])
@pytest.mark.parametrize("path", ["/notes", "/maybe"])
def test_a_header_of_60_kilobytes_is_refused(junk: str, path: str, client: FlaskClient) -> None:
    """Too much of anything is a refusal and no crash."""
    text = ("x" + junk * 60_000)[:60_000]
    assert ask_with(client, f"Bearer {text}x", path).status_code in (400, 401, 431)


@pytest.mark.parametrize("count", [1, 100, 10_000])
def test_many_dots_are_refused(count: int, client: FlaskClient) -> None:
    """A text of nothing but separators is no token."""
    assert ask(client, "." * count).status_code == 401
