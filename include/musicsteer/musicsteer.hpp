#pragma once

/// The library's public interface: load a model, load or extract vectors, steer, generate, sweep, measure.

#include "musicsteer/audio_file.hpp"
#include "musicsteer/errors.hpp"
#include "musicsteer/metrics.hpp"
#include "musicsteer/pipeline.hpp"
