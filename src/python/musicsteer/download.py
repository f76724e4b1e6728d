"""What exporting a hub id downloads: said before it begins, with its size and its place."""

from __future__ import annotations

import sys
from fnmatch import fnmatch

# What transformers reads of a checkpoint: the first of these that a repository has, ...
WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
# ... and all of these.
OTHERS = ("*.json", "spiece.model")
# Of a repository without config.json: audiocraft's format.
AUDIOCRAFT = ("state_dict.bin", "compression_state_dict.bin")


def files_to_load(sizes: dict[str, int]) -> dict[str, int]:
    """Of a repository's files, with their bytes, those that an export reads."""

    def matching(*patterns: str) -> dict[str, int]:
        return {name: size for name, size in sizes.items() if any(fnmatch(name, one) for one in patterns)}

    if "config.json" not in sizes:
        return matching(*AUDIOCRAFT)
    weights = next((found for pattern in WEIGHTS if (found := matching(pattern))), {})
    return weights | matching(*OTHERS)


def size_text(num_bytes: int) -> str:
    """ "2.4 GB", "19 MB"."""
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{max(num_bytes / 1e6, 1):.0f} MB"


def announce_download(hub_id: str) -> None:
    """Say on stderr how much of `hub_id` is downloaded and where to; nothing if it is all there.

    Says nothing either if the hub cannot be asked: reading the checkpoint, which comes next, says why.
    """
    from huggingface_hub import HfApi, constants, try_to_load_from_cache
    from huggingface_hub.errors import HfHubHTTPError

    try:
        files = HfApi().model_info(hub_id, files_metadata=True, timeout=20).siblings or []
    except (HfHubHTTPError, OSError, ValueError):
        return
    needed = files_to_load({file.rfilename: file.size or 0 for file in files})
    missing = [name for name in needed if not isinstance(try_to_load_from_cache(hub_id, name), str)]
    if missing:
        size = size_text(sum(needed[name] for name in missing))
        print(f"downloading {hub_id}: {size} into {constants.HF_HUB_CACHE}", file=sys.stderr, flush=True)
