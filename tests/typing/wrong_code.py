"""What the type checker has to refuse: every line with an error code in a comment has this error."""

import fastlvs as lvs


class NoScheduler:
    """It has no method select."""


lvs.VirtualService("tcp", "192.0.2.10:80", scheduler=NoScheduler())  # [arg-type]
lvs.VirtualService("tcp", 80)  # [arg-type]
lvs.RealServer("10.0.0.1", weight="3")  # [arg-type]
lvs.RealServer("10.0.0.1").weight = 3  # [misc]
lvs.Engine([]).process("c", "frame")  # [arg-type]
