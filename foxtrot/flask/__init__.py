"""The guard for Flask: access tokens before routes (RFC 6750), closed by default.

    from foxtrot.flask import Bearer, public

    bearer = Bearer(issuer="https://login.example.com", audience="notes")

    @app.get("/notes")
    @bearer.required("notes:read")
    def list_notes(): ...

    @app.get("/healthz")
    @public
    def healthz(): ...

    bearer.guard(app, public=["static"])

`bearer` is what a service writes, and `demand` what stands between its parentheses;
`gate` judges one request with a `Verifier`, `credentials` reads the token out of it,
`answers` says no. `routes` knows who may call what, `commands` prints it, and `misuse`
tells developers what they did wrong, and where. All of it fails closed.
"""

from foxtrot.flask.bearer import Bearer
from foxtrot.flask.misuse import Misuse
from foxtrot.flask.routes import UndecidedRoutes, public

__all__ = ["Bearer", "Misuse", "UndecidedRoutes", "public"]
