// Uses a little of each kind of unit through the installed headers: files, tensors, hooks, logging.

#include <ATen/ATen.h>

#include <base/errors.hpp>
#include <base/logging.hpp>
#include <cstdlib>
#include <directions/prompt_set.hpp>
#include <directions/vector_file.hpp>
#include <filesystem>
#include <iostream>
#include <model/hooks.hpp>
#include <steering/resolve.hpp>
#include <string>

namespace {

void require(bool condition, const std::string& what) {
    if (condition) return;
    std::cerr << "failed: " << what << '\n';
    std::exit(1);
}

}  // namespace

int main(int argc, char** argv) {
    using namespace musicsteer;
    require(argc == 3, "usage: consumer PROMPTS.json FOLDER");
    const PromptSet prompts = PromptSet::load(argv[1]);
    require(prompts.positive.label == "fast", "the tempo set's positive side is fast");

    VectorFile vectors;
    vectors.provenance.concept_name = prompts.concept_name;
    vectors.provenance.num_layers = 2;
    vectors.provenance.hidden_size = 8;
    const std::string point = HookPoint::at(1, Site::kResidPost).name();
    vectors.directions[point] = at::ones({8});
    vectors.stats[point] = {at::ones({8}).norm().item<double>(), 4.0, 2.0};
    const std::filesystem::path file = std::filesystem::path(argv[2]) / "vector.safetensors";
    vectors.save(file, Overwrite::kRefuse);

    const VectorFile loaded = VectorFile::load(file);
    DecoderDims dims;
    dims.num_layers = 2;
    SteeringSetting setting;
    setting.file = file.string();
    setting.alpha = 1.5;
    const ResolvedSteering steering = resolve_steering(loaded, setting, dims);
    require(steering.plan.size() == 1 && steering.plan[0].strength == 1.5, "one injection of strength 1.5");

    try {
        parse_site("resid_pots");
        require(false, "an unknown site throws");
    } catch (const UsageError& error) {
        log_info(error.what());
    }
    std::cout << "the installed library works\n";
    return 0;
}
