"""A contract endpoint whose answers a test writes."""

import http.server
import json
import threading
import urllib.parse


class Script(http.server.ThreadingHTTPServer):
    """A contract endpoint that answers what `answer(method, path, query, body)` returns as JSON."""

    daemon_threads = True

    def __init__(self, answer):
        self.answer = answer
        self.style = {"separators": (",", ":")}
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def log_message(self, *_):
        pass

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if "/auth/" in url.path:
            status, found = 204, b""
        else:
            status, found = 200, self.server.answer(self.command, url.path, query, body)
            if not isinstance(found, bytes):
                found = json.dumps(found, **self.server.style).encode()
        self.send_response(status)
        self.send_header("Set-Cookie", ".ASPXAUTH=x; path=/")
        self.send_header("Content-Length", str(len(found)))
        self.end_headers()
        self.wfile.write(found)

    do_GET = do_PUT = do_POST = handle_any


def create_scripted(connection):
    """A foreign server `scripted` on such an endpoint."""
    scripted = Script(None)
    connection.execute(f"""
        CREATE SERVER scripted FOREIGN DATA WRAPPER acumatica_fdw
            OPTIONS (url 'http://127.0.0.1:{scripted.server_port}', company 'C', endpoint_version '24.200.001', operation_timeout '5');
        CREATE USER MAPPING FOR PUBLIC SERVER scripted OPTIONS (username 'u', password 'a-word-for-scripts')""")
    return scripted


def record(number, **members):
    return {"id": f"00000000-0000-0000-0000-{number:012}", "rowNumber": number, "note": None, "Nbr": {"value": str(number)}, "custom": {}, **members}


def line(number, **members):
    return {"id": f"10000000-0000-0000-0000-{number:012}", "rowNumber": number, "Qty": {"value": number * 1.5}, "custom": {}, **members}
