#include "model/int8_setup.hpp"

#include <ATen/Context.h>

#include <algorithm>

#include "base/errors.hpp"

namespace musicsteer {

void prepare_int8(c10::Device device, const std::string& origin) {
    const std::string again = "; export the bundle with --precision f32";
    if (!device.is_cpu())
        throw ModelError(origin + ": int8 weights run on the CPU only, not on " + device.str() + again);
    const auto& engines = at::globalContext().supportedQEngines();
    if (std::find(engines.begin(), engines.end(), at::QEngine::FBGEMM) == engines.end()) {
        throw ModelError(origin + ": int8 weights need FBGEMM, found on x86 processors with AVX2" + again);
    }
    at::globalContext().setQEngine(at::QEngine::FBGEMM);
}

}  // namespace musicsteer
