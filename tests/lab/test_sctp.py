"""SCTP through the director: between kernels that have it, and packets with their checksums where none has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fastlvs.lab import Lab
from fastlvs.server import Forwarding
from remote import Remote

PORT = 5300
METHODS = ("nat", "dr", "tun")
FAMILIES = (4, 6)


@pytest.fixture(scope="module")
def lab(namespaces: None) -> Iterator[Lab]:
    """A lab in both families."""
    with Lab(ipv6=True) as made:
        yield made


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_an_association_passes_each_way(lab: Lab, method: str, family: int) -> None:
    """Between real stacks."""
    if "SCTP" not in Path("/proc/net/protocols").read_text():
        pytest.skip("this kernel has no SCTP (CONFIG_IP_SCTP; else `modprobe sctp`)")
    service = lab.service(method, "rr", protocol="sctp", port=PORT, weights=(1,), ipv6=family == 6)
    vip = str(service.address.address)
    nat = service.forwarding is Forwarding.NAT
    place = service.servers[0].address if nat else service.address
    server = Remote(lab.servers[0], STACK)
    server(f"listen({str(place.address)!r}, {place.port})")
    server.tell("serve()")
    with lab.run_director([service]):
        assert Remote(lab.client, STACK)(f"ask({vip!r}, {PORT})") == "HELLO"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("method", METHODS)
def test_packets_arrive_with_right_checksums(lab: Lab, method: str, family: int) -> None:
    """An INIT and its INIT ACK, by raw sockets: whoever gets one sums it up (CRC32c)."""
    if "SCTP" in Path("/proc/net/protocols").read_text():
        pytest.skip("this kernel would answer itself")
    service = lab.service(method, "rr", protocol="sctp", port=PORT, weights=(1,), ipv6=family == 6)
    vip = str(service.address.address)
    at = 8080 if method == "nat" else PORT
    client, server = Remote(lab.client, RAW), Remote(lab.servers[0], RAW)
    for host in (client, server):
        host(f"open({family})")
    with lab.run_director([service]):
        client(f"send({vip!r}, 40000, {PORT}, INIT)")
        asker, source, destination, kind = server("receive()")
        assert (source, destination, kind) == (40000, at, 1)
        own = f"bind({(lab.servers[0].address6 if family == 6 else lab.servers[0].address)!r})"
        server(own if method == "nat" else f"bind({vip!r})")
        server(f"send({asker!r}, {at}, 40000, INIT_ACK)")
        assert client("receive()") == [vip, PORT, 40000, 2]


STACK = """
import socket
def opened(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.socket(family, socket.SOCK_STREAM, 132)
def listen(address, port):
    global listener
    listener = opened(address)
    listener.bind((address, port))
    listener.listen()
def serve():
    connection, _ = listener.accept()
    connection.sendall(connection.recv(100).upper())
    connection.close()
def ask(address, port):
    with opened(address) as client:
        client.settimeout(30)
        client.connect((address, port))
        client.sendall(b"hello")
        return client.recv(100).decode()
"""

RAW = """
import socket, struct
INIT, INIT_ACK = (struct.pack("!BBHIIHHI", kind, 0, 20, 7, 65536, 1, 1, 9) for kind in (1, 2))

def open(family):
    global raw, v6
    v6 = family == 6
    raw = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_RAW, 132)
    raw.settimeout(30)

def bind(address):
    raw.bind((address, 0))

def crc32c(data):
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return struct.pack("<I", register ^ 0xFFFFFFFF)

def send(address, source, destination, chunk):
    ports = struct.pack("!HHI", source, destination, 0)
    raw.sendto(ports + crc32c(ports + bytes(4) + chunk) + chunk, (address, 0))

def receive():
    "Who sent the next packet, both ports and the kind of its chunk; its checksum is right."
    data, sender = raw.recvfrom(2048)
    data = data if v6 else data[20:]
    assert data[8:12] == crc32c(data[:8] + bytes(4) + data[12:])
    return [sender[0], *struct.unpack("!HH", data[:4]), data[12]]
"""
