"""Servers between the extension and the simulator, which speaks plain HTTP: TLS with valid and invalid certificates, and a
proxy. They listen on free ports of 127.0.0.1, in threads of the test."""

import base64
import collections
import contextlib
import datetime
import http.client
import os
import pathlib
import select
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading

# Paths of PEM files.
Identity = collections.namedtuple("Identity", "certificate key")
# Requests to the proxy: the target, and whether the credentials were right.
Asked = collections.namedtuple("Asked", "method target authorised")


class Certificates:
    """Two authorities, one of them to be trusted, and what they issued, in a directory that everyone may read.

    `ca` and `unknown_ca`: certificates of the authorities. Identities of servers, all for localhost and 127.0.0.1 but
    `other_name`: `good`, `expired`, `not_yet_valid`, `other_name`, `untrusted` (from the unknown authority). `client`:
    a client's, its key readable by the user that runs PostgreSQL alone.
    """

    CONFIGURATION = """
        [req]
        distinguished_name = nothing
        [nothing]
        [issue]
        new_certs_dir = .
        database = index.txt
        rand_serial = yes
        default_md = sha256
        policy = any_name
        copy_extensions = copy
        [any_name]
        commonName = supplied
    """

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(exist_ok=True)
        self.directory.chmod(0o755)
        (self.directory / "openssl.cnf").write_text(self.CONFIGURATION)
        (self.directory / "index.txt").touch()
        self.ca, self.unknown_ca = self._authority("ca"), self._authority("unknown_ca")
        here = "DNS:localhost, IP:127.0.0.1"
        self.good = self._issue("good", here)
        self.expired = self._issue("expired", here, days=(-30, -1))
        self.not_yet_valid = self._issue("not_yet_valid", here, days=(1, 30))
        self.other_name = self._issue("other_name", "DNS:erp.example")
        self.untrusted = self._issue("untrusted", here, authority="unknown_ca")
        self.client = self._issue("client", "DNS:client.example", purpose="clientAuth")
        os.chmod(self.client.key, 0o600)
        if os.geteuid() == 0:
            shutil.chown(self.client.key, os.environ.get("CLUSTER_OWNER", "root"))

    def _openssl(self, *arguments):
        done = subprocess.run(["openssl", *arguments], cwd=self.directory, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"openssl {' '.join(arguments)}: {done.stderr}")

    def _request(self, name, extensions, *more):
        """A new key, and a request for a certificate."""
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key")
        added = [part for extension in extensions for part in ("-addext", extension)]
        self._openssl("req", "-new", "-config", "openssl.cnf", *key, "-subj", f"/CN=test {name}", *added, *more)

    def _authority(self, name):
        extensions = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign")
        self._request(name, extensions, "-x509", "-days", "30", "-out", f"{name}.pem")
        return str(self.directory / f"{name}.pem")

    def _issue(self, name, names, authority="ca", days=(-1, 30), purpose="serverAuth"):
        extensions = (f"subjectAltName={names}", f"extendedKeyUsage={purpose}", "basicConstraints=CA:FALSE")
        self._request(name, extensions, "-out", f"{name}.csr")
        now = datetime.datetime.now(datetime.timezone.utc)
        # `openssl x509 -req` of version 3.0 has no validity that ends in the past; `openssl ca` has.
        begin, end = (f"{now + datetime.timedelta(days=day):%Y%m%d%H%M%SZ}" for day in days)
        how = ("-config", "openssl.cnf", "-name", "issue", "-startdate", begin, "-enddate", end)
        signer = ("-cert", f"{authority}.pem", "-keyfile", f"{authority}.key")
        self._openssl("ca", "-batch", "-notext", *how, *signer, "-in", f"{name}.csr", "-out", f"{name}.pem")
        return Identity(*(str(self.directory / f"{name}.{suffix}") for suffix in ("pem", "key")))


