"""Signing keys: the table, and the ring of those in use.

A signing key is an asymmetric key pair. Its private half is kept encrypted with
a key derived from the service's secret; its public half is what the JWK Set
shows (RFC 7517). The ring keeps both decoded and looks at the table again every
half minute, so that every worker knows every key. The shared secret of HS256 is
no row here: `tokens` takes it from the settings.
"""

from __future__ import annotations

import json
import logging
import os
import threading
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
from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

from app.db import FAILURES, Base, db, transaction, turn, utcnow
from app.errors import StartRefused, Unavailable
from app.secret_key import SecretKey
from foxtrot.jwk import PUBLIC_KEY_ALGORITHMS, Key, public_jwk
from foxtrot.keys import find_in

PURPOSE: Final = "key wrapping v1"
REREAD: Final = timedelta(seconds=30)
RETRY: Final = timedelta(seconds=15)
RSA_BITS: Final = 3072

_log = logging.getLogger("foxtrot.app")


class SigningKey(Base):
    """A key pair that signs, or signed, access tokens."""

    __tablename__ = "signing_keys"

    id: Mapped[int] = mapped_column(primary_key=True)
    kid: Mapped[str] = mapped_column(unique=True)
    algorithm: Mapped[str]
    public_jwk: Mapped[str]
    private_key: Mapped[bytes]
    created_at: Mapped[datetime]

    def __repr__(self) -> str:
        return f"<SigningKey {self.kid} {self.algorithm}>"


def any_stored() -> bool:
    """Say whether the database holds anything that only the secret opens."""
    return db.session.scalar(select(SigningKey.id).limit(1)) is not None


def ensure(algorithm: str, secret_key: SecretKey, now: datetime | None = None) -> None:
    """Make the first key of *algorithm*, and prove that all stored ones can be opened.

    :raises StartRefused: a stored key was encrypted with another secret.
    """
    with transaction():
        turn("signing keys")
        rows = db.session.scalars(select(SigningKey)).all()
        for row in rows:
            _open(row, secret_key)
        if all(row.algorithm != algorithm for row in rows):
            db.session.add(_generate(algorithm, secret_key, now or utcnow()))


class KeyRing:
    """The keys of one app, decoded: signs, and is the key source of its own API.

    :param algorithm: the asymmetric algorithm that new tokens are signed with.
    """

    algorithms = PUBLIC_KEY_ALGORITHMS

    def __init__(self, algorithm: str, secret_key: SecretKey) -> None:
        self.generation = 0
        self._algorithm = algorithm
        self._secret_key = secret_key
        self._lock = threading.Lock()
        self._read_at: datetime | None = None
        self._public: dict[str, Key] = {}
        self._jwks: list[dict[str, Any]] = []
        self._signing: tuple[str, Any] | None = None

    def signing_key(self, now: datetime | None = None) -> tuple[str, Any]:
        """The `kid` and the private key that sign now."""
        self._refresh(now or utcnow())
        if self._signing is None:
            ensure(self._algorithm, self._secret_key, now)
            self._read()
        if self._signing is None:
            raise Unavailable(f"There is no signing key for {self._algorithm}.")
        return self._signing

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """Give a public key by name, as `foxtrot.KeySource` asks."""
        self._refresh(utcnow())
        if kid is not None and kid not in self._public:
            self._read()  # another worker may have made it just now
        return find_in(self._public, kid, algorithm)

    def public_set(self) -> list[dict[str, Any]]:
        """The public keys as JWKs, oldest first."""
        self._refresh(utcnow())
        return self._jwks

    def _refresh(self, now: datetime) -> None:
        """Look at the table again when the last look is half a minute old."""
        if self._is_fresh(now) or not self._lock.acquire(blocking=not self._public):
            return  # somebody else is looking; meanwhile what is known is good
        try:
            if not self._is_fresh(now):
                self._read()
                self._read_at = now
        except FAILURES:
            if not self._public:
                raise
            _log.warning("The signing keys cannot be read now; those known are used.")
            self._read_at = now - REREAD + RETRY
        finally:
            self._lock.release()

    def _is_fresh(self, now: datetime) -> bool:
        return self._read_at is not None and abs(now - self._read_at) < REREAD

    def _read(self) -> None:
        with Session(db.engine) as own_session:
            rows = own_session.scalars(select(SigningKey).order_by(SigningKey.id)).all()
        jwks = [json.loads(row.public_jwk) for row in rows]
        public = {row.kid: Key.from_jwk(jwk) for row, jwk in zip(rows, jwks, strict=True)}
        signing = [row for row in rows if row.algorithm == self._algorithm]
        self._signing = (signing[-1].kid, _open(signing[-1], self._secret_key)) if signing else None
        if not self._public.items() <= public.items():
            self.generation += 1
        self._public, self._jwks = public, jwks


def _generate(algorithm: str, secret_key: SecretKey, now: datetime) -> SigningKey:
    private = _new_private_key(algorithm)
    jwk = public_jwk(private.public_key(), algorithm)
    der = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    nonce = os.urandom(12)
    sealed = AESGCM(secret_key.derive(PURPOSE)).encrypt(nonce, der, jwk["kid"].encode())
    return SigningKey(
        kid=jwk["kid"],
        algorithm=algorithm,
        public_jwk=json.dumps(jwk),
        private_key=nonce + sealed,
        created_at=now,
    )


def _new_private_key(algorithm: str) -> Any:
    if algorithm == "ES256":
        return generate_private_key(SECP256R1())
    if algorithm == "EdDSA":
        return Ed25519PrivateKey.generate()
    return generate_rsa_key(public_exponent=65537, key_size=RSA_BITS)


def _open(row: SigningKey, secret_key: SecretKey) -> Any:
    """Decrypt a private key.

    :raises StartRefused: it was encrypted with another secret.
    """
    nonce, sealed = row.private_key[:12], row.private_key[12:]
    try:
        der = AESGCM(secret_key.derive(PURPOSE)).decrypt(nonce, sealed, row.kid.encode())
    except (InvalidTag, ValueError):
        raise StartRefused(
            f"The secret from {secret_key.origin} does not open signing key {row.kid}: it is not"
            " the one that this database was made with. Put the right one back."
        ) from None
    return load_der_private_key(der, password=None)
