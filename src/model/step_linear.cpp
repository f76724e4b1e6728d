#include "model/step_linear.hpp"

#include "kernels/float_linear.hpp"
#include "kernels/int8_linear.hpp"
#include "model/script_call.hpp"

namespace musicsteer {
namespace {

/// From this number of rows on, a blocked matrix product is faster.
constexpr std::int64_t kManyRows = 64;

}  // namespace

StepLinear::StepLinear(const torch::jit::Module& module)
    : forward_(module.get_method("forward")), weight_(module.attr("weight").toTensor()) {
    if (weight_.scalar_type() == at::kChar) scale_ = module.attr("scale").toTensor();
}

at::Tensor StepLinear::operator()(const at::Tensor& x) const {
    if (x.is_cpu() && scale_.defined()) return int8_linear(x, weight_, scale_);
    if (x.is_cpu() && x.numel() <= kManyRows * x.size(-1)) return float_linear(x, weight_);
    return call_script(forward_, {x}, "decoder").toTensor();
}

}  // namespace musicsteer
