"""Passwords: which are accepted, how they are kept, and that they are checked exactly.

NIST SP 800-63B-4 section 3.1.1: by rule, and through the door people use. The
forms themselves are in tests/pages/.
"""

from __future__ import annotations

import random
import re
import secrets
import sqlite3
import string
import time
import unicodedata
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st
from zxcvbn.frequency_lists import FREQUENCY_LISTS

import config
from app import passwords, users
from app.passwords import hash_password, needs_rehash, normalise, verify, weaknesses
from tests.conftest import MakeApp, add_user, find_user
from tests.support import (
    CHEAP_HASH,
    NO_LOGIN_LIMITS,
    ORIGIN,
    PASSWORD,
    SOMEWHERE,
    log_in,
    post_json,
    submit,
)

ALICE = "alice@example.com"
STRONG = "seven green lamps above the harbour"
CONTEXT = [ALICE, "alice", "example", "com", "Foxtrot"]
CHEAP_ARGON2ID = "argon2id:1024:1:1"
METHODS = [CHEAP_HASH, "scrypt:2048:2:2", CHEAP_ARGON2ID, "argon2id:2048:2:2"]

steady = settings(derandomize=True, database=None, deadline=None, max_examples=50)


def judge(password: str, min_length: int = 15) -> list[str]:
    """What is wrong with a new password of Alice's."""
    return weaknesses(password, min_length=min_length, context=CONTEXT)


def is_stored(client: FlaskClient, password: str, email: str = ALICE) -> bool:
    """Register by JSON, and say whether the password was accepted."""
    answer = post_json(client, "/auth/register", {"email": email, "password": password})
    assert answer.status_code in (201, 422), answer.get_data(as_text=True)
    return answer.status_code == 201


def opens(client: FlaskClient, password: str, email: str = ALICE) -> bool:
    """Log in by JSON, and say whether it was the right password."""
    answer = log_in(client, email, password)
    assert answer.status_code in (200, 401), answer.get_data(as_text=True)
    return answer.status_code == 200


def stored_hash(app: Flask, email: str = ALICE) -> str:
    with app.app_context():
        return find_user(app, email).password_hash


def store_hash(data_dir: Path, hashed: str) -> None:
    """Put a hash into every row, as a damaged or a foreign database would hold it."""
    with closing(sqlite3.connect(data_dir / "foxtrot.sqlite3")) as connection:
        connection.execute("UPDATE users SET password_hash = ?", (hashed,))
        connection.commit()


# Length

LONG = "Vq7#mT2xLw9!bRz4" * 100
"""Random, and then again: only its length matters."""

LENGTHS = [
    ("rT7#mQ2xLw9!bR", False),
    ("rT7#mQ2xLw9!bRz", True),
    ("🦊🐻🌲🚀🎻🧭🪁🍋🦉🥁🧩🪐🐙⛵", False),
    ("🦊🐻🌲🚀🎻🧭🪁🍋🦉🥁🧩🪐🐙⛵🗿", True),
    ("ärgert öfter übel", True),
    ("狐は茶色い犬を飛び越えて走る", False),
    ("狐は茶色い犬を飛び越えて走るよ", True),
]


@pytest.mark.parametrize(("password", "accepted"), LENGTHS)
def test_length_is_counted_in_characters(password: str, accepted: bool) -> None:
    """In code points, not in bytes: fifteen, whatever the script."""
    assert (judge(password) == []) == accepted


def test_characters_are_counted_as_they_are_kept() -> None:
    """A letter and its accent are one, after normalisation."""
    decomposed = unicodedata.normalize("NFD", "äöüßéèêëçñåøæî")
    assert len(decomposed) > 15
    assert judge(decomposed)


@pytest.mark.parametrize(
    ("password", "missing"),
    [("", "15 characters"), ("x", "14 characters"), ("x" * 14, "1 character")],
)
def test_a_short_password_is_told_how_much_is_missing(password: str, missing: str) -> None:
    """In the number that grammar wants."""
    assert judge(password) == [f"Use at least 15 characters: {missing} to go."]


@pytest.mark.parametrize(("setting", "accepted"), [("8", True), ("12", True), ("13", False)])
def test_the_least_length_is_a_setting(make_app: MakeApp, setting: str, accepted: bool) -> None:
    """For services that ask for more than a password."""
    client = make_app(FOXTROT_PASSWORD_MIN_LENGTH=setting).test_client()
    assert is_stored(client, "rT7#mQ2xLw9!") == accepted


