#pragma once

#include <string>

#include "experiments/sweep/sweep_plan.hpp"

namespace musicsteer {

/// Two prompts, two seeds, one vector at three strengths: 2 x 2 x 3 clips, a third of them unsteered.
inline SweepPlan small_plan() {
    SweepPlan plan;
    plan.model_path = "bundles/tiny";
    plan.settings.version = "0.1.0";
    plan.settings.model_name = "tiny";
    plan.settings.weights_sha256 = std::string(64, 'b');
    plan.settings.duration_s = 0.1;
    plan.settings.num_frames = 40;
    plan.settings.sample_rate_hz = 16000;
    plan.settings.batch_size = 4;
    plan.settings.threads = 1;
    plan.settings.precision = {{"codec", "f32"}, {"decoder", "f32"}, {"text_encoder", "f32"}};
    plan.prompts = {{"piano", 32}, {"organ", 32}};
    plan.seeds = {0, 7};
    SteeringSetting steering;
    steering.file = "tempo.safetensors";
    steering.sha256 = std::string(64, 'c');
    steering.concept_name = "tempo";
    steering.positive_label = "fast";
    steering.negative_label = "slow";
    steering.strategy = Strategy::kOneToAll;
    steering.layers = LayerList{.all = false, .numbers = {0, 1, 2}};
    steering.source_layer = 1;
    steering.site = Site::kResidPost;
    steering.rows = SteeredRows::kBoth;
    steering.unit = AlphaUnit::kDifference;
    plan.conditions = {{steering, {-0.5, 0.0, 0.5}}};
    return plan;
}

}  // namespace musicsteer
