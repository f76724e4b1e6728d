#include "generation/steering_hooks.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <map>
#include <memory>
#include <tuple>
#include <utility>

#include "generation/gate_reading.hpp"

namespace musicsteer {
namespace {

/// A gate as applied to one injection. Its reading decides in the same frame only if it is read earlier.
struct GateView {
    std::shared_ptr<const GateReading> reading;  ///< none: no gate
    std::int64_t delay = 0;                      ///< in frames

    bool is_open(std::int64_t frame) const { return !reading || reading->is_open(frame - delay); }
};

/// An injection and the row that it acts on.
struct Term {
    std::int64_t row = 0;
    const Injection* injection = nullptr;
    GateView gate;
};

bool are_constant_additions(const std::vector<Term>& terms) {
    return std::all_of(terms.begin(), terms.end(), [](const Term& term) {
        const Injection& injection = *term.injection;
        return injection.mode == SteeringMode::kAdd && injection.course.is_constant() && !injection.gate &&
               !injection.mask.defined();
    });
}

/// The usual case: for each steered row the sum of its vectors, the same at every frame. Other rows get -0,
/// because one addition for the whole batch is faster than one for each steered row.
EditHook add_constants(const std::vector<Term>& terms, std::int64_t batch, c10::Device device) {
    // Adding -0 leaves every number unchanged, including -0.
    at::Tensor delta = at::full({batch, 1, terms.front().injection->vector.numel()}, -0.0F);
    for (const Term& term : terms) delta[term.row][0].add_(term.injection->vector * term.injection->strength);
    return [delta = delta.to(device)](const at::Tensor& activation, const HookContext&) {
        if (activation.dim() == 3) return activation + delta;
        return (activation.flatten(2) + delta).view(activation.sizes());  // by head, as [B, T, D]
    };
}

/// An operation on some rows of a batch. It is computed for all rows and kept for those rows, so that a row's
/// bits do not depend on which others are steered.
class Operation {
  public:
    Operation(SteeringMode mode, std::int64_t batch, double frame_rate_hz)
        : mode_(mode), batch_(batch), frame_rate_hz_(frame_rate_hz) {}

    void add(const Term& term) { terms_.push_back(term); }

    /// Lays out the vectors after all terms are added.
    void finish(c10::Device device) {
        const std::int64_t width = terms_.front().injection->vector.numel();
        vectors_ = at::zeros({batch_, 1, width}, at::kFloat);
        values_ = at::zeros({batch_, 1, 1}, at::kFloat);
        at::Tensor mask = at::ones({batch_, 1, width}, at::kBool);
        for (const auto& [row, injection, gate] : terms_) {
            const at::Tensor& v = injection->vector;
            vectors_[row][0].copy_(adds() ? v * injection->strength : v / v.norm());
            values_[row][0][0].fill_(injection->value);
            if (injection->mask.defined()) mask[row][0].copy_(injection->mask);
            factors_of_row_.push_back({row, adds() ? 1.0 : injection->strength, injection->course, gate});
        }
        terms_.clear();  // they point into plans that may not outlive this
        vectors_ = vectors_.to(device);
        values_ = values_.to(device);
        if (!mask.all().item<bool>()) mask_ = mask.to(device);
    }

    /// @param h  [B, T, D]
    at::Tensor apply(const at::Tensor& h, const HookContext& context) const {
        const at::Tensor factors = factors_at(context).to(h.device());
        const at::Tensor changes = mask_.defined() ? (factors != 0).logical_and(mask_) : factors != 0;
        return at::where(changes, moved(h, factors), h);
    }

  private:
    struct RowFactors {
        std::int64_t row;
        double strength;
        Course course;
        GateView gate;
    };

    bool adds() const { return mode_ == SteeringMode::kAdd || mode_ == SteeringMode::kAddRenorm; }

    /// [B, T, 1]: zero where nothing changes.
    at::Tensor factors_at(const HookContext& context) const {
        at::Tensor factors = at::zeros({batch_, context.columns, 1}, at::kFloat);
        auto cells = factors.accessor<float, 3>();
        for (const RowFactors& of : factors_of_row_) {
            for (std::int64_t t = 0; t < context.columns; ++t) {
                const std::int64_t frame = context.frame() + t;
                if (!of.gate.is_open(frame)) continue;
                const double factor = of.course.at(frame, context.num_frames, frame_rate_hz_);
                cells[of.row][t][0] = static_cast<float>(of.strength * factor);
            }
        }
        return factors;
    }

    at::Tensor moved(const at::Tensor& h, const at::Tensor& factors) const {
        if (mode_ == SteeringMode::kAdd) return h + factors * vectors_;
        if (mode_ == SteeringMode::kAddRenorm) {
            const at::Tensor sum = h + factors * vectors_;
            const auto norm = [this](const at::Tensor& x) {
                return (mask_.defined() ? x * mask_ : x).norm(2, {-1}, /*keepdim=*/true);
            };
            return sum * (norm(h) / norm(sum).clamp_min(std::numeric_limits<float>::min()));
        }
        const at::Tensor projection = (h * vectors_).sum(-1, /*keepdim=*/true);
        const at::Tensor target = mode_ == SteeringMode::kClamp ? values_ : at::zeros_like(values_);
        return h + factors * (target - projection) * vectors_;
    }