@pytest.mark.parametrize("length", [64, 65, 128, 1023, 1024])
def test_long_passwords_are_taken_whole(client: FlaskClient, length: int) -> None:
    """Up to 1,024 bytes; the last character counts."""
    assert is_stored(client, LONG[:length])
    assert opens(client, LONG[:length])
    assert not opens(client, LONG[: length - 1])
    assert not opens(client, LONG[: length - 1] + "~")


@pytest.mark.parametrize("length", [1025, 1100, 10_000])
def test_a_password_that_is_too_long_is_refused_and_not_cut(
    client: FlaskClient, length: int
) -> None:
    """Neither a prefix of it nor all of it opens anything."""
    password = (LONG * 7)[:length]
    assert not is_stored(client, password)
    assert not opens(client, password)
    assert not opens(client, password[:1024])


def test_the_most_is_counted_in_bytes_after_normalisation() -> None:
    """What is hashed is what is measured."""
    assert normalise("é" * 512) is not None
    assert normalise("é" * 513) is None
    assert normalise("\ufdfa" * 57) is None  # one character that is eighteen


def test_more_than_the_most_opens_nothing(client: FlaskClient) -> None:
    """A right password with something behind it is a wrong one, however long."""
    assert is_stored(client, LONG[:1024])
    assert not opens(client, LONG[:1025])


def test_there_are_no_rules_of_composition() -> None:
    """Letters alone are as good as anything of the same strength."""
    assert judge("purple harbour violin meadow") == []
    assert judge("rtqmxlwbzkvpcjhdgs") == []
    assert judge("84615073926158047319") == []


def test_spaces_count_as_characters() -> None:
    """Pass phrases have them."""
    assert len("nvq wlz rty kpx") == 15
    assert judge("nvq wlz rty kpx") == []


# The very same password, and no other


SPELLINGS = [
    ("café harbour violin meadow", "cafe\u0301 harbour violin meadow"),
    ("Ångström harbour violin", "\u212bngstro\u0308m harbour violin"),
    ("purple harbour violin", "ｐｕｒｐｌｅ　ｈａｒｂｏｕｒ　ｖｉｏｌｉｎ"),
    ("office harbour violin", "o\ufb03ce harbour violin"),
    ("kilo 1 harbour violin", "\u212ailo \u2460 harbour violin".replace("\u212a", "k")),
    ("purple harbour\u00a0violin", "purple harbour violin"),
    ("ガクブチ ザブトン バナナ ゴマ", "ｶﾞｸﾌﾞﾁ ｻﾞﾌﾞﾄﾝ ﾊﾞﾅﾅ ｺﾞﾏ"),
]


@pytest.mark.parametrize(("one", "other"), SPELLINGS)
def test_one_password_in_two_encodings_is_one_password(
    app: Flask, client: FlaskClient, one: str, other: str
) -> None:
    """NFKC, when it is set and when it is checked: keyboards differ, people do not."""
    assert is_stored(client, one, "one@example.com")
    assert is_stored(client, other, "other@example.com")
    assert opens(client, other, "one@example.com")
    assert opens(client, one, "other@example.com")


NOT_THE_SAME: dict[str, Callable[[str], str]] = {
    "a space before": lambda text: " " + text,
    "a space behind": lambda text: text + " ",
    "a line break behind": lambda text: text + "\n",
    "a tab behind": lambda text: text + "\t",
    "upper case": str.upper,
    "the other case": str.swapcase,
    "a first capital": str.capitalize,
    "one space more inside": lambda text: text.replace(" ", "  ", 1),
    "no spaces": lambda text: text.replace(" ", ""),
    "the last character missing": lambda text: text[:-1],
    "the first character missing": lambda text: text[1:],
    "one more character": lambda text: text + "r",
    "itself twice": lambda text: text * 2,
    "an accent": lambda text: text.replace("a", "á", 1),
    "a look-alike of another script": lambda text: text.replace("a", "\u0430", 1),
    "an invisible character": lambda text: text + "\u200b",
    "an escaped character": lambda text: text.replace(" ", "%20"),
    "its first eight characters": lambda text: text[:8],
}


