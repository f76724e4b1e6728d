#include "generation/generation_session.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "base/numbers.hpp"
#include "base/shapes.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

std::optional<std::string> conditional_text(const SessionRequest& request) {
    return request.unconditional ? std::nullopt : std::optional(request.prompt);
}

}  // namespace

void SessionOptions::validate(const Manifest& manifest) const {
    sampling.validate();
    if (prefill_chunk < 1) throw UsageError("a step takes at least one column of given codes");
    if (num_frames <= 0) throw UsageError("a clip needs at least one frame: choose a longer duration");
    if (num_frames > manifest.max_frames()) {
        const double longest_s = static_cast<double>(manifest.max_frames()) / manifest.codec.frame_rate_hz;
        throw UsageError("the clip is too long: this model's positions allow " + to_text(longest_s) +
                         " s in one go");
    }
}

std::int64_t text_length_for(const Tokenizer& tokenizer, std::span<const SessionRequest> requests) {
    std::set<std::string> texts;
    for (const SessionRequest& request : requests) {
        if (!request.unconditional) texts.insert(request.prompt);
        if (request.negative_prompt) texts.insert(*request.negative_prompt);
    }
    std::size_t longest = 1;
    for (const std::string& text : texts) longest = std::max(longest, tokenizer.encode(text).size());
    return round_up(static_cast<std::int64_t>(longest), kTextBucket);
}

std::int64_t text_length_for(const Tokenizer& tokenizer, const std::string& prompt,
                             const std::optional<std::string>& negative_prompt) {
    SessionRequest request;
    request.prompt = prompt;
    request.negative_prompt = negative_prompt;
    return text_length_for(tokenizer, {&request, 1});
}

GenerationSession::GenerationSession(const Model& model, std::vector<SessionRequest> requests,
                                     const SessionOptions& options)
    : model_(model),
      requests_(std::move(requests)),
      options_(options),
      pattern_(model.manifest().decoder.delays, model.manifest().decoder.start_token, options.num_frames),
      hooks_(model.manifest().decoder.num_layers) {
    const c10::InferenceMode guard;
    options_.validate(model.manifest());
    if (requests_.empty()) throw UsageError("a session needs at least one request");
    build_rows();
    begin();
    fill_forced_codes();
    std::vector<SteeringPlan> plans;
    for (const SessionRequest& request : requests_) plans.push_back(request.steering);
    set_steering(plans);
}

void GenerationSession::build_rows() {
    for (std::int64_t i = 0; i < num_requests(); ++i) rows_.push_back({i, RowRole::kConditional});
    for (std::int64_t i = 0; i < num_requests(); ++i) {
        // A request without a null row points at its own: u + s (c - u) with u = c is c.
        null_row_of_request_.push_back(i);
        if (!options_.sampling.guided() || requests_[static_cast<std::size_t>(i)].unconditional) continue;
        null_row_of_request_.back() = static_cast<std::int64_t>(rows_.size());
        rows_.push_back({i, RowRole::kNull});
    }
    std::vector<std::int64_t> request_of_row;
    for (const Row& row : rows_) request_of_row.push_back(row.request);
    request_of_row_ = at::tensor(request_of_row, at::kLong);
}

void GenerationSession::begin() {
    // Text, its columns, melody. Rows that are told the same share it.
    using Told = std::tuple<std::optional<std::string>, std::int64_t, const void*>;
    std::map<Told, std::int64_t> index;
    std::vector<RowCondition> conditions;
    std::vector<std::int64_t> condition_of_row;
    for (const Row& row : rows_) {
        const SessionRequest& request = requests_[static_cast<std::size_t>(row.request)];
        const bool is_null = row.role == RowRole::kNull;
        const std::optional<std::string> text = is_null ? request.negative_prompt : conditional_text(request);
        // The null state is as long as the prompt whose place it takes.
        const std::vector<std::int64_t> ids = model_.tokenizer.encode(text ? *text : request.prompt);
        RowCondition condition;
        condition.columns = std::ssize(ids);
        if (!is_null) condition.melody = request.melody;
        const Told told{text, condition.columns,
                        condition.melody.defined() ? condition.melody.unsafeGetTensorImpl() : nullptr};
        const auto [place, is_new] = index.try_emplace(told, std::ssize(conditions));
        condition_of_row.push_back(place->second);
        if (!is_new) continue;
        if (text) condition.states = model_.text_encoder.encode(ids, options_.stop);
        conditions.push_back(std::move(condition));
    }
    const std::int64_t length = std::max(options_.text_length, text_length_for(model_.tokenizer, requests_));
    state_ =
        model_.decoder.begin(conditions, condition_of_row, length, pattern_.num_positions(), options_.stop);
}

