"""An endpoint that takes every message and keeps the requests as they came over the wire."""

import json
import threading
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Recorded = namedtuple("Recorded", "method path headers body")


class Recorder:
    def __init__(self):
        self.requests = []
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                recorder.requests.append(Recorded(self.command, self.path, self.headers, body))
                answer = json.dumps({"MessageId": f"recorded-{len(recorder.requests)}"}).encode()
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

    def of(self, message_id):
        """The request that carried this message, once it is there."""
        for request in list(self.requests):
            names = {tag["Name"]: tag["Value"] for tag in json.loads(request.body)["EmailTags"]}
            if names["paceline_id"] == message_id:
                return request
        return None

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
