"""The table of signing keys, and how a private key is made, sealed and opened.

A signing key is an asymmetric key pair. Its private half is kept encrypted with
a key derived from the service's secret; its public half is what the JWK Set
shows (RFC 7517). A retired key has no private half any more.
"""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from sqlalchemy import Connection, select
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base, db
from app.errors import StartRefused
from app.keys.life import HS256, SHARED_SECRET, Life, Timetable
from app.secret_key import SecretKey
from foxtrot.jwk import public_jwk

PURPOSE: Final = "key wrapping v1"
RSA_BITS: Final = 3072


class SigningKey(Base):
    """A key pair that signs, will sign or signed, with the times of its life (`life.Life`).

    `lifetime` is in seconds. The shared secret has a row without keys, for its times.
    """

    __tablename__ = "signing_keys"

    id: Mapped[int] = mapped_column(primary_key=True)
    kid: Mapped[str] = mapped_column(unique=True)
    algorithm: Mapped[str]
    public_jwk: Mapped[str]
    private_key: Mapped[bytes]
    created_at: Mapped[datetime]
    signs_from: Mapped[datetime | None]
    signs_until: Mapped[datetime | None]
    lifetime: Mapped[int]
    retired_at: Mapped[datetime | None]

    def __repr__(self) -> str:
        return f"<SigningKey {self.kid} {self.algorithm}>"

    @property
    def life(self) -> Life:
        """Its times."""
        return Life(
            self.kid,
            self.algorithm,
            self.created_at,
            self.signs_from,
            self.signs_until,
            timedelta(seconds=self.lifetime),
            self.retired_at,
        )


EVERY: Final = select(SigningKey).order_by(SigningKey.id).execution_options(populate_existing=True)
"""All rows, oldest first, as they are now."""

IN_USE: Final = EVERY.where(SigningKey.retired_at.is_(None))
"""All rows but those of retired keys."""


def any_stored() -> bool:
    """Say whether the database holds anything that only the secret opens."""
    return db.session.scalar(select(SigningKey.id).limit(1)) is not None


def in_use() -> list[SigningKey]:
    """The rows of all keys that are not retired, oldest first."""
    return list(db.session.scalars(IN_USE))


def every_key() -> list[Life]:
    """The lives of all keys there are, retired ones included, oldest first."""
    return [row.life for row in db.session.scalars(EVERY)]


def timetable() -> Timetable:
    """The times of all keys that are not retired."""
    return Timetable([row.life for row in in_use()])


def make_key(algorithm: str, secret_key: SecretKey, now: datetime) -> SigningKey:
    """Make a key pair, to be published; an RSA one takes a second of processor time."""
    private = _new_private_key(algorithm)
    jwk = public_jwk(private.public_key(), algorithm)
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return SigningKey(
        kid=jwk["kid"],
        algorithm=algorithm,
        public_jwk=json.dumps(jwk),
        private_key=_seal(der, jwk["kid"], secret_key),
        created_at=now,
        lifetime=0,
    )


def make_shared_secret_row(now: datetime) -> SigningKey:
    """The row that says from when services share a secret."""
    return SigningKey(
        kid=SHARED_SECRET,
        algorithm=HS256,
        public_jwk="",
        private_key=b"",
        created_at=now,
        signs_from=now,
        lifetime=0,
    )


def _new_private_key(algorithm: str) -> Any:
    if algorithm == "ES256":
        return generate_private_key(SECP256R1())
    if algorithm == "EdDSA":
        return Ed25519PrivateKey.generate()
    return generate_rsa_key(public_exponent=65537, key_size=RSA_BITS)


def _seal(der: bytes, kid: str, secret_key: SecretKey) -> bytes:
    """Encrypt, bound to the key's name; always with the current secret."""
    nonce = os.urandom(12)
    return nonce + AESGCM(secret_key.derive(PURPOSE)).encrypt(nonce, der, kid.encode())


def open_private_key(kid: str, algorithm: str, sealed: bytes, secret_key: SecretKey) -> Any:
    """Decrypt a private key, with the current secret or one of those before.

    :raises StartRefused: none of them opens it, or it is not the key of that name.
    """
    _, der = _unseal(kid, sealed, secret_key)
    try:
        private = load_der_private_key(der, password=None)
        name = public_jwk(private.public_key(), algorithm)["kid"]
    except Exception:  # whatever the libraries say of what is no such key
        name = None
    if name != kid:
        raise StartRefused(
            f"Signing key {kid} is not what its row says: expected the {algorithm} key of that"
            " name. Put the database back from the backup."
        )
    return private


def check_opens(connection: Connection, secret_key: SecretKey) -> None:
    """See that the secret opens every private key of another database.

    :raises StartRefused: it does not.
    """
    columns = (SigningKey.kid, SigningKey.algorithm, SigningKey.private_key)
    with_private_half = (SigningKey.retired_at.is_(None), SigningKey.kid != SHARED_SECRET)
    for row in connection.execute(select(*columns).where(*with_private_half)):
        open_private_key(*row, secret_key)


def reseal(row: SigningKey, secret_key: SecretKey) -> bool:
    """Encrypt a private key with the current secret; says whether it was another's.

    :raises StartRefused: no secret opens it.
    """
    used, der = _unseal(row.kid, row.private_key, secret_key)
    if used != 0:
        row.private_key = _seal(der, row.kid, secret_key)
    return used != 0


def count_of_former(secret_key: SecretKey) -> int:
    """Open all private keys, and count those that a former secret had encrypted.

    :raises StartRefused: no secret opens one of them.
    """
    rows = [row for row in in_use() if row.algorithm != HS256]
    return sum(_unseal(row.kid, row.private_key, secret_key)[0] != 0 for row in rows)


def _unseal(kid: str, sealed: bytes, secret_key: SecretKey) -> tuple[int, bytes]:
    """Decrypt; gives the number of the secret that did it, 0 for the current one."""
    for number, key in enumerate(secret_key.derive_all(PURPOSE)):
        try:
            return number, AESGCM(key).decrypt(sealed[:12], sealed[12:], kid.encode())
        except (InvalidTag, ValueError):
            continue
    raise StartRefused(
        f"The secret from {secret_key.origin} does not open signing key {kid}: it is not the one"
        " that this database was made with. Put the right one back, or, if it was changed, the old"
        " one into FOXTROT_SECRET_KEY_FALLBACKS."
    )
