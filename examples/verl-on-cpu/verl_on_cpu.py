"""Lets verl's unmodified SFT trainer run where there is no GPU: for trying things out and for tests, never for a training that matters.

verl imports it into each of its processes when VERL_USE_EXTERNAL_MODULES names it and PYTHONPATH leads to it. What it changes, and nothing else:
  1. Processes talk through gloo: NCCL needs GPUs. Releases that ask for one backend per device would ask for gloo twice, which torch refuses: they get it once.
  2. The engines that verl registers for CUDA also answer for the processor. They are the same classes, unchanged.
  3. verl 0.9 and later: the processor is a platform of verl's own plugin interface (PlatformCPU); without one verl falls back to CUDA.
  4. Questions about a device's memory and random state have an answer, which torch.cpu lacks.
It refuses to load where verl sees an accelerator: there it would only make a training slow.
"""

import contextlib

import torch
import verl.utils.device as device

if torch.cuda.is_available() or device.is_npu_available:
    raise RuntimeError("verl_on_cpu is loaded on a host with an accelerator. Take it out of VERL_USE_EXTERNAL_MODULES.")


def nothing(*_, **__):
    return None


def no_bytes(*_, **__):
    return 0


for name, answer in {
    "empty_cache": nothing,
    "reset_peak_memory_stats": nothing,
    "memory_allocated": no_bytes,
    "memory_reserved": no_bytes,
    "max_memory_allocated": no_bytes,
    "max_memory_reserved": no_bytes,
    "mem_get_info": lambda *_: (0, 0),
    "get_device_name": lambda *_: "CPU",
    "get_rng_state": lambda *_: torch.get_rng_state(),
    "set_rng_state": lambda state, *_: torch.set_rng_state(state),
}.items():
    if not hasattr(torch.cpu, name):
        setattr(torch.cpu, name, answer)

init_process_group = torch.distributed.init_process_group


def init_process_group_once(backend=None, *rest, **named):
    return init_process_group("gloo" if backend == "cpu:gloo,cpu:gloo" else backend, *rest, **named)


torch.distributed.init_process_group = init_process_group_once

if hasattr(device, "get_platform"):
    from verl.plugin.platform import PlatformBase, PlatformRegistry, set_platform

    @PlatformRegistry.register(platform="cpu")
    class PlatformCPU(PlatformBase):
        device_name = vendor_name = "cpu"
        device_module = torch.cpu

        def is_available(self):
            return True

        def current_device(self):
            return "cpu"

        def device_count(self):
            return 1

        set_device = synchronize = manual_seed = manual_seed_all = set_allocator_settings = empty_cache = profiler_start = profiler_stop = cudart = nothing

        def get_device_capability(self, device_index=0):
            return None, None

        def communication_backend_name(self):
            return "gloo"

        def visible_devices_envvar(self):
            return "CUDA_VISIBLE_DEVICES"

        @contextlib.contextmanager
        def nvtx_range(self, msg):
            yield

        def ray_resource_name(self):
            return "CPU"

        def ray_noset_envvars(self):
            return []

        def ray_resource_options(self, num_gpus):
            return {"num_cpus": num_gpus}

        def is_ipc_supported(self):
            return False

    set_platform(PlatformCPU())
else:
    device.get_nccl_backend = lambda: "gloo"

from verl.workers.engine import EngineRegistry  # noqa: E402: it takes the backend's name from the module changed above

for backends in EngineRegistry._engines.values():
    for engines in backends.values():
        engine = engines.get("cuda") or engines.get(("cuda", "nvidia"))
        if engine is not None:
            engines.setdefault("cpu", engine)