@pytest.mark.parametrize("change", NOT_THE_SAME.values(), ids=NOT_THE_SAME.keys())
@pytest.mark.parametrize("method", [CHEAP_HASH, CHEAP_ARGON2ID])
def test_anything_else_is_another_password(method: str, change: Callable[[str], str]) -> None:
    """Nothing is trimmed, folded or cut."""
    stored = hash_password(STRONG, method)
    assert verify(stored, STRONG, method)
    assert not verify(stored, change(STRONG), method)


@pytest.mark.parametrize("password", [f" {STRONG}", f"{STRONG} ", f"\t{STRONG}\n", f"  {STRONG}"])
def test_spaces_around_a_password_belong_to_it(client: FlaskClient, password: str) -> None:
    """By JSON and by the form."""
    assert is_stored(client, password)
    assert opens(client, password)
    assert not opens(client, STRONG)
    assert submit(client, "/login", email=ALICE, password=password).status_code == 303


def test_case_counts(client: FlaskClient) -> None:
    """All of it."""
    assert is_stored(client, "Purple Harbour Violin")
    assert not opens(client, "purple harbour violin")


UNUSABLE = ["\0", f"{STRONG}\0", f"\0{STRONG}", f"{STRONG}\0x", f"{STRONG}\ud800"]


@pytest.mark.parametrize("password", UNUSABLE, ids=ascii)
def test_what_cannot_be_text_is_never_a_password(password: str) -> None:
    """HMAC pads keys with zeros, so `abc` and `abc\\0` would be the same."""
    assert judge(password)
    assert not verify(hash_password(STRONG, CHEAP_HASH), password, CHEAP_HASH)
    with pytest.raises(ValueError, match="not a password"):
        hash_password(password, CHEAP_HASH)


@pytest.mark.parametrize("password", UNUSABLE, ids=ascii)
def test_what_cannot_be_text_opens_nothing(client: FlaskClient, password: str) -> None:
    """By JSON it is a malformed request, by the form a wrong password."""
    assert is_stored(client, STRONG)
    assert log_in(client, ALICE, password).status_code == 400
    form = {"email": ALICE, "password": password.encode("utf-8", "surrogatepass")}
    answer = client.post("/login", data=form, headers={"Origin": ORIGIN}, base_url=ORIGIN)
    assert answer.status_code == 401


@steady
@given(st.text(min_size=1, max_size=40))
def test_every_text_is_its_own_password(text: str) -> None:
    """What can be kept verifies, and one character more does not."""
    if normalise(text) is not None:
        stored = hash_password(text, CHEAP_HASH)
        assert verify(stored, text, CHEAP_HASH)
        assert not verify(stored, text + "x", CHEAP_HASH)


# What is easy to guess

COMMON: list[str] = list(FREQUENCY_LISTS["passwords"])


def test_common_passwords_of_that_length_are_refused() -> None:
    """All of the 30,000 most common that are long enough."""
    fitting = [word for word in COMMON if len(word) >= 15]
    assert len(fitting) > 20
    assert [word for word in fitting if not judge(word)] == []


