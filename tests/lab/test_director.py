"""A director in a Python program, with a scheduler of that program's: real HTTP through both."""

from __future__ import annotations

import signal
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

from fastlvs.lab import Lab
from fastlvs.lab.sandbox import first_line
from remote import Remote, RemoteError
from waiting import PATIENCE, wait_for

URL = "http://10.0.0.81/"
EXAMPLE = Path(__file__).parents[2] / "examples" / "least_bytes.py"

SETUP = """
import logging, os, sys, threading, time
import fastlvs as lvs

class Records(logging.Handler):
    def emit(self, record):
        logged.append(f"{record.name}: {record.getMessage()}")

class Chosen:
    # Its answer is the variable `choice`.
    def select(self, flow, servers):
        asked.append((str(flow.client), threading.current_thread() is threading.main_thread()))
        if isinstance(choice, Exception):
            raise choice
        return choice

logged, asked, choice = [], [], 0
logging.getLogger("fastlvs").addHandler(Records())
servers = [lvs.RealServer((f"10.1.0.{number}", 8080)) for number in (11, 12, 13)]
web = lvs.VirtualService("tcp", "10.0.0.81:80", Chosen(), "nat", servers, fallback="rr")

def left():
    # Threads and files of this process.
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))
"""

HOLD = """
import http.client
connection = http.client.HTTPConnection("10.0.0.81", 80, timeout=30)
def ask():
    connection.request("GET", "/")
    return connection.getresponse().read().decode()
"""


@pytest.fixture
def program(lab: Lab) -> Iterator[Remote]:
    """A program in which a director runs, as the variable `director`."""
    remote = Remote(lab.director, SETUP)
    remote("director = lvs.Director(services=[web])")
    yield remote
    remote("director.stop()")
    assert remote.close() == 0
    assert ruleset(lab) == ""


def answered(lab: Lab, count: int = 1) -> list[str | None]:
    return [answer.server for answer in lab.client.requests(URL, count) if answer.ok]


def ruleset(lab: Lab) -> str:
    return lab.director.run("nft", "list", "ruleset").stdout


def test_a_scheduler_in_python_decides(lab: Lab, program: Remote) -> None:
    # The newest server stands first.
    for choice, server in (
        ("0", "server3"),
        ("1", "server2"),
        ("director.services[0].servers[2]", "server1"),
    ):
        program(f"choice = {choice}")
        assert answered(lab, 2) == [server] * 2
    program("choice = lvs.RealServer('10.1.0.12:8080')")
    assert answered(lab) == ["server2"]
    clients = program("asked")
    assert len({client for client, _ in clients}) == 7
    assert all(client.startswith("10.0.0.100:") and not on_main for client, on_main in clients)
    assert program("director.services[0].scheduler_errors") == 0


def test_where_it_fails_the_fallback_decides(lab: Lab, program: Remote) -> None:
    program("choice = ValueError('too many cooks')")
    assert sorted(map(str, answered(lab, 6))) == sorted(["server1", "server2", "server3"] * 2)
    program("choice = 3")
    assert len(answered(lab, 4)) == 4
    assert program("director.services[0].scheduler_errors") == 10
    wait_for(lambda: len(program("logged")) >= 2)
    logged = program("logged")
    assert len(logged) == 2, "the first and the tenth time"
    assert logged[0].startswith("fastlvs: scheduler Chosen of service TCP 10.0.0.81:80: select raised")


def test_none_refuses_the_client(lab: Lab, program: Remote) -> None:
    program("choice = None")
    answer = lab.client.http(URL)
    assert answer.error is not None
    assert "refused" in answer.error
    assert program("director.services[0].scheduler_errors") == 0
    assert program("director.counters.reply") >= 1


def test_what_it_knows_of_its_traffic(lab: Lab, program: Remote) -> None:
    assert answered(lab, 3) == ["server3"] * 3
    assert program("director.interfaces") == ["eth0", "eth1"]
    assert program("director.services['tcp', '10.0.0.81:80'].connections") == 3
    assert program("director.services[0].servers.connections.tolist()") == [3, 0, 0]
    rows = "[(str(c.client.address), str(c.server), c.state, c.active) for c in director.connections]"
    # The last packets may come after the answer.
    wait_for(lambda: program(rows) == [["10.0.0.100", "10.1.0.13:8080", "TIME_WAIT", False]] * 3)
    assert program("director.connections.server.tolist()") == ["10.1.0.13:8080"] * 3
    program("counters = director.counters")
    assert program("counters.frames == counters.forward + counters.reply + counters.to_host + counters.drop")
    # A SYN, a request, its acknowledgements and a FIN, and the same back.
    assert program("counters.forward") >= 3 * 8
    assert program("[counters.missed, counters.refused, counters.abandoned]") == [0, 0, 0]
    assert program("sum(counters.drops.values())") == program("counters.drop")


