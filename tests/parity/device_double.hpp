#pragma once

#include <c10/core/Device.h>

/// A device that stands in for a GPU where there is none: its memory is the host's and its operators are the
/// CPU's, but an operator whose tensors do not all lie on it fails, as it does on a GPU.
c10::Device device_double();
