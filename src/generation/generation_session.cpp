#include "generation/generation_session.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
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

}  // namespace

void SessionOptions::validate(const Manifest& manifest) const {
    sampling.validate();
    if (prefill_chunk < 1) throw UsageError("prefill_chunk must be at least 1");
    if (num_frames <= 0) throw UsageError("a clip needs at least one frame: choose a longer duration");
    const WindowShape shape = windows.value_or(WindowShape::of(manifest));
    if (shape.length > manifest.max_frames() || shape.stride < 1 ||
        (num_frames > shape.length && shape.stride >= shape.length))
        throw UsageError("a window must fit into the model's positions, and its stride into the window");
}

std::int64_t text_length_for(const Tokenizer& tokenizer, std::span<const SessionRequest> requests) {
    std::set<std::string> texts;
    for (const SessionRequest& request : requests) {
        if (!request.unconditional) texts.insert(request.prompt);
        for (const RequestSection& section : request.sections)
            if (section.prompt) texts.insert(*section.prompt);
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

std::vector<SteeringPlan> plans_of(const SessionRequest& request) {
    std::vector<SteeringPlan> plans = {request.steering};
    for (const RequestSection& section : request.sections)
        if (section.steering) plans.push_back(*section.steering);
    return plans;
}

GenerationSession::GenerationSession(const Model& model, std::vector<SessionRequest> requests,
                                     const SessionOptions& options)
    : model_(model),
      requests_(std::move(requests)),
      options_(options),
      pattern_(model.manifest().decoder.delays, model.manifest().decoder.start_token, 0),
      hooks_(model.manifest().decoder.num_layers) {
    const c10::InferenceMode guard;
    options_.validate(model.manifest());
    if (requests_.empty()) throw UsageError("a session needs at least one request");
    windows_ = windows_of(options_.num_frames, options_.windows.value_or(WindowShape::of(model.manifest())));
    build_rows();
    fill_forced_codes();
    std::set<std::int64_t> starts = {0};
    for (const SessionRequest& request : requests_)
        for (const RequestSection& section : request.sections) starts.insert(section.first_frame);
    section_starts_.assign(starts.begin(), starts.end());
    std::size_t first = 0;
    while (!options_.run_given_windows && first + 1 < windows_.size() &&
           windows_[first].end() <= forced_frames_)
        ++first;
    begin_window(first);
}

/// Forgets everything except the codes; the cache is rewritten from its start.
void GenerationSession::begin_window(std::size_t index) {
    window_ = index;
    const Window& window = windows_[window_];
    pattern_ =
        DelayPattern(model_.manifest().decoder.delays, model_.manifest().decoder.start_token, window.frames);
    known_frames_ = std::clamp(forced_frames_ - window.first, window.repeated, window.frames);
    sequence_ = pattern_.delay(codes_.narrow(2, window.first, known_frames_));
    position_ = 0;
    enter_section();
}

/// Changes prompts and steering if a new section begins at the next frame.
void GenerationSession::enter_section() {
    const std::int64_t frame = windows_[window_].first + position_;
    const auto next = std::upper_bound(section_starts_.begin(), section_starts_.end(), frame);
    const auto begun = static_cast<std::size_t>(next - section_starts_.begin());
    if (begun == sections_begun_ && position_ > 0) return;
    std::vector<std::string> prompts;
    std::vector<SteeringPlan> plans;
    for (const SessionRequest& request : requests_) {
        prompts.push_back(request.prompt);
        plans.push_back(request.steering);
        for (const RequestSection& section : request.sections) {
            if (section.first_frame > frame) continue;
            prompts.back() = section.prompt.value_or(prompts.back());
            plans.back() = section.steering.value_or(plans.back());
        }
    }
    tell(prompts);
    if (begun == sections_begun_) return;
    sections_begun_ = begun;
    set_steering(plans);
}

double GenerationSession::progress() const {
    std::int64_t done = 0, total = 0;
    for (std::size_t i = 0; i < windows_.size(); ++i) {
        const std::int64_t positions = windows_[i].frames + pattern_.num_positions() - pattern_.num_frames();
        total += positions;
        done += i < window_ ? positions : i == window_ ? position_ : 0;
    }
    return static_cast<double>(done) / static_cast<double>(total);
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

/// The part of a melody [F, 12], which repeats, from the window's start on.
at::Tensor GenerationSession::melody_in_window(const at::Tensor& melody) const {
    const Manifest& manifest = model_.manifest();
    const ChromaFraming& framing = manifest.melody->framing;
    const double start_s = static_cast<double>(windows_[window_].first) / manifest.codec.frame_rate_hz;
    const auto frames = std::llround(start_s * static_cast<double>(framing.sample_rate_hz) /
                                     static_cast<double>(framing.hop_length));
    return frames > 0 ? melody.roll(-frames, 0) : melody;
}

/// @param prompts  one for each request
void GenerationSession::tell(const std::vector<std::string>& prompts) {
    const bool has_melody = std::any_of(requests_.begin(), requests_.end(),
                                        [](const auto& request) { return request.melody.defined(); });
    if (prompts == told_ && (!has_melody || window_ == told_window_)) return;
    // A prefix is in front of the codes, so it can only change where codes are read again.
    if (model_.manifest().melody && position_ > 0) return;
    told_ = prompts;
    told_window_ = window_;
    // Text, its columns, melody. Rows with the same condition share it.
    using Told = std::tuple<std::optional<std::string>, std::int64_t, const void*>;
    std::map<Told, std::int64_t> index;
    std::vector<RowCondition> conditions;
    std::vector<std::int64_t> condition_of_row;
    for (const Row& row : rows_) {
        const SessionRequest& request = requests_[static_cast<std::size_t>(row.request)];
        const std::string& prompt = prompts[static_cast<std::size_t>(row.request)];
        const bool is_null = row.role == RowRole::kNull;
        std::optional<std::string> text;  // empty: the null state
        if (is_null) {
            text = request.negative_prompt;
        } else if (!request.unconditional) {
            text = prompt;
        }
        // The null state is as long as the prompt it replaces.
        const std::vector<std::int64_t> ids = model_.tokenizer.encode(text ? *text : prompt);
        RowCondition condition;
        condition.columns = std::ssize(ids);
        const bool follows = !is_null && request.melody.defined();
        const Told told{text, condition.columns, follows ? request.melody.unsafeGetTensorImpl() : nullptr};
        const auto [place, is_new] = index.try_emplace(told, std::ssize(conditions));
        condition_of_row.push_back(place->second);
        if (!is_new) continue;
        if (follows) condition.melody = melody_in_window(request.melody);
        if (text) condition.states = model_.text_encoder.encode(ids, options_.stop);
        conditions.push_back(std::move(condition));
    }
    const std::int64_t length = std::max(options_.text_length, text_length_for(model_.tokenizer, requests_));
    model_.decoder.tell(state_, conditions, condition_of_row, length, pattern_.num_positions(),
                        options_.stop);
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
    if (forced_frames_ > options_.num_frames)
        throw UsageError("more codes are given than the clip has frames");
    if (codes.numel() > 0 &&
        (codes.min().item<std::int64_t>() < 0 || codes.max().item<std::int64_t>() >= dims.codebook_size)) {
        throw InputError("given codes must lie in [0, " + std::to_string(dims.codebook_size) + ")");
    }
    codes_ = at::full({num_requests(), dims.num_codebooks, options_.num_frames}, dims.start_token, at::kLong);
    codes_.narrow(2, 0, forced_frames_).copy_(codes);
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
    // Earlier columns decide nothing: all they predict is given.
    if (position_ >= known_frames_) return 1;
    std::int64_t columns = std::min(options_.prefill_chunk, known_frames_ - position_);
    if (sections_begun_ < section_starts_.size()) {
        const std::int64_t to_section =
            section_starts_[sections_begun_] - windows_[window_].first - position_;
        columns = std::min(columns, to_section);
    }
    return columns;
}

StepResult GenerationSession::step() {
    const c10::InferenceMode guard;
    if (done()) throw UsageError("the session is finished");
    if (options_.stop.stop_requested()) throw Interrupted("interrupted");
    enter_section();
    const Window& window = windows_[window_];
    const bool is_last = window_ + 1 == windows_.size();
    DecoderInput input;
    input.context.position = position_;
    input.context.columns = next_columns();
    input.context.num_frames = options_.num_frames;
    input.context.window_start = window.first;
    input.context.own_first = window.repeated;
    input.context.own_last = is_last ? pattern_.num_positions() : window.frames;
    input.context.rows = rows_;
    input.codes = sequence_.narrow(2, position_, input.context.columns)
                      .index_select(0, request_of_row_)
                      .to(model_.decoder.device());

    StepResult result{window, position_, input.context.columns,
                      model_.decoder.forward(input, state_, hooks_)};
    check_finite(result.logits, input);
    const std::int64_t last = position_ + result.columns - 1;
    draw(last, result.logits.select(2, result.columns - 1));
    position_ += result.columns;
    finish_frames(last);
    if (position_ >= pattern_.num_positions() && !is_last) begin_window(window_ + 1);
    return result;
}

/// Stores the frames that the window's `position` has completed, and passes them on.
void GenerationSession::finish_frames(std::int64_t position) {
    const std::int64_t first = windows_[window_].first;
    const std::int64_t max_delay = pattern_.num_positions() - pattern_.num_frames();
    const std::int64_t end = first + position - max_delay + 1;
    for (; finished_frames_ < end; ++finished_frames_) {
        const at::Tensor frame = codes_.select(2, finished_frames_);
        if (finished_frames_ >= first) frame.copy_(pattern_.frame(sequence_, finished_frames_ - first));
        if (frame_sink_) frame_sink_(finished_frames_, frame);
    }
}

at::Tensor GenerationSession::guided(const at::Tensor& logits) const {
    const at::Tensor conditional = logits.narrow(0, 0, num_requests());
    if (!options_.sampling.guided()) return conditional;
    const at::Tensor null_rows = at::tensor(null_row_of_request_, at::kLong).to(logits.device());
    return apply_guidance(conditional, logits.index_select(0, null_rows), options_.sampling.guidance_scale);
}

/// Decides what `position` predicts, for every request and each codebook whose frame is inside the clip and
/// not given.
void GenerationSession::draw(std::int64_t position, const at::Tensor& logits) {
    std::vector<std::int64_t> books;
    for (std::int64_t k = 0; k < logits.size(1); ++k) {
        if (pattern_.frame_at(position, k) >= known_frames_) books.push_back(k);
    }
    if (books.empty()) return;
    const at::Tensor wanted = at::tensor(books, at::kLong).to(logits.device());
    const at::Tensor chosen = guided(logits).index_select(1, wanted).flatten(0, 1);
    std::vector<DrawKey> keys;
    const std::int64_t start = windows_[window_].first;
    for (const SessionRequest& request : requests_) {
        for (const std::int64_t k : books)
            keys.push_back({request.seed, start + pattern_.frame_at(position, k), k});
    }
    const at::Tensor tokens = draw_tokens(chosen, keys, options_.sampling)
                                  .view({num_requests(), static_cast<std::int64_t>(books.size())});
    sequence_.select(2, position + 1).index_copy_(1, at::tensor(books, at::kLong), tokens);
}

/// Throws for the first request whose logits are not finite, or drops all such requests. Rows of a dropped
/// request stay in the batch, to keep its shape, with logits of zero.
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

/// Repeats the step with hooks at every activation, to name the first that is not finite for each request.
std::map<std::int64_t, std::string> GenerationSession::describe_non_finite(const DecoderInput& input,
                                                                           const at::Tensor& bad_rows) {
    std::map<std::int64_t, std::string> reasons;
    const std::string when = "frame " + std::to_string(input.context.frame());
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

}  // namespace musicsteer