class Front(socketserver.ThreadingTCPServer):
    """Gives each connection to `serve`, in a thread of its own, and counts them in `connections`."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 100

    def __init__(self):
        super().__init__(("127.0.0.1", 0), None)
        self.port = self.server_address[1]
        self.connections = 0
        self.stopped = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        """Stops listening and closes the open connections."""
        self.stopped.set()
        self.shutdown()
        self.server_close()

    def __exit__(self, *_):
        self.stop()

    def get_request(self):
        client, address = super().get_request()
        self.connections += 1
        client.settimeout(30)
        return client, address

    def finish_request(self, client, _address):
        with contextlib.suppress(OSError):  # either side may leave at any time
            self.serve(client)

    def pipe(self, one, other):
        """Copies bytes both ways until either side ends."""
        while not self.stopped.is_set():
            decrypted = [side for side in (one, other) if isinstance(side, ssl.SSLSocket) and side.pending()]
            for side in decrypted or select.select([one, other], [], [], 0.1)[0]:
                data = side.recv(65536)
                if not data:
                    return
                (other if side is one else one).sendall(data)


def last_words(connection, words=b""):
    """Closes a connection so that the data sent arrives: closing it with unread bytes would send a reset."""
    connection.sendall(words)
    connection.shutdown(socket.SHUT_WR)
    while connection.recv(65536):
        pass


class TlsFront(Front):
    """Speaks TLS as this identity and passes all on to `target`, a host and port or the URL of a simulator. With
    `client_ca`, clients must show a certificate from that authority. `newest`: the latest version of TLS it knows."""

    def __init__(self, target, certificate, key, client_ca=None, newest=ssl.TLSVersion.MAXIMUM_SUPPORTED):
        if isinstance(target, str):
            host, _, port = target.split("/")[2].rpartition(":")
            target = host, int(port)
        self.target = target
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.maximum_version = newest
        self.context.load_cert_chain(certificate, key)
        if client_ca:
            self.context.load_verify_locations(client_ca)
            self.context.verify_mode = ssl.CERT_REQUIRED
        super().__init__()
        self.url = f"https://localhost:{self.port}"

    def serve(self, client):
        with self.context.wrap_socket(client, server_side=True, do_handshake_on_connect=False) as tls:
            try:
                tls.do_handshake()
            except ssl.SSLError:
                last_words(tls)  # the alert
                return
            with socket.create_connection(self.target, 30) as server:
                self.pipe(tls, server)
            tls.settimeout(1)
            tls.unwrap()


class Proxy(Front):
    """An HTTP proxy; with `user`, only for those who say it and the password. `requests`: all that it was asked for."""

    def __init__(self, user=None, password=None):
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.credentials = None if user is None else f"Basic {pair}"
        self.requests = []
        super().__init__()
        self.url = f"http://127.0.0.1:{self.port}"

    def serve(self, client):
        with client.makefile("rb") as reader:
            method, target, _ = reader.readline().decode("latin-1").split() or ("", "", "")
            if not method:
                return
            headers = http.client.parse_headers(reader)
            body = reader.read(int(headers.get("Content-Length", 0)))
        authorised = self.credentials in (None, headers["Proxy-Authorization"])
        self.requests.append(Asked(method, target, authorised))
        if not authorised:
            challenge = 'Proxy-Authenticate: Basic realm="proxy"'
            self.refuse(client, f"407 Proxy Authentication Required\r\n{challenge}", "Who are you?")
        elif method == "CONNECT":
            self.reach(client, target, lambda _: client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n"))
        elif target.startswith("http://"):
            authority, _, path = target.removeprefix("http://").partition("/")
            # One request a connection, so that none goes by unseen.
            kept = [f"{n}: {v}" for n, v in headers.items() if not n.lower().startswith(("proxy-", "connection"))]
            head = "\r\n".join([f"{method} /{path} HTTP/1.1", *kept, "Connection: close", "", ""])
            self.reach(client, authority, lambda server: server.sendall(head.encode("latin-1") + body))
        else:
            self.refuse(client, "400 Bad Request", "This is a proxy.")

    def reach(self, client, authority, begin):
        host, _, port = authority.rpartition(":")
        try:
            server = socket.create_connection((host.strip("[]"), int(port)), 30)
        except (OSError, ValueError):
            self.refuse(client, "502 Bad Gateway", f"Cannot reach {authority}.")
            return
        with server:
            begin(server)
            self.pipe(client, server)

    def refuse(self, client, status, text):
        page = f"<html><body><h1>{text}</h1></body></html>"
        head = f"HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\nConnection: close"
        last_words(client, f"{head}\r\n\r\n{page}".encode())
