"""Users: one account for each folded address, ids that say nothing, and a clean end.

A folded address is the key, the typed one is what is kept and shown.
"""

from __future__ import annotations

import shutil
import sqlite3
import unicodedata
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st

from app import addresses, create_app, proofs, users
from app.db import db
from app.errors import EmailTaken, InvalidCredentials, ValidationFailed
from app.ids import new_id
from tests.conftest import add_user, begin_session, dispose, find_user
from tests.support import (
    PASSWORD,
    SOMEWHERE,
    access_token,
    cheap_settings,
    get,
    log_in,
    post_json,
    submit,
)

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def shared(template_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    """One app for all tests of addresses that leave nothing behind."""
    folder = shutil.copytree(template_dir, tmp_path_factory.mktemp("shared") / "data")
    app = create_app(cheap_settings(folder))
    yield app
    dispose(app)


# Addresses that are one

SAME = {
    "upper case": ("alice@example.com", "ALICE@EXAMPLE.COM"),
    "mixed case": ("Alice.Liddell@Example.com", "alice.liddell@example.COM"),
    "spaces around": ("alice@example.com", "  alice@example.com "),
    "composed and decomposed": ("zoë@example.com", "zoe\u0308@example.com"),
    "full width": ("alice@example.com", "ａｌｉｃｅ@example.com"),
    "a full-width domain": ("alice@example.com", "alice@ｅｘａｍｐｌｅ.com"),
    "a ligature": ("office@example.com", "o\ufb03ce@example.com"),
    "the Kelvin sign": ("kelvin@example.com", "\u212aelvin@example.com"),
    "the Angstrom sign": ("\u00e5sa@example.com", "\u212bsa@example.com"),
    "capital and small umlauts": ("MÜLLER@example.com", "müller@example.com"),
    "sharp s": ("straße@example.com", "STRASSE@example.com"),
    "two small sigmas": ("οδυσσεύς@example.com", "ΟΔΥΣΣΕΎΣ@example.com"),
    "a domain in two spellings": ("alice@münchen.example.com", "alice@xn--mnchen-3ya.example.com"),
    "punycode in capitals": ("alice@münchen.example.com", "alice@XN--MNCHEN-3YA.example.com"),
    "capital letters in a domain": ("alice@MÜNCHEN.example.com", "alice@münchen.example.com"),
    "a decomposed domain": ("alice@münchen.example.com", "alice@mu\u0308nchen.example.com"),
    "an ideographic full stop": ("alice@example.com", "alice@example。com"),
}

DIFFERENT = {
    "dots count": ("alice.liddell@example.com", "aliceliddell@example.com"),
    "a tag counts": ("alice@example.com", "alice+notes@example.com"),
    "hyphens count": ("alice-l@example.com", "alicel@example.com"),
    "accents count": ("zoë@example.com", "zoe@example.com"),
    "a dotless i": ("alice@example.com", "al\u0131ce@example.com"),
    "a Cyrillic a": ("alice@example.com", "\u0430lice@example.com"),
    "another domain": ("alice@example.com", "alice@example.org"),
    "a subdomain": ("alice@example.com", "alice@mail.example.com"),
    "l and 1": ("alice@example.com", "a1ice@example.com"),
}


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME.keys())
def test_these_are_one_account(client: FlaskClient, one: str, other: str) -> None:
    """Who has one has the other: it logs in, and cannot be registered."""
    body = {"email": one, "password": PASSWORD}
    assert post_json(client, "/auth/register", body).status_code == 201
    assert post_json(client, "/auth/register", {**body, "email": other}).status_code == 409
    assert log_in(client, other).status_code == 200


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT.keys())
def test_these_are_two_accounts(client: FlaskClient, one: str, other: str) -> None:
    """Mail providers keep them apart, or may."""
    for email in (one, other):
        body = {"email": email, "password": PASSWORD}
        assert post_json(client, "/auth/register", body).status_code == 201
    ids = {
        get(client, "/api/me", access_token(client, email)).get_json()["id"]
        for email in (one, other)
    }
    assert len(ids) == 2


def test_a_capital_i_with_a_dot_is_not_an_i(app: Flask) -> None:
    """Whatever locale the machine has, and whatever databases make of it."""
    with app.app_context():
        keys = [addresses.fold(f"{letter}nga@example.com") for letter in "iIıİ"]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


