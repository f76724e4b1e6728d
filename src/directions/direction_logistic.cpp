#include <ATen/ATen.h>

#include "directions/direction_fits.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

/// The last column is the intercept's, which is not penalised.
class PenalisedLoss {
  public:
    PenalisedLoss(const at::Tensor& x, const at::Tensor& labels, double regularization)
        : x_(at::cat({x, at::ones({x.size(0), 1}, x.options())}, 1)), labels_(labels) {
        penalty_ = at::full({x_.size(1)}, regularization, x.options());
        penalty_.select(0, -1).zero_();
    }

    double at(const at::Tensor& w) const {
        const at::Tensor margins = labels_ * x_.matmul(w);
        return (at::softplus(-margins).sum() + 0.5 * (penalty_ * w).dot(w)).item<double>();
    }
    at::Tensor gradient(const at::Tensor& w) const {
        const at::Tensor wrong = at::sigmoid(-labels_ * x_.matmul(w));
        return penalty_ * w - x_.t().matmul(labels_ * wrong);
    }
    at::Tensor newton_step(const at::Tensor& w, const at::Tensor& gradient) const {
        const at::Tensor p = at::sigmoid(x_.matmul(w));
        const at::Tensor hessian = x_.t().matmul((p * (1.0 - p)).unsqueeze(1) * x_);
        // If nearly all rows are certain, the intercept has almost no curvature.
        constexpr double kMinCurvature = 1e-12;
        hessian.diagonal().add_(penalty_ + kMinCurvature);
        return at::linalg_solve(hessian, gradient);
    }
    std::int64_t size() const { return x_.size(1); }

  private:
    at::Tensor x_, labels_, penalty_;
};

}  // namespace

at::Tensor logistic_weights(const at::Tensor& rows, const at::Tensor& labels, double regularization) {
    constexpr int kMaxSteps = 200;
    constexpr double kTolerance = 1e-9;  // of the gradient, whose terms are of the order of 1
    const PenalisedLoss loss(centred_and_scaled(rows), labels, regularization);
    at::Tensor w = at::zeros({loss.size()}, at::kDouble);
    double value = loss.at(w);
    for (int i = 0; i < kMaxSteps; ++i) {
        const at::Tensor gradient = loss.gradient(w);
        if (gradient.abs().max().item<double>() < kTolerance) break;
        const at::Tensor step = loss.newton_step(w, gradient);
        const double slope = gradient.dot(step).item<double>();
        constexpr double kSufficientDecrease = 1e-4;
        double length = 1.0;
        double next = loss.at(w - step);
        while (next > value - kSufficientDecrease * length * slope && length > 1e-10) {
            length /= 2.0;
            next = loss.at(w - length * step);
        }
        if (next >= value) break;  // at the limit of rounding
        w = w - length * step;
        value = next;
    }
    if (!w.isfinite().all().item<bool>()) throw ModelError("logistic probe: the weights are not finite");
    return w.narrow(0, 0, loss.size() - 1);
}

}  // namespace musicsteer