void GenerationSession::fill_forced_codes() {
    const DecoderDims& dims = model_.manifest().decoder;
    std::vector<at::Tensor> given;
    for (const SessionRequest& request : requests_) {
        given.push_back(request.forced_codes.defined() ? request.forced_codes.to(at::kCPU, at::kLong)
                                                       : at::empty({dims.num_codebooks, 0}, at::kLong));
        check_shape(given.back(), {dims.num_codebooks, given.front().size(1)}, "given codes");
    }
    const at::Tensor codes = at::stack(given);
    forced_frames_ = codes.size(2);
    if (forced_frames_ > pattern_.num_frames())
        throw UsageError("more codes are given than the clip has frames");
    if (codes.numel() > 0 &&
        (codes.min().item<std::int64_t>() < 0 || codes.max().item<std::int64_t>() >= dims.codebook_size)) {
        throw InputError("given codes must lie in [0, " + std::to_string(dims.codebook_size) + ")");
    }
    sequence_ = pattern_.delay(codes);
}

void GenerationSession::set_steering(const std::vector<SteeringPlan>& plans) {
    const c10::InferenceMode guard;
    if (plans.size() != requests_.size()) throw UsageError("one steering plan is needed for each request");
    single_steps_ = std::any_of(plans.begin(), plans.end(), needs_single_steps);
    steering_.reset();
    steering_.emplace(hooks_, plans, rows_, model_.manifest().codec.frame_rate_hz, model_.decoder.device());
}

std::int64_t GenerationSession::next_columns() const {
    if (single_steps_) return 1;
    // Columns before T0 decide nothing: all that they predict is given.
    return position_ < forced_frames_ ? std::min(options_.prefill_chunk, forced_frames_ - position_) : 1;
}

StepResult GenerationSession::step() {
    const c10::InferenceMode guard;
    if (done()) throw UsageError("the session is finished");
    if (options_.stop.stop_requested()) throw Interrupted("interrupted");
    DecoderInput input;
    input.context.position = position_;
    input.context.columns = next_columns();
    input.context.num_frames = pattern_.num_frames();
    input.context.rows = rows_;
    input.codes = sequence_.narrow(2, position_, input.context.columns)
                      .index_select(0, request_of_row_)
                      .to(model_.decoder.device());

    StepResult result{position_, input.context.columns, model_.decoder.forward(input, state_, hooks_)};
    check_finite(result.logits, input);
    const std::int64_t last = position_ + result.columns - 1;
    draw(last, result.logits.select(2, result.columns - 1));
    position_ += result.columns;

    if (frame_sink_) {
        const std::int64_t max_delay = pattern_.num_positions() - pattern_.num_frames();
        for (std::int64_t frame = std::max<std::int64_t>(0, result.position - max_delay);
             frame <= last - max_delay; ++frame) {
            frame_sink_(frame, pattern_.frame(sequence_, frame));
        }
    }
    return result;
}

at::Tensor GenerationSession::guided(const at::Tensor& logits) const {
    const at::Tensor conditional = logits.narrow(0, 0, num_requests());
    if (!options_.sampling.guided()) return conditional;
    const at::Tensor null_rows = at::tensor(null_row_of_request_, at::kLong).to(logits.device());
    return apply_guidance(conditional, logits.index_select(0, null_rows), options_.sampling.guidance_scale);
}

