#include "base/shapes.hpp"

#include "musicsteer/errors.hpp"

namespace musicsteer {

std::string shape_text(at::IntArrayRef sizes) {
    std::string text = "[";
    for (const std::int64_t size : sizes) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
    return text + "]";
}

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
    const std::string received = tensor.defined() ? shape_text(tensor.sizes()) : "nothing";
    throw ModelError("[" + where + "] expected [" + wanted + "] but received " + received);
}

}  // namespace musicsteer
