#!/usr/bin/python3
"""Stand-ins for the Python daemons of a classic relay, written for these tests: stand_ins.py NAME.

doveauth, metadata and lastlogin speak Dovecot's dict protocol, and read and write the files of a classic relay;
filter hands SMTP on as it comes (`filter FROM TO`, two ports), where a classic relay's filtermail would judge it. What
they show is whether files that one side leaves are files that the other can use. They are no classic relay.
"""

import contextlib
import crypt
import json
import os
import pathlib
import socket
import socketserver
import sys
import threading
import time

MAILBOXES = pathlib.Path("/home/vmail/mail/old.test")
NO_NEW_ACCOUNTS = pathlib.Path("/etc/chatmail-nocreate")


def account(address):
    """What Dovecot is told of an account; None if there is none."""
    home = MAILBOXES / address
    try:
        password = (home / "password").read_text()
    except FileNotFoundError:
        return None
    return {"home": str(home), "uid": "vmail", "gid": "vmail", "password": password}


class Doveauth:
    def lookup(self, key, _user):
        _, kind, rest = key.split("/", 2)
        words = rest.replace("\\\\", "\\").split('"')
        if kind == "userdb":
            found = account(words[0])
        else:
            password, address = words[:2]
            found = account(address)
            if not found and len(password) >= 9 and not NO_NEW_ACCOUNTS.exists():
                home = MAILBOXES / address
                home.mkdir(mode=0o700, exist_ok=True)
                (home / "password").write_text("{SHA512-CRYPT}" + crypt.crypt(password, crypt.METHOD_SHA512))
                found = account(address)
        return json.dumps(found) if found else None

    def set(self, key, value, user):
        raise NotImplementedError


class Metadata:
    def lookup(self, key, user):
        if key.startswith("priv/") and key.endswith("/devicetoken"):
            file = MAILBOXES / user / "metadata.json"
            tokens = json.loads(file.read_text()).get("devicetoken", {}) if file.exists() else {}
            return " ".join(tokens)
        return None

    def set(self, key, value, user):
        if key.startswith("priv/") and key.endswith("/devicetoken"):
            file = MAILBOXES / user / "metadata.json"
            known = json.loads(file.read_text()) if file.exists() else {}
            known.setdefault("devicetoken", {})[value] = int(time.time())
            file.write_text(json.dumps(known))


class Lastlogin:
    def lookup(self, key, user):
        return None

    def set(self, key, value, user):
        day = int(value) // 86400 * 86400
        os.utime(MAILBOXES / key.rsplit("/", 1)[1] / "password", (day, day))


class Dict(socketserver.StreamRequestHandler):
    def handle(self):
        users = {}
        for line in self.rfile:
            kind, fields = line[:1], line[1:-1].decode().split("\t")
            if kind == b"L":
                value = self.server.answers.lookup(fields[0], fields[1] if len(fields) > 1 else "")
                self.say(f"O{value}\n" if value is not None else "N\n")
            elif kind == b"I":
                self.say("\n")
            elif kind == b"B":
                users[fields[0]] = fields[1] if len(fields) > 1 else ""
            elif kind == b"S":
                self.server.answers.set(fields[1], fields[2], users[fields[0]])
            elif kind == b"C":
                self.say(f"O{fields[0]}\n")

    def say(self, text):
        self.wfile.write(text.encode())


class DictServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 100


def serve_dict(answers, path):
    pathlib.Path(path).unlink(missing_ok=True)
    with DictServer(path, Dict) as server:
        os.chmod(path, 0o660)
        server.answers = answers
        server.serve_forever()


def copy(source, target):
    while chunk := source.recv(65536):
        target.sendall(chunk)
    with contextlib.suppress(OSError):  # It may have gone.
        target.shutdown(socket.SHUT_WR)


class Filter(socketserver.BaseRequestHandler):
    def handle(self):
        with socket.create_connection(("127.0.0.1", self.server.to)) as postfix:
            threading.Thread(target=copy, args=(self.request, postfix), daemon=True).start()
            copy(postfix, self.request)


class FilterServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


match sys.argv[1:]:
    case ["doveauth"]:
        serve_dict(Doveauth(), "/run/doveauth/doveauth.socket")
    case ["metadata"]:
        serve_dict(Metadata(), "/run/chatmail-metadata/metadata.socket")
    case ["lastlogin"]:
        serve_dict(Lastlogin(), "/run/chatmail-lastlogin/lastlogin.socket")
    case ["filter", source, target]:
        with FilterServer(("127.0.0.1", int(source)), Filter) as server:
            server.to = int(target)
            server.serve_forever()
    case _:
        sys.exit(__doc__)
