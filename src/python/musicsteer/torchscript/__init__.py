"""The scriptable modules of a model bundle: text encoder, decoder and codec.

Each file defines small PyTorch modules from the checkpoint's configuration alone and a `from_hf` constructor
that points them at the weights of a model loaded by transformers (no copy where the layout is the same).
Shapes use the letters of docs/formats.md: B rows, T positions, K codebooks, D hidden, H heads, hd = D / H,
L cache length, P texts, S text length, Dt text width, V head outputs, C channels, N samples.
"""
