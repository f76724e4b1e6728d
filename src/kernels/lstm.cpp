#include "kernels/lstm.hpp"

#include <ATen/ATen.h>

#include "base/shapes.hpp"
#include "kernels/lstm_steps.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

/// [4 width, ...] with gates one after the other -> [groups, 4, G, ...] with zeros behind the last unit
at::Tensor by_group(const at::Tensor& tensor, std::int64_t width, std::int64_t groups) {
    at::Tensor gates = tensor.reshape({4, width, -1});
    gates = at::constant_pad_nd(gates, {0, 0, 0, groups * lstm_group() - width});
    return gates.view({4, groups, lstm_group(), -1}).transpose(0, 1).contiguous();
}

}  // namespace

LstmLayer::LstmLayer(const at::Tensor& weight_ih, const at::Tensor& weight_hh, const at::Tensor& bias_ih,
                     const at::Tensor& bias_hh)
    : width_(weight_hh.dim() == 2 ? weight_hh.size(1) : 0),
      groups_((width_ + lstm_group() - 1) / lstm_group()),
      padded_(groups_ * lstm_group()) {
    if (width_ == 0)
        throw ModelError("[LstmLayer] expected weights with rows, received " + shape_text(weight_hh.sizes()));
    check_shape(weight_ih, {4 * width_, width_}, "LstmLayer weight_ih");
    check_shape(weight_hh, {4 * width_, width_}, "LstmLayer weight_hh");
    check_shape(bias_ih, {4 * width_}, "LstmLayer bias_ih");
    check_shape(bias_hh, {4 * width_}, "LstmLayer bias_hh");
    if (weight_ih.scalar_type() != weight_hh.scalar_type())
        throw ModelError("[LstmLayer] expected both weights in one type");
    const at::Tensor bias = (bias_ih.to(at::kFloat) + bias_hh.to(at::kFloat)).to(weight_ih.scalar_type());
    weight_ih_ = by_group(weight_ih, width_, groups_).flatten(0, 2);
    bias_ = by_group(bias, width_, groups_).flatten();
    recurrent_ = by_group(weight_hh, width_, groups_).permute({0, 3, 1, 2});
    if (recurrent_.scalar_type() == at::kBFloat16) {  // pairs of gates, their units interleaved
        recurrent_ = recurrent_.view({groups_, width_, 2, 2, lstm_group()}).transpose(3, 4);
    }
    recurrent_ = recurrent_.contiguous();
}

at::Tensor LstmLayer::initial_state(std::int64_t rows) const {
    return at::zeros({2, rows, padded_}, at::kFloat);
}

at::Tensor LstmLayer::run(const at::Tensor& x, at::Tensor& state) const {
    check_shape(x, {kAnySize, kAnySize, width_}, "LstmLayer x");
    check_shape(state, {2, x.size(0), padded_}, "LstmLayer state");
    if (x.size(0) > kLstmRows) throw ModelError("[LstmLayer] received more rows than fit");
    std::vector<at::Tensor> inputs;  // row by row: a product's last bits depend on its number of rows
    for (const at::Tensor& row : x.to(weight_ih_.scalar_type()).unbind(0)) {
        inputs.push_back(at::addmm(bias_, row, weight_ih_.t()).to(at::kFloat));
    }
    const at::Tensor gates = at::stack(inputs);
    at::Tensor output = at::empty({x.size(0), x.size(1), padded_}, at::kFloat);
    LstmSteps steps;
    steps.rows = x.size(0);
    steps.count = x.size(1);
    steps.width = width_;
    steps.groups = groups_;
    steps.gates = gates.data_ptr<float>();
    steps.output = output.data_ptr<float>();
    steps.h = state[0].data_ptr<float>();
    steps.c = state[1].data_ptr<float>();
    if (recurrent_.scalar_type() == at::kBFloat16) {
        run_lstm_steps(steps, static_cast<const std::uint16_t*>(recurrent_.data_ptr()));
    } else {
        run_lstm_steps(steps, recurrent_.data_ptr<float>());
    }
    return output.narrow(2, 0, width_);
}

}  // namespace musicsteer
