"""A caller in Go: go/client_test.go, with stubs made from our contracts for each run."""

import os
import shutil
import subprocess
import sys

import pytest

from stack import HERE
from stubs import CONTRACTS, protoc_arguments

BUILD_SECONDS = 300
PACKAGE = "paceline/peers/pacelinev1"
PLUGINS = ("google.golang.org/protobuf/cmd/protoc-gen-go", "google.golang.org/grpc/cmd/protoc-gen-go-grpc")


def run(*command, **options):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=BUILD_SECONDS, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="module")
def module(tmp_path_factory):
    """The Go module with its stubs."""
    module = shutil.copytree(HERE / "go", tmp_path_factory.mktemp("go") / "peers")
    plugins = tmp_path_factory.mktemp("plugins")
    run("go", "build", "-o", plugins, *PLUGINS, cwd=module)
    stubs = module / PACKAGE.rpartition("/")[2]
    stubs.mkdir()
    # The contracts name no Go package: whoever generates code chooses one.
    packages = [f"M{f'paceline/v1/{name}.proto'}={PACKAGE}" for name in CONTRACTS]
    options = []
    for plugin in ("go", "go-grpc"):
        options += [f"--plugin={plugins}/protoc-gen-{plugin}", f"--{plugin}_out={stubs}"]
        options += [f"--{plugin}_opt={option}" for option in [f"module={PACKAGE}", *packages]]
    run(sys.executable, "-m", "grpc_tools.protoc", *protoc_arguments(*options)[1:])
    return module


def test_go_enqueues_batches_streams_and_reads_status(module, stack, recorder):
    environment = {
        **os.environ,
        "INGEST": stack.ingest,
        "DATA": str(HERE / "templates/reservation/examples/first.json"),
    }
    output = run("go", "test", "-mod=readonly", "-count=1", "-v", "./...", cwd=module, env=environment)
    assert output.count("--- PASS: ") == 4, output
