"""Masquerading there and back is the identity, and every checksum that leaves is right."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st
from scapy.layers.inet import IP, in4_chksum
from scapy.layers.sctp import SCTP, SCTPChunkData, SCTPChunkInit
from scapy.packet import Raw
from scapy.utils import checksum

import fastlvs as lvs
from packets import ACK, SYN, TCP, UDP, Packet
from topology import DIRECTOR_C, DIRECTOR_S, ROUTER, SERVERS, VIP, engine, from_client

clients = st.tuples(
    st.ip_addresses(v=4, network="198.51.100.0/24").map(str),
    st.integers(1, 65535).filter(lambda port: port != 20),
)
payloads = st.binary(max_size=1400)
protocols = st.sampled_from([TCP, UDP])


def director(protocol: int, port: int) -> lvs.Engine:
    name = "tcp" if protocol == TCP else "udp"
    servers = [lvs.RealServer((address, port)) for address in SERVERS]
    return engine(lvs.VirtualService(name, VIP, "rr", "nat", servers))


def checksums_hold(frame: bytes) -> bool:
    """Whether scapy's sums over the IPv4 header and over the segment come out right."""
    header, segment = frame[14:34], frame[34:]
    return checksum(header) == 0 and in4_chksum(header[9], IP(header), segment) in (0, 0xFFFF)


@given(protocol=protocols, client=clients, port=st.integers(1, 65535), there=payloads, back=payloads)
def test_there_and_back(protocol: int, client: tuple[str, int], port: int, there: bytes, back: bytes) -> None:
    engine = director(protocol, port)
    frame = from_client(SYN, client, protocol=protocol, payload=there)
    [(leg, sent)] = engine.process("c", frame).frames
    server = (IP(sent[14:]).dst, port)
    assert server[0] in SERVERS
    assert checksums_hold(sent)
    translated = Packet(protocol, client, server, SYN, there, ttl=63)
    assert (leg, sent) == ("s", translated.frame(SERVERS[server[0]], DIRECTOR_S))

    answer = Packet(protocol, server, client, SYN | ACK, back)
    [(leg, sent)] = engine.process("s", answer.frame(DIRECTOR_S, SERVERS[server[0]])).frames
    assert checksums_hold(sent)
    translated = Packet(protocol, VIP, client, SYN | ACK, back, ttl=63)
    assert (leg, sent) == ("c", translated.frame(ROUTER, DIRECTOR_C))


@given(client=clients, port=st.integers(1, 65535), there=payloads, back=payloads)
def test_sctp_there_and_back(client: tuple[str, int], port: int, there: bytes, back: bytes) -> None:
    """scapy writes the CRC32c of what is sent and of what is expected."""
    servers = [lvs.RealServer((address, port)) for address in SERVERS]
    director = engine(lvs.VirtualService("sctp", VIP, "rr", "nat", servers))
    link = bytes.fromhex((DIRECTOR_C + ROUTER).replace(":", "")) + b"\x08\x00"
    init = SCTP(sport=client[1], dport=VIP[1]) / SCTPChunkInit(init_tag=1) / Raw(there)
    [(leg, sent)] = director.process("c", link + bytes(IP(src=client[0], dst=VIP[0]) / init)).frames
    server = IP(sent[14:]).dst
    translated = SCTP(sport=client[1], dport=port) / SCTPChunkInit(init_tag=1) / Raw(there)
    assert leg == "s"
    assert sent[14:] == bytes(IP(src=client[0], dst=server, ttl=63) / translated)

    link = bytes.fromhex((DIRECTOR_S + SERVERS[server]).replace(":", "")) + b"\x08\x00"
    data = SCTP(sport=port, dport=client[1]) / SCTPChunkData(data=back)
    [(leg, sent)] = director.process("s", link + bytes(IP(src=server, dst=client[0]) / data)).frames
    translated = SCTP(sport=VIP[1], dport=client[1]) / SCTPChunkData(data=back)
    assert leg == "c"
    assert sent[14:] == bytes(IP(src=VIP[0], dst=client[0], ttl=63) / translated)


@given(protocol=protocols, client=clients, damage=st.integers(1, 0xFFFF))
def test_a_wrong_checksum_stays_as_wrong(protocol: int, client: tuple[str, int], damage: int) -> None:
    """The update is incremental: it does not make a damaged packet look right."""
    frame = bytearray(from_client(SYN, client, protocol=protocol, payload=b"payload"))
    at = 34 + (16 if protocol == TCP else 6)
    right = int.from_bytes(frame[at : at + 2])
    wrong = (right + damage) % 0xFFFF or 0xFFFF
    assume(wrong % 0xFFFF != right % 0xFFFF)
    frame[at : at + 2] = wrong.to_bytes(2)
    [(_, sent)] = director(protocol, 8080).process("c", frame).frames
    assert not checksums_hold(sent)
