"""Options that people bring along from docker and that are not here: why, or what does the same."""

_NAMESPACES = "A container has a virtual machine to itself: there is no namespace of the host to share"
_MEMORY = "--memory is the limit, and there is no swap"
_CPUS = "--cpus takes a number of CPUs, also 1.5"
_NETWORK = "It belongs to the network: --network NAME,ip=ADDRESS,mac=ADDRESS,alias=NAME"
_HEALTH = "Health checks are not here"
_LOG = "`container logs` shows what the container wrote"
_STOP = "`container stop` takes --signal and --time"

REASONS = {
    "--cgroupns": _NAMESPACES,
    "--cpu-period": _CPUS,
    "--cpu-quota": _CPUS,
    "--cpu-shares": _CPUS,
    "--cpuset-cpus": _CPUS,
    "--expose": "Every port is open to the container's network; --publish opens one on the host",
    "--gpus": "GPUs are not available in the virtual machine of a container",
    "--health-cmd": _HEALTH,
    "--health-interval": _HEALTH,
    "--health-retries": _HEALTH,
    "--health-timeout": _HEALTH,
    "--ip": _NETWORK,
    "--ip6": _NETWORK,
    "--ipc": _NAMESPACES,
    "--link": "Containers of a network find each other by name",
    "--log-driver": _LOG,
    "--log-opt": _LOG,
    "--mac-address": _NETWORK,
    "--memory-reservation": _MEMORY,
    "--memory-swap": _MEMORY,
    "--network-alias": _NETWORK,
    "--no-healthcheck": _HEALTH,
    "--pid": _NAMESPACES,
    "--privileged": "A container has a virtual machine to itself: --cap-add ALL gives it all that root can do there",
    "--publish-all": "Say which ports with --publish",
    "--pull": "`container image pull` fetches an image anew",
    "--restart": "`container start` starts a container again that has ended",
    "--stop-signal": _STOP,
    "--stop-timeout": _STOP,
    "--storage-opt": "--storage takes the size of what a container may write",
    "--userns": _NAMESPACES,
    "--uts": _NAMESPACES,
    "--volumes-from": "Give the other container's --volume options",
    "-P": "Say which ports with --publish",
}
