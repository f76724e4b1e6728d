"""musicsteer: steers MusicGen by adding directions to its decoder's activations.

The package holds the program, the commands that are Python, and for use in Python:

    vectors = musicsteer.load_vectors("tempo.safetensors")
    with musicsteer.steered(model, vectors, alpha=1.5):
        audio = model.generate(**inputs)
    clips = musicsteer.read_sweep("runs/tempo")
"""

from importlib import import_module
from typing import Any

_PLACES = {"load_vectors": "vectors", "steered": "vectors", "read_sweep": "sweeps"}
__all__ = sorted(_PLACES)


def __getattr__(name: str) -> Any:
    """Imported when they are used, because the program's entry imports this package too."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
