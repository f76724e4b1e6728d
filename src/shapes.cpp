#include "musicsteer/shapes.hpp"

#include "musicsteer/errors.hpp"

namespace musicsteer {

void check_shape(const at::Tensor& tensor, std::initializer_list<std::int64_t> expected,
                 const std::string& where) {
    bool matches = tensor.defined() && tensor.dim() == static_cast<std::int64_t>(expected.size());
    std::string wanted;
    std::int64_t axis = 0;
    for (const std::int64_t size : expected) {
        wanted += (axis ? ", " : "") + (size == kAnySize ? std::string("any") : std::to_string(size));
        matches = matches && (size == kAnySize || tensor.size(axis) == size);
        ++axis;
    }
    if (matches) return;
    std::string received = "nothing";
    if (tensor.defined()) {
        received = "[";
        for (std::int64_t i = 0; i < tensor.dim(); ++i)
            received += (i ? ", " : "") + std::to_string(tensor.size(i));
        received += "]";
    }
    throw ModelError("[" + where + "] expected [" + wanted + "] but received " + received);
}

}  // namespace musicsteer