def test_changes_while_packets_pass(lab: Lab, program: Remote) -> None:
    program("choice = 2")
    client = Remote(lab.client, HOLD)
    assert "server1" in client("ask()")
    made = program(
        "list(map(str, director.apply([web.with_scheduler('rr').without_server('10.1.0.12:8080')])))"
    )
    assert made == [
        "edited service tcp 10.0.0.81:80",
        "removed service tcp 10.0.0.81:80: real server 10.1.0.12:8080",
    ]
    assert set(answered(lab, 6)) == {"server1", "server3"}
    assert "server1" in client("ask()"), "its connection stays where it is"
    with pytest.raises(RemoteError, match=r"ConfigurationError.*defined twice"):
        program("director.apply([web, web])")
    assert len(answered(lab, 2)) == 2
    client.close()


def test_a_service_of_all_ports(lab: Lab, program: Remote) -> None:
    program("anyhow = [server.replace(address=(server.address.address, 0)) for server in servers]")
    program("every = lvs.VirtualService('tcp', ('10.0.0.81', 0), 'rr', 'nat', anyhow, persistence=60)")
    assert len(program("[str(change) for change in director.apply([every])]")) == 2
    answers = lab.client.requests("http://10.0.0.81:8080/", 4)
    assert all(answer.ok for answer in answers)
    assert len({answer.server for answer in answers}) == 1, "the client is remembered"
    assert program("[str(t.client.address) for t in director.templates]") == [lab.client.address]
    refused = lab.client.http("http://10.0.0.81:8081/")
    assert refused.error is not None
    assert "refused" in refused.error, "by the server, through the director"


def test_drain(lab: Lab, program: Remote) -> None:
    program("director.edit_service(web, scheduler='rr')")
    client = Remote(lab.client, HOLD)
    held = next(name for name in ("server1", "server2", "server3") if name in client("ask()"))
    rip = f"'10.1.0.1{held[-1]}:8080'"
    began = time.monotonic()
    assert program(f"director.drain(web, {rip}, deadline=0.5)") is False
    assert 0.5 <= time.monotonic() - began < 10
    assert held not in answered(lab, 6)
    assert held in client("ask()"), "what there is goes on"
    program.tell(f"director.drain(web, {rip}, deadline=30)")
    time.sleep(0.2)
    client("connection.close()")
    assert program.answer() is True
    assert program("director.wanted[0].server(" + rip + ").weight") == 0
    assert held not in answered(lab, 3)
    client.close()


def test_python_is_busy_on_both_sides(lab: Lab, program: Remote) -> None:
    """The worker wants the interpreter for each connection, while it is asked and told things all the time."""
    program(
        textwrap.dedent("""
        def work():
            global rounds
            while not done.is_set():
                director.apply([web.with_server(lvs.RealServer("10.1.0.11:8080", rounds % 5))])
                len(director.connections), director.counters, repr(director.services), repr(director)
                rounds += 1
        done, rounds = threading.Event(), 0
        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads: thread.start()
        """)
    )
    answers = lab.client.requests(URL, 200, concurrency=20)
    wait_for(lambda: program("rounds") > 10)
    program("done.set(); [thread.join() for thread in threads]")
    assert [answer.server for answer in answers if answer.ok] == ["server3"] * 200
    # A SYN that the client sent again, and that came when all was over, is a new connection's.
    assert program("[len({client for client, _ in asked}), director.services[0].scheduler_errors]") == [
        200,
        0,
    ]


def test_its_thread_is_one_thread_to_python(lab: Lab, program: Remote) -> None:
    """It is not made anew for each connection: what a scheduler keeps in `threading.local` stays."""
    program(
        textwrap.dedent("""
        class Counting:
            kept = threading.local()
            def select(self, flow, servers):
                self.kept.count = getattr(self.kept, "count", 0) + 1
                asked.append((threading.current_thread().name, self.kept.count))
                return 0
        director.edit_service(web, scheduler=Counting())
        """)
    )
    assert len(answered(lab, 3)) == 3
    names, counts = zip(*program("asked"), strict=True)
    assert len(set(names)) == 1
    assert counts == tuple(range(1, len(counts) + 1))
    assert len(counts) >= 3


def test_edits_of_many_threads_come_one_after_the_other(lab: Lab, program: Remote) -> None:
    program(
        textwrap.dedent("""
        def add(number):
            for port in range(8081 + number, 8081 + 40, 4):
                director.add_server(web, lvs.RealServer(("10.1.0.11", port)))
        threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """)
    )
    assert program("len(director.wanted[0].servers)") == program("len(director.services[0].servers)") == 43


def test_what_it_logs_is_logged_in_python(lab: Lab) -> None:
    remote = Remote(lab.director, SETUP)
    remote("director = lvs.Director(services=[web], routes=[lvs.Route('192.0.2.0/24', interface='eth9')])")
    wait_for(lambda: remote("logged"))
    assert remote("logged")[0].startswith("fastlvs.director.network: route 192.0.2.0/24: no interface")
    remote("director.stop()")
    assert remote.close() == 0


