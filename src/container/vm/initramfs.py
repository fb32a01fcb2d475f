"""The guest's initial file system: the agent as /init, and the kernel modules it loads."""

from container.model.system import Kernel


def agent_path() -> str:
    """Path of the guest agent's binary that this installation ships."""
    raise NotImplementedError


def build(kernel: Kernel, agent: str, cache: str) -> str:
    """Path of an initramfs (newc cpio, uncompressed) for this kernel and agent, made when `cache` has none. Blocks.

    `/init` is the agent, `/modules.list` names the modules to load, one absolute path a line, in load order.
    Raises ContainerError: not-found (agent, module), internal.
    """
    raise NotImplementedError
