"""Endpoints that take every message and keep the requests as they came over the wire."""

import json
import threading
from collections import namedtuple
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

from werkzeug.formparser import parse_form_data

Recorded = namedtuple("Recorded", "method path headers body")


class Recorder:
    """SES."""

    def __init__(self):
        self.requests = []
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                recorder.requests.append(Recorded(self.command, self.path, self.headers, body))
                answer = json.dumps(recorder.answer(len(recorder.requests))).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, number):
        """What the request of this number is answered."""
        return {"MessageId": f"recorded-{number}"}

    def id_of(self, request):
        """The message that it carries."""
        return {tag["Name"]: tag["Value"] for tag in json.loads(request.body)["EmailTags"]}["paceline_id"]

    def of(self, message_id):
        """The request that carried this message, once it is there."""
        return next((request for request in list(self.requests) if self.id_of(request) == message_id), None)

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class MailgunRecorder(Recorder):
    """Mailgun."""

    def answer(self, number):
        return {"id": f"<recorded-{number}@mg.example>", "message": "Queued. Thank you."}

    def id_of(self, request):
        return werkzeug_form(request)[0]["v:paceline_id"]


def werkzeug_form(request):
    """Fields and files as werkzeug's parser has them. It keeps the order and all values of a name."""
    environ = {
        "wsgi.input": BytesIO(request.body),
        "CONTENT_TYPE": request.headers["Content-Type"],
        "CONTENT_LENGTH": str(len(request.body)),
        "REQUEST_METHOD": request.method,
    }
    _, fields, files = parse_form_data(environ, silent=False)
    return fields, files


def email_parts(request):
    """The parts as Python's `email` has them, which knows nothing of forms: disposition and content of each."""
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    message = BytesParser(policy=HTTP).parsebytes(head + request.body)
    assert not message.defects, message.defects
    return [(part["Content-Disposition"].params, part.get_content_type(), part.get_payload(decode=True)) for part in message.iter_parts()]
