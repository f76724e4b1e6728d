#include "model/step_linear.hpp"

#include "kernels/int8_linear.hpp"
#include "model/script_call.hpp"

namespace musicsteer {

StepLinear::StepLinear(const torch::jit::Module& module) : forward_(module.get_method("forward")) {
    const at::Tensor weight = module.attr("weight").toTensor();
    if (weight.scalar_type() != at::kChar) return;
    weight_ = weight;
    scale_ = module.attr("scale").toTensor();
}

at::Tensor StepLinear::operator()(const at::Tensor& x) const {
    if (weight_.defined()) return int8_linear(x, weight_, scale_);
    return call_script(forward_, {x}, "decoder").toTensor();
}

}  // namespace musicsteer
