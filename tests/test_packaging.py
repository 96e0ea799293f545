"""Installing this repository gives the verifier, and nothing of the login service."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = [
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "foxtrot",
    "app",
    "config.py",
    "config_values.py",
]


@pytest.fixture(scope="module")
def site_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment into which a copy of the repository was installed."""
    folder = tmp_path_factory.mktemp("install")
    checkout = folder / "checkout"
    checkout.mkdir()
    for name in SHIPPED:
        source = ROOT / name
        if source.is_dir():  # other tests may be writing bytecode there
            shutil.copytree(source, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, checkout / name)
    venv.create(folder / "venv", with_pip=True)
    python = str(folder / "venv" / "bin" / "python")
    command = [python, "-m", "pip", "install", "--quiet", "--no-deps", str(checkout)]
    subprocess.run(command, check=True, timeout=300)
    return next((folder / "venv" / "lib").glob("python*")) / "site-packages"


def test_only_the_verifier_is_installed(site_packages: Path) -> None:
    """Neither `app` nor `config` lands among a service's packages."""
    assert (site_packages / "foxtrot" / "verifier.py").exists()
    assert (site_packages / "foxtrot" / "flask" / "bearer.py").exists()
    assert (site_packages / "foxtrot" / "py.typed").exists()
    assert (site_packages / "foxtrot" / "testing" / "routes.py").exists()
    assert not (site_packages / "app").exists()
    assert not (site_packages / "config.py").exists()


def test_the_installed_verifier_runs(site_packages: Path) -> None:
    """Outside the checkout, with its dependencies, it can be imported and used."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "import foxtrot; assert foxtrot.__file__.startswith(sys.argv[1]);"
        "secret = 'Zk8vQ2xT7mPq4RjW9sLc1YbN6hFdKe3Gt5Ua';"
        "foxtrot.Verifier('https://login.example.com', 'notes', secret=secret)"
    )
    command = [sys.executable, "-c", script, str(site_packages)]
    subprocess.run(command, cwd=site_packages.parent, check=True, timeout=60)


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-test.txt"])
def test_requirements_are_locked_by_hash_and_name_no_host(name: str) -> None:
    """Every requirement is pinned, carries hashes, and comes from wherever pip is set to."""
    lines = (ROOT / name).read_text().splitlines()
    pinned = [line for line in lines if re.match(r"[a-z0-9]", line)]
    assert pinned
    assert all(re.match(r"[a-z0-9._-]+==\S+", line) for line in pinned)
    assert sum("--hash=sha256:" in line for line in lines) >= len(pinned)
    assert not any("://" in line or line.startswith("-") for line in lines)
