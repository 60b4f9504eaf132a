"""What memory brisa's pods take in the cluster that KUBECONFIG names, from their own cgroups.

`python -m bench.pods`: a line a pod, in MiB; deploy and load it yourself (tests/cluster does).
"""

from __future__ import annotations

import json
import sys

from tools import cluster
from tools.cluster import NAMESPACE

MIB = 1024 * 1024
# What is in use, the most that ever was, and what the kernel can drop at once: cgroup v2, or v1.
# A container sees its own cgroup at this place, in both.
READ = """
cd /sys/fs/cgroup
if [ -e memory.current ]; then cat memory.current; cat memory.peak 2>/dev/null || echo 0
else cat memory/memory.usage_in_bytes memory/memory.max_usage_in_bytes; cd memory; fi
sed -n 's/^\\(total_\\)\\{0,1\\}inactive_file //p' memory.stat | tail -n 1
"""


def main() -> int:
    """Returns the exit code."""
    try:
        pods = json.loads(cluster.run("-n", NAMESPACE, "get", "pods", "-o", "json"))["items"]
    except cluster.ClusterError as error:
        print(f"bench.pods: {error}", file=sys.stderr)
        return 1
    print("| pod | in use | most | limit |\n| --- | --- | --- | --- |")
    for pod in pods:
        name = pod["metadata"]["name"]
        [container] = pod["spec"]["containers"]
        try:
            inside = ("exec", name, "-c", container["name"], "--", "sh", "-c", READ)
            said = cluster.run("-n", NAMESPACE, *inside)
        except cluster.ClusterError as error:
            print(f"bench.pods: {name}: {error}", file=sys.stderr)
            continue
        used, most, droppable = (int(number) for number in said.split())
        limit = container["resources"]["limits"]["memory"]
        print(f"| {name} | {(used - droppable) / MIB:.1f} | {most / MIB:.1f} | {limit} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
