"""Blueprint `account`: HTML for somebody who is signed in."""

from __future__ import annotations

from flask import Blueprint, render_template

from app.views import browser
from app.views.access import login_required

blueprint = Blueprint("account", __name__)


@blueprint.get("/account")
@login_required
def show() -> str:
    session = browser.current_session()
    return render_template("account.html", session=session)
