"""7. What one node knows is of no use for another's topics, from inside the cluster."""

from __future__ import annotations

import json

from tests.cluster.harness import Brisa

# In the edge's own pod, by its own password: who may write what. Prints {topic: refused}.
WRITE = """
import json, os, sys, threading
from broker.session import Session, unique_client_id
from broker.settings import load
from edge.settings import EdgeSettings
refused, answered = {}, threading.Semaphore(0)
def no(topic, _reason):
    refused[topic] = True
    answered.release()
session = Session(load(EdgeSettings, os.environ), client_id=unique_client_id("intruder"), protocol=5,
    subscriptions=[], on_refused=no)
session.start()
session.wait_until_up(30)
for topic in sys.argv[1:]:
    session.publish(topic, b'{"state":"offline"}')
for topic in sys.argv[1:]:
    answered.acquire(timeout=10)
print(json.dumps(sorted(refused)))
session.stop()
"""


def test_a_nodes_password_does_not_write_anothers_topics(brisa: Brisa, sensors: str) -> None:
    other = next(node for node in brisa.nodes if node != sensors)
    wanted = [
        f"brisa/{other}/status",
        f"brisa/{other}/aula/reading",
        f"brisa/{sensors}/aula/stored",
    ]
    words = ("exec", brisa.pod("edge"), "-c", "edge", "--", "python", "-c", WRITE, *wanted)
    assert json.loads(brisa.kubectl(*words).splitlines()[-1]) == sorted(wanted)


def test_the_edges_pod_has_no_other_nodes_password(brisa: Brisa, sensors: str) -> None:
    words = (
        "exec",
        brisa.pod("edge"),
        "-c",
        "edge",
        "--",
        "sh",
        "-c",
        "cat $(find /run/credentials -type f)",
    )
    assert brisa.kubectl(*words).split() == [brisa.password(sensors)]