@pytest.mark.parametrize(
    "typed", ["Alice.Liddell@Example.COM", "zoe\u0308@example.com", "İnga@a.com"]
)
def test_an_address_is_shown_as_it_was_typed(client: FlaskClient, typed: str) -> None:
    """Folding is for finding."""
    answer = post_json(client, "/auth/register", {"email": typed, "password": PASSWORD})
    assert answer.get_json()["email"] == typed


def test_spaces_around_an_address_are_not_kept(client: FlaskClient) -> None:
    """They come from copying."""
    body = {"email": " alice@example.com  ", "password": PASSWORD}
    assert post_json(client, "/auth/register", body).get_json()["email"] == "alice@example.com"


def test_the_page_finds_the_account_too(client: FlaskClient, alice: str) -> None:
    """One rule for the form and for JSON."""
    assert (
        submit(client, "/login", email=f" {alice.upper()} ", password=PASSWORD).status_code == 303
    )


def test_the_database_itself_allows_one_account_for_each_key(app: Flask, data_dir: Path) -> None:
    """Whoever comes at the same moment."""
    add_user(app, "alice@example.com")
    with closing(sqlite3.connect(data_dir / "foxtrot.sqlite3")) as connection:
        columns = "email, email_key, password_hash, password_changed_at, own_scopes, created_at"
        copy = f"INSERT INTO users (public_id, {columns}) SELECT 'u_x', {columns} FROM users"
        with pytest.raises(sqlite3.IntegrityError, match="email_key"):
            connection.execute(copy)


def test_who_is_slower_is_told_that_the_address_is_taken(app: Flask) -> None:
    """Two prepared at once; the second is refused when it is written."""
    with app.app_context():
        first, second = (users.prepare("alice@example.com", PASSWORD) for _ in range(2))
        users.save(first, SOMEWHERE)
        with pytest.raises(EmailTaken):
            users.save(second, SOMEWHERE)


# What is an address

LABEL = "x" * 63
GOOD = {
    "plain": "alice@example.com",
    "dots": "a.b.c@example.com",
    "a tag": "alice+notes@example.com",
    "all that may stand before the at": "a!#$%&'*+-/=?^_`{|}~z@example.com",
    "one letter": "a@example.com",
    "64 before the at": f"{'a' * 64}@example.com",
    "254 characters": f"{'a' * 61}@{LABEL}.{LABEL}.{LABEL[:60]}.com",
    "digits": "123@example.com",
    "a short domain": "a@b.de",
    "another script": "пример@пример.com",
    "an apostrophe": "o'neill@example.com",
}
BAD = {
    "nothing": "",
    "a space": " ",
    "no at": "alice",
    "nothing before the at": "@example.com",
    "nothing behind the at": "alice@",
    "two ats": "alice@bob@example.com",
    "no dot in the domain": "alice@example",
    "a dot first": ".alice@example.com",
    "a dot last": "alice.@example.com",
    "two dots": "alice..liddell@example.com",
    "a space inside": "alice liddell@example.com",
    "a space before the at": "alice @example.com",
    "a domain with a space": "alice@exam ple.com",
    "a hyphen first in the domain": "alice@-example.com",
    "an empty label": "alice@example..com",
    "255 characters": f"{'a' * 62}@{LABEL}.{LABEL}.{LABEL[:60]}.com",
    "a thousand characters": f"alice@{'a.' * 495}com",
    "64 in a label": f"alice@{'a' * 64}.com",
    "a quoted name": '"alice"@example.com',
    "a quoted space": '"alice liddell"@example.com',
    "a quoted at": '"alice@home"@example.com',
    "an escaped quote": '"ali\\"ce"@example.com',
    "a name and an address": "Alice <alice@example.com>",
    "angle brackets": "<alice@example.com>",
    "a comment": "alice(liddell)@example.com",
    "a literal domain": "alice@[192.0.2.1]",
    "a literal IPv6 domain": "alice@[IPv6:2001:db8::1]",
    "an IP address": "alice@192.0.2.1",
    "two addresses": "alice@example.com,bob@example.com",
    "two addresses with a semicolon": "alice@example.com;bob@example.com",
    "mailto": "mailto:alice@example.com",
    "a line break behind": "alice@example.com\n",
    "a line break before": "\nalice@example.com",
    "CR LF and a header": "alice@example.com\r\nBcc: bob@example.com",
    "CR inside": "alice\r@example.com",
    "a tab": "alice\t@example.com",
    "a tab behind": "alice@example.com\t",
    "NUL": "alice\0@example.com",
    "NUL behind": "alice@example.com\0",
    "a bell": "alice\a@example.com",
    "delete": "alice\x7f@example.com",
    "a C1 control": "alice\x85@example.com",
    "a line separator": "alice\u2028@example.com",
    "a hard space": "alice\u00a0@example.com",
    "an invisible character": "ali\u200bce@example.com",
    "a joiner": "ali\u200dce@example.com",
    "a soft hyphen": "ali\u00adce@example.com",
    "a direction override": "alice\u202e@example.com",
    "a byte order mark": "\ufeffalice@example.com",
    "a lone surrogate": "ali\ud800ce@example.com",
    "a private character": "ali\ue000ce@example.com",
    "broken punycode": "alice@xn--a.com",
    "a full-width at": "alice＠example.com",
}