/// Decides what `position` predicts, for every request and each codebook whose frame is neither outside nor
/// given.
void GenerationSession::draw(std::int64_t position, const at::Tensor& logits) {
    std::vector<std::int64_t> books;
    for (std::int64_t k = 0; k < logits.size(1); ++k) {
        if (pattern_.frame_at(position, k) >= forced_frames_) books.push_back(k);
    }
    if (books.empty()) return;
    const at::Tensor wanted = at::tensor(books, at::kLong).to(logits.device());
    const at::Tensor chosen = guided(logits).index_select(1, wanted).flatten(0, 1);
    std::vector<DrawKey> keys;
    for (const SessionRequest& request : requests_) {
        for (const std::int64_t k : books) keys.push_back({request.seed, pattern_.frame_at(position, k), k});
    }
    const at::Tensor tokens = draw_tokens(chosen, keys, options_.sampling)
                                  .view({num_requests(), static_cast<std::int64_t>(books.size())});
    sequence_.select(2, position + 1).index_copy_(1, at::tensor(books, at::kLong), tokens);
}

/// Throws for the first request whose logits are not finite, or drops all that there are. A dropped request's
/// rows stay in the batch, for its shape, with logits of zero.
void GenerationSession::check_finite(at::Tensor& logits, const DecoderInput& input) {
    if (logits.isfinite().all().item<bool>()) return;
    const at::Tensor bad = logits.flatten(1).isfinite().all(1).logical_not().to(at::kCPU);  // [B]
    bool is_news = false;
    for (std::size_t row = 0; row < rows_.size(); ++row) {
        is_news |=
            bad[static_cast<std::int64_t>(row)].item<bool>() && !failures_.contains(rows_[row].request);
    }
    if (is_news) {
        const auto reasons = describe_non_finite(input, bad);
        if (options_.on_non_finite == NonFinitePolicy::kThrow) throw ModelError(reasons.begin()->second);
        failures_.insert(reasons.begin(), reasons.end());  // earlier reasons stay
    }
    logits = logits.masked_fill(bad.to(logits.device()).view({-1, 1, 1, 1}), 0.0);
}

/// Runs the step again, looking at every activation, to name for each request the first that is not finite.
std::map<std::int64_t, std::string> GenerationSession::describe_non_finite(const DecoderInput& input,
                                                                           const at::Tensor& bad_rows) {
    std::map<std::int64_t, std::string> reasons;
    const std::string when = "frame " + std::to_string(input.context.position);
    std::vector<HookHandle> handles;
    for (const HookPoint& point : HookPoint::all(hooks_.num_layers())) {
        handles.push_back(
            hooks_.observe(point, [&](const at::Tensor& activation, const HookContext& context) {
                const at::Tensor finite = activation.flatten(1).isfinite().all(1).to(at::kCPU);
                if (finite.all().item<bool>()) return;
                for (std::size_t row = 0; row < rows_.size(); ++row) {
                    const auto index = static_cast<std::int64_t>(row);
                    if (finite[index].item<bool>() || !bad_rows[index].item<bool>()) continue;
                    const SessionRequest& request = requests_[static_cast<std::size_t>(rows_[row].request)];
                    reasons.try_emplace(rows_[row].request,
                                        "activation is not finite at " + when + ", " + context.point.name() +
                                            ", prompt \"" + request.prompt +
                                            "\": use a smaller alpha or check the vectors and the model");
                }
            }));
    }
    (void)model_.decoder.forward(input, state_, hooks_);
    for (std::size_t row = 0; row < rows_.size(); ++row) {
        if (!bad_rows[static_cast<std::int64_t>(row)].item<bool>()) continue;
        reasons.try_emplace(rows_[row].request,
                            "logits are not finite at " + when + ": check the model's weights");
    }
    return reasons;
}

at::Tensor GenerationSession::codes() const {
    return pattern_.undelay(sequence_);
}

}  // namespace musicsteer
