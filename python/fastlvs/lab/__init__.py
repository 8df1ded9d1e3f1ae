"""A network of real hosts on one machine: a client, a director, three real servers, in network namespaces.

Every host has the kernel's own TCP/IP; the cables are veth pairs. It needs no root: an ordinary user's lab
lives in a user namespace. Nothing of it is seen outside, and nothing is left when it is closed or the program
ends::

    from fastlvs.lab import Lab

    with Lab() as lab:
        with lab.run_director([lab.service("dr", "wlc")]):
            for answer in lab.client.requests("http://10.0.0.82/", 10):
                print(answer.server, answer.seconds)
"""

from fastlvs.lab.director import DirectorProcess, director_program, director_toml
from fastlvs.lab.host import Answer, Captured, Host
from fastlvs.lab.lab import Lab
from fastlvs.lab.programs.web import content
from fastlvs.lab.sandbox import LabError, find_program

__all__ = [
    "Answer",
    "Captured",
    "DirectorProcess",
    "Host",
    "Lab",
    "LabError",
    "content",
    "director_program",
    "director_toml",
    "find_program",
]
