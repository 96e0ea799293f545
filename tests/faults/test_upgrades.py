"""From every older schema the data come along (OPS-10)."""

from __future__ import annotations

from alembic.script import ScriptDirectory
from flask import Flask

from app import schema
from tests.conftest import on_both_databases
from tests.support import log_in


@on_both_databases
def test_whoever_had_an_account_has_one_after_each_upgrade(app: Flask, alice: str) -> None:
    """Back to each revision that has users, and up to the newest again."""
    script = ScriptDirectory(str(schema.DIRECTORY))
    older = [one.revision for one in script.walk_revisions()][1:]
    assert older
    for revision in older:
        with app.app_context():
            schema.downgrade(revision)
            assert schema.revision()[0] == revision
            schema.upgrade()
        assert log_in(app.test_client(), alice).status_code == 200
