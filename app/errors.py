"""Refusals: what the service says no to, each a class with a status and a code.

Rules raise them, the doors turn them into a page or into a problem document
(RFC 9457). The codes are part of the contract: they do not change.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar


class AppError(Exception):
    """A refusal. `detail` is for people and never holds a secret."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "invalid_request"
    detail = "The request cannot be understood."
    retry_after: int | None = None

    def __init__(self, detail: str | None = None) -> None:
        if detail is not None:
            self.detail = detail
        super().__init__(self.detail)


class InvalidRequest(AppError):
    """The request is malformed."""


class ValidationFailed(AppError):
    """The request is well formed, but fields of it are not acceptable."""

    status = 422
    code = "validation_failed"
    detail = "Some fields are missing or have values that are not accepted."

    def __init__(self, errors: dict[str, list[str]]) -> None:
        super().__init__()
        self.errors = errors


class InvalidCredentials(AppError):
    """Unknown address, wrong password or disabled user: never told apart."""

    status = 401
    code = "invalid_credentials"
    detail = "The e-mail address and the password do not match an account."


class NotSignedIn(AppError):
    """No session, or one that has ended."""

    status = 401
    code = "session_ended"
    detail = "You are not signed in, or your session has ended. Sign in again."


class NoAccessToken(AppError):
    """The request carries no access token (RFC 6750 section 3.1)."""

    status = 401
    code = "unauthorized"
    detail = "This needs an access token in the Authorization header."


class InvalidAccessToken(AppError):
    """The access token is refused; `reason` is one of `foxtrot.errors.REASONS`."""

    status = 401
    code = "invalid_token"

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class WrongPassword(AppError):
    """Somebody signed in gave a current password that is not theirs."""

    status = 403
    code = "wrong_password"
    detail = "The current password is not right."


class InsufficientScope(AppError):
    """The token does not permit this (RFC 6750 section 3.1)."""

    status = 403
    code = "insufficient_scope"

    def __init__(self, scope: str, detail: str) -> None:
        super().__init__(detail)
        self.scope = scope


class EmailTaken(AppError):
    """Somebody has an account with this address already."""

    status = 409
    code = "email_taken"
    detail = "An account with this e-mail address exists already. Sign in instead."


class RegistrationClosed(AppError):
    """The operator makes the accounts here."""

    status = 403
    code = "registration_closed"
    detail = "Accounts are made by the administrator here. Ask them for one."


class InvalidScope(AppError):
    """More was asked for than the user holds (RFC 6749 section 5.2)."""

    code = "invalid_scope"


class InvalidTarget(AppError):
    """An audience was asked for that does not exist (RFC 8707 section 2)."""

    code = "invalid_target"


class InvalidClient(AppError):
    """Unknown client, wrong secret or disabled service: never told apart (RFC 6749 5.2)."""

    status = 401
    code = "invalid_client"
    detail = "There is no client of this id and secret here."


class UnauthorizedClient(AppError):
    """The client may not use this grant (RFC 6749 section 5.2)."""

    code = "unauthorized_client"


class UnsupportedGrantType(AppError):
    """A grant was asked for that there is not (RFC 6749 section 5.2)."""

    code = "unsupported_grant_type"


class UnsupportedTokenType(AppError):
    """A token of this kind cannot be revoked here (RFC 7009 section 2.2.1)."""

    code = "unsupported_token_type"


class CrossOrigin(AppError):
    """Another site's page tried to act in a person's name."""

    status = 403
    code = "cross_origin"
    detail = (
        "This request comes from another site and was refused to protect you. Open this site's"
        " own page and try again."
    )


class NotFound(AppError):
    """There is no such thing, or no longer."""

    status = 404
    code = "not_found"
    detail = "There is nothing here."


class Misdirected(AppError):
    """The request was sent to a name that this service does not serve (RFC 9110 15.5.20)."""

    status = 421
    code = "misdirected_request"


class NotAdmin(AppError):
    """Somebody signed in asks for the page of administrators."""

    status = 403
    code = "not_admin"
    detail = "This page is for administrators. Ask one of them if you should be one."


class LockOut(AppError):
    """An administrator would keep out the last one, or themselves."""

    status = 409
    code = "lock_out"


class KeyRefused(AppError):
    """An order of the operator would break a rule of the keys' life.

    :param safe_from: from when it would not.
    """

    status = 409

    def __init__(self, detail: str, safe_from: datetime | None = None) -> None:
        when = "" if safe_from is None else f" It is safe from {safe_from:%Y-%m-%d %H:%M:%S UTC}."
        super().__init__(detail + when)
        self.safe_from = safe_from


class Unavailable(AppError):
    """Something that this service needs does not answer now."""

    status = 503
    code = "unavailable"
    detail = "The service cannot answer at the moment. Try again in a few seconds."
    retry_after = 5


class Busy(AppError):
    """More passwords are to be checked than this machine can; nothing was looked at."""

    status = 503
    code = "busy"
    detail = (
        "Many people are signing in at this moment, and yours has to wait. Nothing was checked"
        " or changed. Try again in a few seconds."
    )
    retry_after = 3


class TooManyAttempts(AppError):
    """The same thing was tried too often in a short time (RFC 6585 section 4)."""

    status = 429
    code = "too_many_attempts"
    detail = "This was tried too often in a short time. Wait a little, and try again."
    retry_after = 1

    @classmethod
    def until(cls, seconds: int) -> TooManyAttempts:
        """The same, of which it is known when the next attempt is listened to."""
        minutes = -(-seconds // 60)
        unit = "minute" if minutes == 1 else "minutes"
        refusal = cls(f"There were too many attempts. Try again in {minutes} {unit}.")
        refusal.retry_after = seconds
        return refusal


class MoveRefused(Exception):
    """The database cannot be moved like this; the message says why and what to do."""


class StartRefused(Exception):
    """The service must not start like this; the message says why and what to do."""
