"""Python's gRPC stubs, made anew from the contracts in proto/ for each run."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import grpc_tools
from grpc_tools import protoc

PROTO = Path(__file__).parents[2] / "proto"
# The contracts that callers use; stored.proto is nobody else's business.
CONTRACTS = ("message", "ingest", "messages")
WELL_KNOWN = Path(grpc_tools.__file__).parent / "_proto"


def protoc_arguments(*options):
    """The arguments by which protoc reads the contracts, with what it is to make of them."""
    files = [f"paceline/v1/{name}.proto" for name in CONTRACTS]
    return ["protoc", f"-I{PROTO}", f"-I{WELL_KNOWN}", *options, *files]


def generate(folder):
    """The modules by their short names: `ingest`, `ingest_grpc`, ..."""
    status = protoc.main(protoc_arguments(f"--python_out={folder}", f"--grpc_python_out={folder}"))
    assert status == 0, f"protoc ended with {status}"
    sys.path.insert(0, str(folder))
    modules = {}
    for name in CONTRACTS:
        modules[name] = importlib.import_module(f"paceline.v1.{name}_pb2")
        modules[f"{name}_grpc"] = importlib.import_module(f"paceline.v1.{name}_pb2_grpc")
    return SimpleNamespace(**modules)
