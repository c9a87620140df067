"""An AWS-shaped server on loopback with faults to order: what the daemon under torture takes for AWS.

with CloudProcess(seed=7) as cloud:                     # or CloudServer(seed=7): in this process
    cloud.stock(buckets=("logs",), secrets={"db": "hunter2"})
    start_daemon(environment=cloud.environment)
    cloud.add(Fault("throttle", "logs", "PutLogEvents", chance=0.2))
    cloud.add(Fault("lost-answer", chance=0.05))
    cloud.outage(30)                                    # everything, for half a minute
    ...
    cloud.clear()
    cloud.messages("/aws/codebuild/web", uuid)          # what it accepted
    cloud.done()                                        # {"throttle": 12, "lost-answer": 3, "outage": 41}
"""

from agent.torture.cloud.faults import KINDS, Fault, Faults
from agent.torture.cloud.process import CloudProcess
from agent.torture.cloud.remote import Remote
from agent.torture.cloud.server import CloudServer

__all__ = ["KINDS", "CloudProcess", "CloudServer", "Fault", "Faults", "Remote"]
