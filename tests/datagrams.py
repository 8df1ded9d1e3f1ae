"""UDP on hosts of the lab: servers that send back what they get, and clients that look at every error."""

from __future__ import annotations

from subprocess import PIPE, Popen

from fastlvs.lab.host import Host
from fastlvs.lab.sandbox import first_line
from remote import Remote
from waiting import PATIENCE

ECHO = """
import selectors, socket, sys
selector = selectors.DefaultSelector()
for address in sys.argv[2:]:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    echo = socket.socket(family, socket.SOCK_DGRAM)
    echo.bind((address, int(sys.argv[1])))
    selector.register(echo, selectors.EVENT_READ)
print("ready", flush=True)
while True:
    for key, _ in selector.select():
        try:
            data, asker = key.fileobj.recvfrom(65536)
            key.fileobj.sendto(data, asker)
        except OSError:
            pass
"""

CLIENT = """
import errno, socket, struct

IP_MTU_DISCOVER, IP_MTU, IPV6_MTU_DISCOVER, IPV6_MTU, DO = 10, 14, 23, 24, 2

def client(address, port):
    global asker, v6
    v6 = ":" in address
    asker = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
    asker.connect((address, port))

def ask(size, patience=30):
    "Sends so many bytes and says whether the same came back."
    data = bytes(number * 7 & 255 for number in range(size))
    asker.settimeout(patience)
    try:
        asker.send(data)
        return asker.recv(65536) == data
    except TimeoutError:
        return None
    except OSError as error:
        # It was told that this was too long, and cuts the next.
        if error.errno != errno.EMSGSIZE:
            raise

def ping(address, size):
    "Sends an echo request with so many bytes; says whether the same came back from there."
    v6 = ":" in address
    family, protocol, request, reply = (socket.AF_INET6, 58, 128, 129) if v6 else (socket.AF_INET, 1, 8, 0)
    data = bytes(number * 7 & 255 for number in range(size))
    message = struct.pack("!BBHHH", request, 0, 0, 77, 1) + data
    total = sum(struct.unpack(f"!{len(message) // 2}H", message))
    total = (total & 0xFFFF) + (total >> 16)
    total = ~(total + (total >> 16)) & 0xFFFF
    # The kernel sums up ICMPv6 itself.
    message = message[:2] + struct.pack("!H", total) + message[4:]
    with socket.socket(family, socket.SOCK_RAW, protocol) as raw:
        raw.settimeout(30)
        raw.connect((address, 0))
        raw.send(message)
        while True:
            answer = raw.recv(65536)[0 if v6 else 20:]
            if answer[0] == reply and answer[4:8] == message[4:8]:
                return answer[8:] == data

def discover(size):
    "Sends so many bytes that nobody may cut; says the path's MTU when it is known to be too small for them."
    level = (socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, DO) if v6 else (socket.IPPROTO_IP, IP_MTU_DISCOVER, DO)
    asker.setsockopt(*level)
    asker.settimeout(1)
    for _ in range(30):
        try:
            asker.send(bytes(size))
            asker.recv(65536)
            return None
        except TimeoutError:
            pass
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            return asker.getsockopt(*(socket.IPPROTO_IPV6, IPV6_MTU) if v6 else (socket.IPPROTO_IP, IP_MTU))
"""


def start_echo(host: Host, port: int, *addresses: str) -> Popen[str]:
    """Sends back what comes to ``port`` of these addresses, from the address that it came to."""
    process = host.start("python3", "-I", "-S", "-c", ECHO, str(port), *addresses, stdout=PIPE)
    assert first_line(process, PATIENCE) == "ready"
    return process


def asker(host: Host, address: str, port: int) -> Remote:
    """A client of ``address``; ``ask(size)`` there asks."""
    remote = Remote(host, CLIENT)
    remote(f"client({address!r}, {port})")
    return remote
