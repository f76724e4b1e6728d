#include "model/model.hpp"

#include <ATen/Parallel.h>
#include <torch/csrc/jit/runtime/graph_executor.h>

#include "base/cores.hpp"
#include "model/script_call.hpp"

namespace musicsteer {

Model Model::load(Bundle bundle) {
    // The profiling executor rewrites graphs after their first runs. Without it, every call runs the same
    // operators.
    torch::jit::setGraphExecutorOptimize(false);
    return with_our_errors("loading the model", [&] {
        Tokenizer tokenizer = Tokenizer::load(bundle.file("tokenizer.json"));
        TextEncoder text_encoder(bundle);
        Decoder decoder(bundle);
        Codec codec(bundle);
        return Model{std::move(bundle), std::move(tokenizer), std::move(text_encoder), std::move(decoder),
                     std::move(codec)};
    });
}

void set_num_threads(int threads) {
    at::set_num_threads(threads > 0 ? threads : usable_cores());
}

}  // namespace musicsteer
