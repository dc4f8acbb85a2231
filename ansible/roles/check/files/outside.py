"""What can be seen from elsewhere: DNS, ports, certificates. Prints a JSON list of findings.

DNS is asked with a few lines of our own, so that nothing but Python is needed.
"""

import base64
import ipaddress
import json
import secrets
import socket
import ssl
import struct
import sys

TYPES = {"A": 1, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}
TIMEOUT = 5
FINDINGS = []


def finding(ok, what, hint=""):
    text = ("ok: " if ok else "MISSING: ") + what + (f" - {hint}" if hint and not ok else "")
    FINDINGS.append({"ok": bool(ok), "text": text})


class DnsError(Exception):
    """No answer, as opposed to an empty one."""


def system_servers():
    with open("/etc/resolv.conf", encoding="utf-8") as file:
        words = [line.split() for line in file]
    return [word[1] for word in words if len(word) > 1 and word[0] == "nameserver"]


def ask(servers, name, kind):
    """The texts of all records of a name; RFC 1035 section 4."""
    number = secrets.randbits(16)
    labels = b"".join(bytes([len(label)]) + label for label in name.encode("idna").split(b".") if label)
    query = struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", TYPES[kind], 1)
    last = "no server to ask"
    for server in servers:
        for exchange in (over_udp, over_tcp):
            try:
                answer = exchange(server, query)
            except OSError as error:
                last = f"{server}: {error}"
                continue
            identity, flags = struct.unpack_from("!2H", answer)
            if identity != number or flags & 0x0200:
                continue
            if flags & 0xF not in (0, 3):
                last = f"{server} answers with error {flags & 0xF}"
                break
            return list(records(answer, TYPES[kind]))
    raise DnsError(last)


def over_udp(server, query):
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(TIMEOUT)
        client.connect((server, 53))
        client.send(query)
        return client.recv(65535)


def over_tcp(server, query):
    with socket.create_connection((server, 53), TIMEOUT) as client, client.makefile("rb") as stream:
        client.sendall(struct.pack("!H", len(query)) + query)
        return stream.read(struct.unpack("!H", stream.read(2))[0])


def records(answer, wanted):
    _, _, questions, answers, _, _ = struct.unpack_from("!6H", answer)
    at = 12
    for _ in range(questions):
        at = name_at(answer, at)[1] + 4
    for _ in range(answers):
        _, at = name_at(answer, at)
        kind, _, _, length = struct.unpack_from("!2HIH", answer, at)
        at += 10
        data = answer[at : at + length]
        if kind == wanted == TYPES["TXT"]:
            yield b"".join(strings(data)).decode(errors="replace")
        elif kind == wanted == TYPES["MX"]:
            yield name_at(answer, at + 2)[0]
        elif kind == wanted == TYPES["PTR"]:
            yield name_at(answer, at)[0]
        elif kind == wanted:
            yield str(ipaddress.ip_address(data))
        at += length


def strings(data):
    while data:
        yield data[1 : 1 + data[0]]
        data = data[1 + data[0] :]


def name_at(answer, at):
    labels, end = [], None
    for _ in range(128):
        length = answer[at]
        if length >= 0xC0:
            end = end or at + 2
            at = struct.unpack_from("!H", answer, at)[0] & 0x3FFF
        elif length == 0:
            return ".".join(labels).lower(), end or at + 1
        else:
            labels.append(answer[at + 1 : at + 1 + length].decode(errors="replace"))
            at += 1 + length
    raise DnsError("a name without end")


def same(kind, expected, found):
    if kind in ("A", "AAAA"):
        return any(not expected or ipaddress.ip_address(expected) == ipaddress.ip_address(one) for one in found)
    if kind in ("MX", "PTR"):
        return expected.lower() in found
    return any(one.startswith(expected) for one in found)


def look_up(servers, name, kind, expected):
    what = f"DNS: {name} {kind} {expected[:40]}{'...' * (len(expected) > 40)}".rstrip()
    try:
        found = ask(servers, name, kind)
    except DnsError as error:
        finding(False, what, f"no answer from DNS ({error})")
        return
    finding(same(kind, expected, found), what, f"DNS says {', '.join(found)[:400] or 'nothing'}; see /etc/chatmail/zone.txt")


def connect(address, port):
    try:
        with socket.create_connection((address, port), TIMEOUT):
            return True, ""
    except OSError as error:
        return False, str(error)


def handshake(address, port, name, verify):
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        with socket.create_connection((address, port), TIMEOUT) as client:
            with context.wrap_socket(client, server_hostname=name):
                return True, ""
    except OSError as error:
        return False, str(error)


def main():
    wanted = json.loads(base64.b64decode(sys.argv[1]))
    servers = wanted["dns_servers"] or system_servers()
    for name, kind, expected in wanted["records"]:
        look_up(servers, name, kind, expected)
    for name, record in wanted["dkim"]:
        look_up(servers, name, "TXT", record)
    for address in wanted["pointers"] if wanted["pointer_name"] else []:
        look_up(servers, ipaddress.ip_address(address).reverse_pointer, "PTR", wanted["pointer_name"])
    for port in wanted["ports"]:
        ok, why = connect(wanted["address"], port)
        finding(ok, f"port {port} is reached from here", f"{why}; a firewall in between? Many providers close port 25")
    for port in wanted["tls_ports"]:
        ok, why = handshake(wanted["address"], port, wanted["tls_name"], wanted["tls_verify"])
        finding(ok, f"TLS on port {port} is right", why)
    print(json.dumps(FINDINGS))


main()