    SteeringMode mode_;
    std::int64_t batch_;
    double frame_rate_hz_;
    std::vector<Term> terms_;
    std::vector<RowFactors> factors_of_row_;
    at::Tensor vectors_;  ///< [B, 1, D]: strength x vector, or the unit vector of modes that project
    at::Tensor values_;   ///< [B, 1, 1]
    at::Tensor mask_;     ///< [B, 1, D] bool, what may change; undefined: everything
};

/// Injections in order; those of all rows with the same place and mode are combined.
EditHook do_in_order(const std::vector<Term>& terms, std::int64_t batch, double frame_rate_hz,
                     c10::Device device) {
    std::map<std::int64_t, std::int64_t> count_of_row;
    std::map<std::pair<std::int64_t, SteeringMode>, Operation> by_place;
    for (const Term& term : terms) {
        const SteeringMode mode = term.injection->mode;
        const std::pair place{count_of_row[term.row]++, mode};
        by_place.try_emplace(place, mode, batch, frame_rate_hz).first->second.add(term);
    }
    std::vector<Operation> operations;
    for (auto& [place, operation] : by_place) {
        operation.finish(device);
        operations.push_back(std::move(operation));
    }
    return [operations](const at::Tensor& activation, const HookContext& context) {
        at::Tensor h = activation.flatten(2);  // per-head activations as [B, T, D]
        for (const Operation& operation : operations) h = operation.apply(h, context);
        return h.view(activation.sizes());
    };
}

/// The gates of a batch. Each is read once for a request, however many injections use it.
class Gates {
  public:
    Gates(HookRegistry& hooks, std::span<const Row> rows, c10::Device device)
        : hooks_(hooks), rows_(rows), device_(device) {}

    GateView view(std::int64_t request, const Injection& injection, std::vector<HookHandle>& handles) {
        if (!injection.gate) return {};
        const Gate& gate = *injection.gate;
        const Key key{request, gate.point, gate.direction.unsafeGetTensorImpl(), gate.below, gate.threshold};
        std::shared_ptr<GateReading>& reading = readings_[key];
        if (!reading) {
            reading = std::make_shared<GateReading>(gate, conditional_row(request), device_);
            handles.push_back(hooks_.observe(
                gate.point, [reading](const at::Tensor& activation, const HookContext& context) {
                    reading->read(activation, context);
                }));
        }
        return {reading, gate.point < injection.point ? 0 : 1};
    }

  private:
    using Key = std::tuple<std::int64_t, HookPoint, const void*, bool, double>;

    std::int64_t conditional_row(std::int64_t request) const {
        const auto row = std::find_if(rows_.begin(), rows_.end(), [&](const Row& candidate) {
            return candidate.request == request && candidate.role == RowRole::kConditional;
        });
        return row - rows_.begin();
    }

    HookRegistry& hooks_;
    std::span<const Row> rows_;
    c10::Device device_;
    std::map<Key, std::shared_ptr<GateReading>> readings_;
};

}  // namespace

bool needs_single_steps(const SteeringPlan& plan) {
    return std::any_of(plan.begin(), plan.end(), [](const Injection& injection) {
        return injection.gate && injection.strength != 0.0 && !(injection.gate->point < injection.point);
    });
}

SteeringHooks::SteeringHooks(HookRegistry& hooks, const std::vector<SteeringPlan>& plans,
                             std::span<const Row> rows, double frame_rate_hz, c10::Device device) {
    // By row, not by batch: other rows must not influence how a row is computed.
    std::map<HookPoint, std::vector<Term>> constant_at, ordered_at;
    Gates gates(hooks, rows, device);
    for (std::size_t row = 0; row < rows.size(); ++row) {
        std::map<HookPoint, std::vector<Term>> own;
        for (const Injection& injection : plans.at(static_cast<std::size_t>(rows[row].request))) {
            if (injection.strength == 0.0) continue;
            if (injection.rows == SteeredRows::kConditional && rows[row].role == RowRole::kNull) continue;
            own[injection.point].push_back({static_cast<std::int64_t>(row), &injection,
                                            gates.view(rows[row].request, injection, handles_)});
        }
        for (const auto& [point, terms] : own) {
            std::vector<Term>& all = (are_constant_additions(terms) ? constant_at : ordered_at)[point];
            all.insert(all.end(), terms.begin(), terms.end());
        }
    }
    const auto batch = static_cast<std::int64_t>(rows.size());
    for (const auto& [point, terms] : constant_at)
        handles_.push_back(hooks.edit(point, add_constants(terms, batch, device)));
    for (const auto& [point, terms] : ordered_at)
        handles_.push_back(hooks.edit(point, do_in_order(terms, batch, frame_rate_hz, device)));
}

}  // namespace musicsteer
