"""Steering vectors of other tools as vector files.

`readers` knows the formats, `placing` which tensor belongs to which layer, `vector_file` what is written.
Shapes use the letters of docs/architecture.md: L layers, D hidden; F features of a sparse autoencoder.
"""
