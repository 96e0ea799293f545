"""The test kit for services: a pytest plugin with an issuer in the test's own process.

    pytest_plugins = ["foxtrot.testing"]       # in conftest.py

    @pytest.fixture
    def app(issuer):
        app = create_app()
        issuer.attach(app, bearer, audience="notes")
        return app

    def test_ann_reads_her_notes(app, issuer):
        headers = issuer.as_user("ann", scopes="notes:read")
        assert app.test_client().get("/notes", headers=headers).status_code == 200

    def test_nothing_is_open(app):
        assert_all_routes_guarded(app)

Needs pytest, and Flask only for `attach` and `assert_all_routes_guarded`; without Flask,
`Verifier(**issuer.settings)` is what believes the issuer. PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import pytest

from foxtrot.testing.in_process import Clock, Headers, InProcessIssuer, Settings, bearer_header
from foxtrot.testing.routes import assert_all_routes_guarded
from foxtrot.wrong_tokens import WrongToken

__all__ = [
    "Clock",
    "Headers",
    "InProcessIssuer",
    "Settings",
    "WrongToken",
    "assert_all_routes_guarded",
    "bearer_header",
    "issuer",
]


@pytest.fixture
def issuer() -> InProcessIssuer:
    """A fresh issuer for each test."""
    return InProcessIssuer()
