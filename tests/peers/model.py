"""The model of the SES API v2 that botocore ships: AWS's own statement of what SendEmail takes.

botocore's validator knows types, required and unknown members and lower bounds. Upper bounds, patterns and enumerations stand
in the model as well, but nothing in botocore holds a request to them: that is done here.
"""

import base64
import json
import re

import botocore.session
from botocore.validate import ParamValidator

SERVICE = botocore.session.get_session().get_service_model("sesv2")
OPERATION = SERVICE.operation_model("SendEmail")

# By each kind of bound, whether a value keeps it.
KEEPS = {
    "min": lambda value, limit: len(value) >= limit,
    "max": lambda value, limit: len(value) <= limit,
    # Some patterns are anchored and some are not; AWS means the whole value.
    "pattern": lambda value, limit: re.fullmatch(limit, value),
    "enum": lambda value, limit: value in limit,
}


def parameters(body):
    """A request's body as the parameters of the call, its blobs decoded."""
    return _decoded(OPERATION.input_shape, json.loads(body))


def violations(parameters):
    """What the model has against the parameters."""
    broken = [
        f"{path}: a value of length {len(value)} does not keep {kind} {limit}"
        for path, shape, value in _parts(OPERATION.input_shape, parameters)
        for kind, limit in _bounds(shape)
        if not KEEPS[kind](value, limit)
    ]
    report = ParamValidator().validate(parameters, OPERATION.input_shape)
    return broken + ([report.generate_report()] if report.has_errors() else [])


def bounds_of(parameters):
    """The bounds that the model states for what is used of it: {("Content.Simple.Headers", "max"), ...}."""
    return {(path, kind) for path, shape, _ in _parts(OPERATION.input_shape, parameters) for kind, _ in _bounds(shape)}


def bound(path, kind):
    """One bound of the model, such as `bound("Content.Simple.Headers[].Name", "max")`."""
    shape = OPERATION.input_shape
    for member in path.replace("[]", ".[]").split("."):
        shape = shape.member if member == "[]" else shape.members[member]
    return dict(_bounds(shape))[kind]


def _bounds(shape):
    return [(kind, limit) for kind, limit in shape.metadata.items() if kind in KEEPS]


def _parts(shape, value, path=""):
    """Every part of a value with its path and shape, the value itself included."""
    yield path, shape, value
    if shape.type_name == "structure":
        for name, member in value.items():
            # Unknown members are the validator's business.
            if name in shape.members:
                yield from _parts(shape.members[name], member, f"{path}.{name}" if path else name)
    elif shape.type_name == "list":
        for item in value:
            yield from _parts(shape.member, item, f"{path}[]")


def _decoded(shape, value):
    if shape.type_name == "structure":
        known = shape.members
        return {name: _decoded(known[name], member) if name in known else member for name, member in value.items()}
    if shape.type_name == "list":
        return [_decoded(shape.member, item) for item in value]
    if shape.type_name == "blob":
        return base64.b64decode(value, validate=True)
    return value
