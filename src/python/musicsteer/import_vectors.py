"""Convert another tool's steering vectors to a vector file.

    musicsteer import theirs.pt mood.safetensors
    musicsteer import sae/ feature.safetensors --feature 123 --layer 8

Accepted (docs/formats.md): .pt of torch.save, .safetensors, .npz and .npy, GGUF control vectors, and decoder
rows of sparse autoencoders by SAELens or sparsify. Nothing in a file is run.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path
from typing import Any

from musicsteer.command_parser import command_parser
from musicsteer.vector_import.placing import SITES, Choice, place
from musicsteer.vector_import.readers import limited_memory, read, source_file
from musicsteer.vector_import.tensors import ImportFailure
from musicsteer.vector_import.vector_file import (
    Model,
    check_model,
    encode,
    metadata_of,
    model_of_bundle,
    model_of_metadata,
    sha256_of,
    write,
)
from musicsteer.wording import counted

EXAMPLES = """examples:
  # a dict {layer: tensor} of torch.save
  musicsteer import theirs.pt mood.safetensors --concept mood
  # one vector
  musicsteer import v.pt mood.safetensors --layer 12
  # sizes checked, and used with that bundle without a warning
  musicsteer import theirs.pt mood.safetensors --model out/bundle
  # control vectors of llama.cpp or repeng
  musicsteer import theirs.gguf mood.safetensors
  # a feature of a sparse autoencoder
  musicsteer import sae/ f.safetensors --feature 123 --layer 8
"""


def whole_number(text: str) -> int:
    """A number of 0 or more, as argparse reads it."""
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = command_parser("import", "Convert another tool's steering vectors to a vector file.", EXAMPLES)
    parser.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        help=".pt, .safetensors, .npz, .npy, .gguf, or a folder of SAELens or sparsify",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="vector file to write (safetensors)")
    parser.add_argument(
        "--layer",
        metavar="NUM",
        type=whole_number,
        help="layer of a file with one vector, from 0; of a sparse autoencoder if its cfg.json names none",
    )
    parser.add_argument("--feature", metavar="NUM", type=whole_number, help="feature of a sparse autoencoder")
    parser.add_argument(
        "--site",
        metavar="NAME",
        choices=SITES,
        help=f"where in the layer the vector belongs: {', '.join(SITES)} "
        "(default: as a sparse autoencoder's cfg.json says, else resid_post)",
    )
    model = parser.add_mutually_exclusive_group()
    model.add_argument(
        "--model", metavar="DIR", type=Path, help="bundle of the model they are for; sizes are checked"
    )
    model.add_argument(
        "--num-layers",
        metavar="NUM",
        type=whole_number,
        help="layers of the model (default: up to the highest in the file)",
    )
    parser.add_argument("--concept", metavar="NAME", help="name of the concept (default: imported)")
    parser.add_argument(
        "--positive",
        metavar="NAME",
        help="label of the side that a positive alpha moves towards (default: positive)",
    )
    parser.add_argument("--negative", metavar="NAME", help="label of the other side (default: negative)")
    parser.add_argument("--force", action="store_true", help="replace OUT")
    return parser.parse_args(arguments)


def words_of(options: argparse.Namespace, metadata: dict[str, str]) -> dict[str, str]:
    """Concept and labels: as given, else as the file says, else placeholders."""
    try:
        labels: Any = json.loads(metadata.get("labels", "{}"))
    except ValueError:
        labels = {}
    known = {"concept": metadata.get("concept", "imported"), "positive": "positive", "negative": "negative"}
    if isinstance(labels, dict):
        known |= {side: str(labels[side]) for side in ("positive", "negative") if side in labels}
    given = {key: getattr(options, key) for key in known}
    return known | {key: value for key, value in given.items() if value is not None}


def is_bundle(folder: Path) -> bool:
    """Also one that is damaged."""
    manifest = folder / "manifest.json"
    return manifest.is_file() and b'"musicsteer-bundle"' in manifest.read_bytes()


def import_vectors(options: argparse.Namespace) -> str:
    """Read, check and write; returns a line about the result.

    Raises:
        ImportFailure: a sentence.
    """
    source = source_file(options.file)
    if options.out.exists() and not options.force:
        raise ImportFailure(f"{options.out}: exists; give --force to replace it")
    if options.out.exists() and source.exists() and options.out.samefile(source):
        raise ImportFailure(f"{options.out}: is the file that is read; choose another name")
    for folder in options.out.resolve().parents:
        if is_bundle(folder):
            raise ImportFailure(
                f"{options.out}: would be written into the model bundle {folder}; choose another place"
            )
    with limited_memory(source):
        file = read(options.file)
        vectors = place(file, Choice(options.site, options.layer, options.feature), options.file)
    model = model_of_bundle(options.model) if options.model else model_of_metadata(file.metadata)
    if options.num_layers is not None:
        model = Model(model.name, model.weights_sha256, options.num_layers, model.hidden_size)
    model = check_model(vectors, model, options.file)
    made_from: dict[str, Any] = {
        "operation": "import",
        "sources": [{"file": source.name, "sha256": sha256_of(source)}],
    }
    if options.feature is not None:
        made_from["settings"] = {"feature": options.feature}
    metadata = metadata_of(vectors, model, words_of(options, file.metadata), made_from)
    write(options.out, encode(vectors, metadata), options.force)
    return f"{options.out}: {counted(len(vectors), 'vector')} of {model.hidden_size}, {', '.join(vectors)}"


def interrupt(*_: object) -> None:
    """Clean up on SIGTERM as on Ctrl-C."""
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = parse_arguments(arguments)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        print(import_vectors(options))
    except ImportFailure as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {options.file}: cannot be read: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("error: interrupted; nothing was written", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