@pytest.mark.parametrize("email", GOOD.values(), ids=GOOD.keys())
def test_an_address_is_accepted(shared: Flask, email: str) -> None:
    """And is found again by its own folded form."""
    with shared.app_context():
        key = addresses.fold(email)
        assert key is not None
        assert addresses.fold(key) == key


@pytest.mark.parametrize("email", BAD.values(), ids=BAD.keys())
def test_what_is_no_address_is_refused(shared: Flask, email: str) -> None:
    """With the field, in words, and before anything is hashed."""
    with shared.app_context():
        assert addresses.fold(email) is None
        with pytest.raises(ValidationFailed) as refused:
            users.create(email, PASSWORD, SOMEWHERE)
    assert refused.value.errors == {"email": ["Enter an e-mail address such as ann@example.com."]}


@pytest.mark.parametrize("email", BAD.values(), ids=BAD.keys())
def test_what_is_no_address_logs_nobody_in(shared: Flask, email: str) -> None:
    """Like any unknown one."""
    with shared.app_context(), pytest.raises(InvalidCredentials):
        proofs.authenticate(email, PASSWORD, SOMEWHERE)


@pytest.mark.parametrize("name", ["no at", "CR LF and a header", "a quoted name", "255 characters"])
def test_the_refusal_names_the_field_by_json(client: FlaskClient, name: str) -> None:
    """422, and the address is not repeated."""
    answer = post_json(client, "/auth/register", {"email": BAD[name], "password": PASSWORD})
    [error] = answer.get_json()["errors"]
    assert (answer.status_code, error["field"]) == (422, "email")
    assert BAD[name] not in answer.get_data(as_text=True)


ADDRESSES = st.text(max_size=30) | st.builds(
    "{}@{}.{}".format,
    st.text(min_size=1, max_size=20),
    st.text(min_size=1, max_size=20) | st.just("example"),
    st.sampled_from(["com", "de", "рф", "xn--p1ai"]),
)


@settings(derandomize=True, database=None, deadline=None, max_examples=300)
@given(ADDRESSES)
def test_folding_never_fails_and_leaves_no_control_characters(email: str) -> None:
    """Whatever comes, it is an address or it is none."""
    key = addresses.fold(email)
    if key is not None:
        assert not any(unicodedata.category(character).startswith("C") for character in key)
        assert addresses.fold(email.upper()) in (key, None)
        assert addresses.fold(f"  {email} ") == key


# Ids


def test_ids_are_never_given_twice(app: Flask) -> None:
    """130 random bits: no two of a thousand are alike, in no letter of their beginning."""
    ids = {new_id("u") for _ in range(1000)}
    assert len(ids) == 1000
    assert len({each[2:8] for each in ids}) == 1000
    assert all(len(each) == 28 for each in ids)


def test_an_id_has_nothing_of_the_address(app: Flask) -> None:
    """The same address, made anew, is another user."""
    ids = []
    for _ in range(2):
        add_user(app, "alice@example.com")
        with app.app_context():
            user = find_user(app, "alice@example.com")
            ids.append(user.public_id)
            users.delete(user, SOMEWHERE)
    assert ids[0] != ids[1]


