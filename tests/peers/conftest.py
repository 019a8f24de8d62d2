"""What the tests share. All of it is started once, and ends with the run."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pytest

from moto_server import Moto
from recorder import Recorder
from stack import Stack
from stubs import generate


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("peers")


@pytest.fixture(scope="session")
def stubs(tmp_path_factory):
    return generate(tmp_path_factory.mktemp("stubs"))


@pytest.fixture(scope="session")
def stack(folder, stubs):
    stack = Stack(folder, stubs)
    yield stack
    stack.stop()


@pytest.fixture(scope="session")
def recorder(stack):
    """Takes the mail of the identities `recorder` and `clients`."""
    recorder = Recorder()
    stack.add_sender("recorder", recorder.url)
    stack.add_sender("clients", recorder.url)
    yield recorder
    recorder.stop()


@pytest.fixture(scope="session")
def moto(folder):
    moto = Moto("moto", folder)
    yield moto
    moto.stop()