def repeated(word: str, separator: str) -> str:
    """A common password often enough to be long enough."""
    times = max(2, -(-(15 + len(separator)) // (len(word) + len(separator))))
    return separator.join([word] * times)


@pytest.mark.parametrize("separator", ["", " ", "-", "_", ".", ",", "+", "/", "!", ", "])
def test_a_common_password_said_twice_is_refused(separator: str) -> None:
    """Whatever stands between."""
    doubles = [repeated(word, separator) for word in COMMON[:3000:100]]
    assert all(len(password) >= 15 for password in doubles)
    assert [password for password in doubles if not judge(password)] == []


GUESSABLE = [
    "password password",
    "Password Password",
    "passwordpassword",
    "p@ssw0rd p@ssw0rd",
    "Password1 Password2",
    "password1234567",
    "Password12345678!",
    "1234567890123456",
    "123 123 123 123 123",
    "aaaaaaaaaaaaaaa",
    "a a a a a a a a a a",
    "abcabcabcabcabcabc",
    "abcdefghijklmnop",
    "qwertyuiopasdfg",
    "1q2w3e4r5t6y7u8i",
    "iloveyouiloveyou",
    "               ",
    "...............",
    "ｐａｓｓｗｏｒｄ　ｐａｓｓｗｏｒｄ",
    "drowssap drowssap",
    "letmein letmein letmein",
]


@pytest.mark.parametrize("password", GUESSABLE)
def test_what_is_guessed_first_is_refused(client: FlaskClient, password: str) -> None:
    """Through the door, and by both the form and JSON."""
    assert not is_stored(client, password)
    assert submit(client, "/register", email=ALICE, password=password).status_code == 422


CONTEXTUAL = [
    "alice@example.com",
    "alice.example.com",
    "alice alice alice",
    "alicealicealice",
    "Alice@Example.Com",
    "ecila ecila ecila",
    "alice example com",
    "alice-example-com",
    "foxtrotfoxtrotfoxtrot",
    "Foxtrot Foxtrot 1",
    "foxtrot password",
]


@pytest.mark.parametrize("password", CONTEXTUAL)
def test_words_of_the_context_do_not_help(client: FlaskClient, password: str) -> None:
    """The own address and the site's name are tried first by whoever knows them."""
    assert not is_stored(client, password)


def test_the_sites_own_name_is_context(make_app: MakeApp) -> None:
    """As the operator set it."""
    client = make_app(FOXTROT_SITE_NAME="Zwitscherkasten").test_client()
    assert not is_stored(client, "Zwitscherkasten")
    assert not is_stored(client, "zwitscherkasten zwitscherkasten")


def test_somebody_elses_context_is_no_context() -> None:
    """A word is weak only for whom it belongs to."""
    password = "quixotic-zephyr"
    mine = ["quixotic-zephyr@example.com", "quixotic-zephyr", "example", "com"]
    assert judge(password) == []
    assert weaknesses(password, min_length=15, context=mine)


@pytest.mark.parametrize("password", ["password password", "aaaaaaaaaaaaaaa", "alice alice alice"])
def test_a_refusal_says_what_to_do(client: FlaskClient, password: str) -> None:
    """In sentences, and the same ones as the advice while typing."""
    body = {"email": ALICE, "password": password}
    errors = post_json(client, "/auth/register", body).get_json()["errors"]
    advice = post_json(client, "/auth/password-advice", body).get_json()["advice"]
    assert [error["message"] for error in errors] == advice
    assert {error["field"] for error in errors} == {"password"}
    assert all(re.fullmatch(r"[A-Z].+", line) for line in advice)


# What is hard to guess

SYMBOLS = "!@#$%^&*()-_=+[]{};:,.<>?/|~"
ALPHABETS = [
    string.ascii_letters + string.digits,
    string.ascii_letters + string.digits + "!@#$%^&*",
    string.ascii_letters + string.digits + SYMBOLS,
    string.ascii_lowercase + string.digits,
    string.hexdigits.lower(),
]


@settings(steady, max_examples=60)
@given(st.integers(20, 64), st.sampled_from(ALPHABETS), st.integers(0, 2**64))
def test_what_a_password_manager_makes_is_accepted(length: int, alphabet: str, seed: int) -> None:
    """Twenty characters or more, of any of the usual alphabets."""
    rng = random.Random(seed)
    assert judge("".join(rng.choice(alphabet) for _ in range(length))) == []


WORDS: list[str] = [
    word for word in FREQUENCY_LISTS["english_wikipedia"] if 4 <= len(word) <= 8 and word.isalpha()
][500:8276]


@steady
@given(st.sampled_from([" ", "-", ".", ""]), st.integers(0, 2**64))
def test_five_words_drawn_by_lot_are_accepted(separator: str, seed: int) -> None:
    """7,776 words, as many as five dice tell apart."""
    rng = random.Random(seed)
    assert len(WORDS) == 7776
    assert judge(separator.join(rng.choice(WORDS) for _ in range(5))) == []


def test_secrets_of_the_operator_are_accepted(client: FlaskClient) -> None:
    """What the docs recommend for making one."""
    assert is_stored(client, secrets.token_urlsafe(36))


# The time that a judgement takes


def seconds(action: Callable[[], object], tries: int = 3) -> float:
    """Processor time of this thread, the best of some tries."""
    taken = []
    for _ in range(tries):
        began = time.thread_time()
        action()
        taken.append(time.thread_time() - began)
    return min(taken)


LOOK_ALIKES = "4@8({[<369&1!|/0$5+7%2"
ORDINARY = "seven green lamps above the harbour at night, and two more of them then"
PATHOLOGICAL = {
    "each look-alike": (LOOK_ALIKES * 4)[:72],
    "look-alikes for ever": LOOK_ALIKES * 40,
    "the worst eight": ("(+97|6<1" * 9)[:72],
    "the worst eight among letters": "".join(f"{symbol}e" for symbol in "(+97|6<1" * 9)[:72],
    "words in look-alikes": "p4$$w0rd|1!7+" * 6,
    "full-width look-alikes": "４＠８（｛［＜３６９＆１！｜／０＄５＋７％２" * 4,
    "one character": "a" * 1024,
    "two characters": "ab" * 512,
    "digits": "19701231" * 9,
    "rows of keys": "qwertyuiop" * 7,
    "sequences": string.ascii_lowercase * 3,
    "spaces": " " * 1024,
    "gaps": "a " * 512,
    "1,024 bytes": LONG[:1024],
}


@pytest.fixture(scope="module")
def ordinary_seconds() -> float:
    """What a good pass phrase of that length takes."""
    judge(ORDINARY)
    return seconds(lambda: judge(ORDINARY))


@pytest.mark.parametrize("password", PATHOLOGICAL.values(), ids=PATHOLOGICAL.keys())
def test_no_password_takes_long_to_judge(password: str, ordinary_seconds: float) -> None:
    """Judging without bounds takes minutes for some of these."""
    assert seconds(lambda: judge(password), tries=1) < 40 * ordinary_seconds


def test_no_address_makes_the_judgement_long(app: Flask, client: FlaskClient) -> None:
    """The longest that the route takes, with as many words as fit."""
    ordinary = {"email": ALICE, "password": ORDINARY}
    hostile = {"email": "a." * 499 + "a", "password": ORDINARY}

    def ask(body: dict[str, str]) -> Callable[[], object]:
        return lambda: post_json(client, "/auth/password-advice", body)

    assert seconds(ask(hostile)) < 10 * seconds(ask(ordinary))


# How it is kept


@pytest.mark.parametrize("method", METHODS)
def test_a_hash_names_its_method_and_parameters(method: str) -> None:
    """So that it can be checked, and renewed, after the setting has moved."""
    stored = hash_password(STRONG, method)
    if method.startswith("scrypt"):
        assert re.fullmatch(rf"{method}\$[^$]{{16,}}\$[0-9a-f]{{128}}", stored)
    else:
        memory, passes, lanes = method.split(":")[1:]
        assert stored.startswith(f"$argon2id$v=19$m={memory},t={passes},p={lanes}$")
    assert not needs_rehash(stored, method)


@pytest.mark.parametrize("method", METHODS)
def test_two_hashes_of_one_password_differ(method: str) -> None:
    """Each has a salt of its own."""
    assert hash_password(STRONG, method) != hash_password(STRONG, method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("setting", METHODS)
def test_a_hash_is_checked_by_its_own_parameters(method: str, setting: str) -> None:
    """Whatever the setting is now."""
    stored = hash_password(STRONG, method)
    assert verify(stored, STRONG, setting)
    assert not verify(stored, STRONG + "x", setting)
    assert needs_rehash(stored, setting) == (method != setting)


def test_the_default_is_a_conforming_one() -> None:
    """OWASP's row N=2^14, r=8, p=5 for scrypt, and 19 MiB, 2, 1 for Argon2id."""
    assert config.load({})["FOXTROT_PASSWORD_HASH"] == "scrypt:16384:8:5"
    assert passwords.ARGON2ID_DEFAULT == "argon2id:19456:2:1"
    assert hash_password(STRONG, "argon2id").startswith("$argon2id$v=19$m=19456,t=2,p=1$")


def test_neither_the_password_nor_anything_near_it_is_stored(app: Flask, data_dir: Path) -> None:
    """The whole database file is searched."""
    add_user(app, ALICE)
    files = [path.read_bytes() for path in data_dir.glob("foxtrot.sqlite3*")]
    assert not any(PASSWORD.encode() in content or b"horse" in content for content in files)


def test_a_hash_is_renewed_at_the_next_login_when_the_setting_moved(make_app: MakeApp) -> None:
    """From scrypt to other parameters, to Argon2id, and back; the password stays."""
    add_user(make_app(), ALICE)
    for method in [*METHODS, CHEAP_HASH]:
        app = make_app(FOXTROT_PASSWORD_HASH=method)
        assert opens(app.test_client(), PASSWORD)
        assert not needs_rehash(stored_hash(app), method)


def test_a_wrong_password_renews_nothing(make_app: MakeApp) -> None:
    """Only who proves to know it can have it hashed anew."""
    add_user(make_app(), ALICE)
    app = make_app(FOXTROT_PASSWORD_HASH=CHEAP_ARGON2ID)
    before = stored_hash(app)
    assert not opens(app.test_client(), STRONG)
    assert stored_hash(app) == before


def test_a_disabled_users_hash_is_not_renewed(make_app: MakeApp) -> None:
    """It would take twice the time, and so tell that the password was right."""
    add_user(make_app(), ALICE)
    app = make_app(FOXTROT_PASSWORD_HASH=CHEAP_ARGON2ID)
    with app.app_context():
        users.disable(find_user(app, ALICE), SOMEWHERE)
    before = stored_hash(app)
    assert not opens(app.test_client(), PASSWORD)
    assert stored_hash(app) == before


def test_a_hash_that_fits_the_setting_is_left_alone(app: Flask, client: FlaskClient) -> None:
    """No write without need."""
    add_user(app, ALICE)
    before = stored_hash(app)
    assert opens(client, PASSWORD)
    assert stored_hash(app) == before


EXTREMES = [
    "scrypt:1024:1:16",
    "scrypt:1024:16:16",
    "scrypt:131072:8:1",
    "scrypt:131072:8:16",
    "scrypt:131072:16:1",
    "scrypt:131072:16:16",
    "argon2id:1024:1:8",
    "argon2id:131072:1:8",
]


@pytest.mark.parametrize("method", EXTREMES)
def test_every_setting_that_is_accepted_works(method: str) -> None:
    """A method is refused at the start, or makes hashes that verify."""
    with suppress(config.ConfigError):
        config.load({"FOXTROT_PASSWORD_HASH": method})
        assert verify(hash_password(STRONG, method), STRONG, method)


# A row that is damaged, foreign or absurd

SCRYPT_TAIL = "$abcdefghijklmnop$" + "0" * 128
ARGON2_TAIL = "$c2FsdHNhbHRzYWx0c2FsdA$" + "A" * 43
GOOD_SCRYPT = hash_password(PASSWORD, CHEAP_HASH)
GOOD_ARGON2ID = hash_password(PASSWORD, CHEAP_ARGON2ID)

UNREADABLE = {
    "empty": "",
    "a space": " ",
    "NUL": "\0",
    "NUL behind": GOOD_SCRYPT + "\0",
    "a line break behind": GOOD_SCRYPT + "\n",
    "the password itself": PASSWORD,
    "cut in the middle": GOOD_SCRYPT[:60],
    "cut at the end": GOOD_SCRYPT[:-1],
    "without salt": re.sub(r"\$.*\$", "$$", GOOD_SCRYPT),
    "without parameters": "scrypt" + SCRYPT_TAIL,
    "with zeros": f"scrypt:0:0:0{SCRYPT_TAIL}",
    "negative": f"scrypt:-1024:1:1{SCRYPT_TAIL}",
    "no power of two": f"scrypt:1000:8:1{SCRYPT_TAIL}",
    "other digits": f"scrypt:１０２４:8:1{SCRYPT_TAIL}",
    "no hexadecimal": GOOD_SCRYPT[:-1] + "g",
    "upper case": GOOD_SCRYPT.upper(),
    "another salt": GOOD_SCRYPT.replace("$", "$x", 1),
    "unknown": f"sha256{SCRYPT_TAIL}",
    "pbkdf2": "pbkdf2:sha256:1$salt$" + "0" * 64,
    "plain in werkzeug's way": f"plain$${PASSWORD}",
    "bcrypt": "$2b$12$" + "a" * 53,
    "argon2i": f"$argon2i$v=19$m=1024,t=1,p=1{ARGON2_TAIL}",
    "Argon2id of an older version": f"$argon2id$v=16$m=1024,t=1,p=1{ARGON2_TAIL}",
    "Argon2id, cut": GOOD_ARGON2ID[:-5],
    "Argon2id, cut in the middle": GOOD_ARGON2ID[:40],
    "Argon2id with zeros": f"$argon2id$v=19$m=0,t=0,p=0{ARGON2_TAIL}",
    "Argon2id, no base64": GOOD_ARGON2ID.replace("$", "$*", 5),
    "Argon2id, less memory than lanes": f"$argon2id$v=19$m=8,t=1,p=64{ARGON2_TAIL}",
    "letters of no alphabet": "scrypt:1024:1:1$é$é",
    "JSON": '{"hash": "x"}',
    "very long": "x" * 100_000,
    "very long digits": "scrypt:" + "9" * 100_000 + f":8:1{SCRYPT_TAIL}",
}
ABSURD = {
    "2^30": f"scrypt:1073741824:8:1{SCRYPT_TAIL}",
    "2^20 and 256": f"scrypt:1048576:1:256{SCRYPT_TAIL}",
    "2^20 and 15": f"scrypt:1048576:1:15{SCRYPT_TAIL}",
    "2^16, 16 and 15": f"scrypt:65536:16:15{SCRYPT_TAIL}",
    "2^17, 8 and 15": f"scrypt:131072:8:15{SCRYPT_TAIL}",
    "99999": f"scrypt:2:99999:99999{SCRYPT_TAIL}",
    "2 and 256": f"scrypt:2:1:256{SCRYPT_TAIL}",
    "10^9 KiB": f"$argon2id$v=19$m=1000000000,t=1,p=1{ARGON2_TAIL}",
    "10^9 - 1 KiB": f"$argon2id$v=19$m=999999999,t=1,p=1{ARGON2_TAIL}",
    "10^5 passes": f"$argon2id$v=19$m=1024,t=99999,p=1{ARGON2_TAIL}",
    "256 MiB and 64 passes": f"$argon2id$v=19$m=262144,t=64,p=1{ARGON2_TAIL}",
    "999 lanes": f"$argon2id$v=19$m=8192,t=1,p=999{ARGON2_TAIL}",
}
ROWS = {**UNREADABLE, **ABSURD}


@pytest.mark.parametrize("row", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_row_that_is_no_hash_lets_nobody_in(row: str) -> None:
    """Whatever is tried."""
    for password in (PASSWORD, "", "x", row):
        assert not verify(row, password, CHEAP_HASH)


def test_a_row_that_is_no_hash_is_a_refused_login(make_app: MakeApp, data_dir: Path) -> None:
    """401 in the words for a wrong password, and never a failure."""
    app = make_app(**NO_LOGIN_LIMITS)
    client = app.test_client()
    add_user(app, ALICE)
    usual = log_in(client, ALICE, STRONG)
    for row in UNREADABLE.values():
        store_hash(data_dir, row)
        answer = log_in(client, ALICE)
        assert (answer.status_code, answer.data) == (401, usual.data)


def test_a_row_that_is_no_hash_can_be_given_a_new_password(
    app: Flask, client: FlaskClient, data_dir: Path
) -> None:
    """Others are not concerned, and a reset repairs it."""
    add_user(app, ALICE)
    store_hash(data_dir, "")
    add_user(app, "bob@example.com")
    assert not opens(client, PASSWORD)
    assert opens(client, PASSWORD, "bob@example.com")


@pytest.fixture(scope="module")
def default_seconds() -> float:
    """What an ordinary check by the default method takes."""
    stored = hash_password(STRONG, "scrypt:16384:8:5")
    return seconds(lambda: verify(stored, "x", "scrypt:16384:8:5"), tries=2)


@pytest.mark.parametrize("row", ABSURD.values(), ids=ABSURD.keys())
def test_an_absurd_row_does_not_keep_the_service_busy(row: str, default_seconds: float) -> None:
    """Its parameters are looked at before they are believed.

    The time of all threads counts, because Argon2 has its own.
    """
    began = time.process_time()
    assert not verify(row, PASSWORD, "scrypt:16384:8:5")
    assert time.process_time() - began < 8 * default_seconds + 0.2


@settings(steady, max_examples=120)
@given(st.text(max_size=80) | st.from_regex(r"scrypt:[0-9]{1,3}:[0-9]:[0-9]\$.{0,9}\$.{0,9}"))
def test_no_row_makes_a_check_fail(row: str) -> None:
    """Whatever stands there, the answer is no."""
    assert not verify(row, PASSWORD, CHEAP_HASH)
