"""How many servers a machine can have: each leases a GPU, or a core if there is no GPU."""

from editlane.core.errors import UserError
from editlane.lanes.gpu_lease import NO_DEVICE, device_pool


def list_gpus() -> list[str]:
    """Return the GPUs of this machine, as CUDA_VISIBLE_DEVICES names them."""
    return [name for name in device_pool().values() if name not in NO_DEVICE]


def count_servers(wanted: int | None, key: str) -> int:
    """Return the number of servers on this machine: as many as are wanted, or one per GPU.

    `key`: where the config says how many. Raises UserError if there are too few GPUs.
    """
    pool = device_pool()
    servers = wanted or max(1, len(list_gpus()))
    if servers > len(pool):
        raise UserError(
            f"config: `{key}: {servers}`, but this machine offers {len(pool)}: {', '.join(pool)}. Each server takes "
            "one for itself."
        )
    return servers