def test_a_new_user_of_an_old_address_inherits_nothing(app: Flask, client: FlaskClient) -> None:
    """Neither the tokens nor the scopes of the one before."""
    add_user(app, "alice@example.com", "admin")
    token = access_token(client, "alice@example.com")
    with app.app_context():
        users.delete(find_user(app, "alice@example.com"), SOMEWHERE)
    add_user(app, "alice@example.com")
    assert get(client, "/api/me", token).status_code == 401
    with app.app_context():
        assert "admin" not in find_user(app, "alice@example.com").scopes


def test_a_user_says_nothing_of_themselves_in_a_log(app: Flask, alice: str) -> None:
    """What `repr` shows is the id."""
    with app.app_context():
        user = find_user(app, alice)
        session, _ = begin_session(user)
        shown = repr(user) + repr(session)
        assert shown == f"<User {user.public_id}><LoginSession {session.public_id}>"


# The end


def count(data_dir: Path, table: str) -> int:
    with closing(sqlite3.connect(data_dir / "foxtrot.sqlite3")) as connection:
        number: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        return number


def test_deleting_a_user_deletes_their_sessions(
    app: Flask, client: FlaskClient, data_dir: Path, alice: str, bob: str
) -> None:
    """And nobody else's."""
    for email in (alice, alice, bob):
        access_token(client, email)
    with app.app_context():
        users.delete(find_user(app, alice), SOMEWHERE)
    assert (count(data_dir, "users"), count(data_dir, "login_sessions")) == (1, 1)
    assert log_in(client, bob).status_code == 200


def test_nothing_of_a_deleted_user_is_left(
    app: Flask, client: FlaskClient, data_dir: Path, alice: str
) -> None:
    """No row of any table has the address; one event has the id, and says that it is deleted."""
    access_token(client, alice)
    with app.app_context():
        public_id = find_user(app, alice).public_id
        users.delete(find_user(app, alice), SOMEWHERE)
    with closing(sqlite3.connect(data_dir / "foxtrot.sqlite3")) as connection:
        rows = "\n".join(connection.iterdump())
    assert alice not in rows
    assert rows.count(public_id) == 1
    assert "user.deleted" in rows


def test_disabling_twice_keeps_the_first_moment(app: Flask, alice: str) -> None:
    """It says since when."""
    with app.app_context():
        user = find_user(app, alice)
        users.disable(user, SOMEWHERE, NOON)
        users.disable(user, SOMEWHERE)
        assert user.disabled_at == NOON


def test_who_is_enabled_again_can_log_in(app: Flask, client: FlaskClient, alice: str) -> None:
    """With the same id."""
    before = get(client, "/api/me", access_token(client, alice)).get_json()["id"]
    with app.app_context():
        users.disable(find_user(app, alice), SOMEWHERE)
        users.enable(find_user(app, alice), SOMEWHERE)
    assert get(client, "/api/me", access_token(client, alice)).get_json()["id"] == before


def test_a_disabled_administrator_does_not_count_as_one(app: Flask) -> None:
    """So that a new first one can be made."""
    add_user(app, "root@example.com", "admin")
    with app.app_context():
        assert users.any_admin()
        users.disable(find_user(app, "root@example.com"), SOMEWHERE)
        assert not users.any_admin()


def test_everybody_is_read_page_by_page(app: Flask) -> None:
    """In the order in which they were made, none twice, none left out."""
    with app.app_context():
        for number in range(250):
            db.session.add(a_row(number))
        db.session.commit()
        assert [user.email for user in users.everybody()] == [f"{n}@a.com" for n in range(250)]


def a_row(number: int) -> users.User:
    return users.User(
        public_id=f"u_{number}",
        email=f"{number}@a.com",
        email_key=f"{number}@a.com",
        password_hash="",
        password_changed_at=NOON,
        created_at=NOON,
    )


SCOPES = [("notes:read", True), ("a", True), ("x" * 100, True), ("a!#z", True)]
NO_SCOPES = ["", " ", "a b", 'a"b', "a\\b", "é", "a\n", "\0", "x" * 101, "a\u00a0b"]


@pytest.mark.parametrize(("text", "is_one"), SCOPES + [(text, False) for text in NO_SCOPES])
def test_what_can_be_a_scope(text: str, is_one: bool) -> None:
    """RFC 6749 section 3.3."""
    assert users.is_scope(text) == is_one
