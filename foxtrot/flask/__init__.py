"""The guard for Flask: access tokens before routes (RFC 6750).

    from foxtrot.flask import Bearer

    bearer = Bearer(issuer="https://login.example.com", audience="notes")

    @app.get("/notes")
    @bearer.required("notes:read")
    def list_notes(): ...

`bearer` is what a service writes; `gate` judges one request with a `Verifier`;
`credentials` reads the token out of it, and `answers` says no. It fails closed.
"""

from foxtrot.flask.bearer import Bearer

__all__ = ["Bearer"]
