#include "generation/replacement.hpp"

#include <ATen/ATen.h>

#include <algorithm>

namespace musicsteer {
namespace {

/// The columns of a call that are in the range: first and count.
struct Columns {
    std::int64_t first = 0;
    std::int64_t count = 0;
};

Columns columns_in(const PositionRange& positions, const HookContext& context) {
    const std::int64_t begin = std::max(positions.first, context.frame());
    const std::int64_t end = std::min(positions.last, context.frame() + context.columns);
    return {begin - context.frame(), std::max<std::int64_t>(0, end - begin)};
}

/// `rows` of `activation` [B, T, ...] become `values`, [1, T, ...] or what broadcasts to it, in these
/// columns.
at::Tensor with_rows(const at::Tensor& activation, const at::Tensor& rows, const at::Tensor& values,
                     const Columns& columns) {
    at::Tensor edited = activation.clone();
    const at::Tensor part = edited.narrow(1, columns.first, columns.count);
    std::vector<std::int64_t> sizes = part.sizes().vec();
    sizes[0] = rows.numel();
    part.index_copy_(0, rows, values.expand(sizes));
    return edited;
}

}  // namespace

EditHook replace_by_row(const std::vector<std::int64_t>& rows, std::int64_t source, PositionRange positions,
                        c10::Device device) {
    const at::Tensor index = at::tensor(rows, at::kLong).to(device);
    return [index, source, positions](const at::Tensor& activation, const HookContext& context) {
        const Columns columns = columns_in(positions, context);
        if (columns.count == 0) return activation;
        const at::Tensor values = activation.narrow(0, source, 1).narrow(1, columns.first, columns.count);
        return with_rows(activation, index, values, columns);
    };
}

EditHook replace_by_vector(const std::vector<std::int64_t>& rows, const at::Tensor& vector,
                           PositionRange positions, c10::Device device) {
    const at::Tensor index = at::tensor(rows, at::kLong).to(device);
    const at::Tensor value = vector.to(device);
    return [index, value, positions](const at::Tensor& activation, const HookContext& context) {
        const Columns columns = columns_in(positions, context);
        if (columns.count == 0) return activation;
        std::vector<std::int64_t> sizes = activation.sizes().vec();
        sizes[0] = sizes[1] = 1;
        return with_rows(activation, index, value.view(sizes), columns);
    };
}

}  // namespace musicsteer