def test_nothing_is_left_of_it(lab: Lab) -> None:
    remote = Remote(lab.director, SETUP)
    threads, _ = remote("left()")
    remote("with lvs.Director(services=[web.with_scheduler('rr')]): pass")  # imports, opens what stays open
    before = [threads, remote("left()")[1]]
    remote("director = lvs.Director(services=[web])")
    assert answered(lab) == ["server3"]
    assert "netdev" in ruleset(lab)
    assert remote("left()") > before
    remote("with director: pass")
    # The kernel may take a moment to forget a thread that was joined.
    wait_for(lambda: remote("left()") == before)
    assert ruleset(lab) == ""
    assert remote("repr(director)") == "<Director, stopped>"
    remote("director.stop(); director.wait()")
    with pytest.raises(RemoteError, match="FastlvsError: the director was stopped"):
        remote("director.services")
    remote("director = lvs.Director(services=[web]); director = None")
    wait_for(lambda: remote("left()") == before)  # one that nobody has any more is stopped
    assert remote.close() == 0


@pytest.mark.parametrize("end", ["", "sys.exit(7)", "raise RuntimeError('forgotten')", "director.wait()"])
def test_a_program_that_forgets_to_stop_it_ends_well(lab: Lab, end: str) -> None:
    script = f"{SETUP}\ndirector = lvs.Director(services=[web])\nprint('ready', flush=True)\n"
    script += f"sys.stdin.readline()\nprint('going on', flush=True)\n{end}\n"
    process = lab.director.start(sys.executable, "-c", script, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    assert first_line(process, PATIENCE) == "ready"
    assert answered(lab) == ["server3"]
    if "wait" in end:
        assert process.stdin is not None
        process.stdin.write("go on\n")
        process.stdin.flush()
        assert first_line(process, PATIENCE) == "going on"
        time.sleep(0.5)  # until it waits, which nobody outside sees
        process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode == (7 if "exit" in end else 1 if "raise" in end else 0), said
    assert ("RuntimeError: forgotten" in said) == ("raise" in end)
    assert ruleset(lab) == ""


def test_ctrl_c_ends_a_wait_at_once(lab: Lab, program: Remote) -> None:
    program("began = time.monotonic(); director.wait(0.2)")
    assert 0.2 <= program("time.monotonic() - began") < 10
    program("import signal; kill = lambda: (time.sleep(1), os.kill(os.getpid(), signal.SIGINT))")
    program("began = time.monotonic(); threading.Thread(target=kill).start(); director.wait()")
    assert program("time.monotonic() - began") < 20
    with pytest.raises(RemoteError, match="KeyboardInterrupt"):
        program("threading.Thread(target=kill).start(); director.wait(30)")
    assert answered(lab) == ["server3"], "it runs on"


def test_a_fork_leaves_its_parents_director_alone(lab: Lab, program: Remote) -> None:
    program("child = os.fork()\nif child == 0: director.stop(); del director; os._exit(9)")
    assert program("os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])") == 9
    assert answered(lab) == ["server3"]


def test_what_a_director_cannot_do(lab: Lab) -> None:
    remote = Remote(lab.director, SETUP)
    for wish, error in [
        ("['eth7']", "InterfaceError: interface eth7: there is none of that name; there are lo eth0 eth1"),
        ("['lo']", "InterfaceError: interface lo: is not an Ethernet interface"),
        ("'eth0'", "ConfigurationError: interfaces: expected a list of names"),
        ("services=[web, web]", "ConfigurationError"),
        ("spin=2", "ConfigurationError: spin: expected seconds from 0 to 1, got 2"),
        ("neighbours={'10.0.0.9': 'x'}", "ConfigurationError: neighbour 10.0.0.9: "),
    ]:
        with pytest.raises(RemoteError, match=error):
            remote(f"lvs.Director({wish})")
    assert remote.close() == 0
    assert ruleset(lab) == ""


def test_without_privilege_it_says_which_is_missing(lab: Lab) -> None:
    code = "import fastlvs\nfastlvs.Director()"
    without = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all")
    done = lab.director.run(*without, sys.executable, "-c", code, check=False)
    assert "CapabilityError: missing capability" in done.stderr
    assert "CAP_NET_ADMIN" in done.stderr.upper()


def test_the_example_runs_on_both(lab: Lab) -> None:
    by_hand = lab.client.run(sys.executable, str(EXAMPLE)).stdout
    assert [line.split()[-2:] for line in by_hand.splitlines()[3:]] == [["10", "0"]] * 3
    process = lab.director.start(sys.executable, str(EXAMPLE), "eth0", "eth1", stdout=PIPE, stderr=PIPE)
    assert first_line(process, PATIENCE) == "<Director on eth0 eth1: 1 services>"
    assert sorted(map(str, answered(lab, 3))) == ["server1", "server2", "server3"]
    process.send_signal(signal.SIGINT)
    said, failed = process.communicate(timeout=PATIENCE)
    assert (process.returncode, failed) == (0, "")
    assert [line.split()[-1] for line in said.splitlines()[3:]] == ["1"] * 3
