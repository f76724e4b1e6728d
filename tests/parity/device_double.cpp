#include "device_double.hpp"

#include <ATen/ATen.h>
#include <ATen/NativeFunctions.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/Resize.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/library.h>

#include <cstring>
#include <tuple>
#include <vector>

namespace {

constexpr c10::DeviceType kDouble = c10::DeviceType::PrivateUse1;
constexpr c10::DispatchKey kDoubleKey = c10::DispatchKey::PrivateUse1;

class HostMemory final : public c10::Allocator {
  public:
    c10::DataPtr allocate(std::size_t bytes) override {
        void* const data = c10::alloc_cpu(bytes);
        return {data, data, &c10::free_cpu, c10::Device(kDouble, 0)};
    }
    c10::DeleterFnPtr raw_deleter() const override { return &c10::free_cpu; }
    void copy_data(void* to, const void* from, std::size_t bytes) const override {
        std::memcpy(to, from, bytes);
    }
};

HostMemory host_memory;

/// The same memory as a tensor of the CPU.
at::Tensor on_cpu(const at::Tensor& tensor) {
    if (tensor.is_cpu()) return tensor;
    return at::from_blob(tensor.data_ptr(), tensor.sizes(), tensor.strides(),
                         at::TensorOptions().dtype(tensor.scalar_type()));
}

at::Tensor empty(c10::SymIntArrayRef size, std::optional<at::ScalarType> type, std::optional<at::Layout>,
                 std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
    return at::detail::empty_generic(C10_AS_INTARRAYREF_SLOW(size), &host_memory,
                                     c10::DispatchKeySet(kDoubleKey), type.value_or(at::kFloat), format);
}

at::Tensor empty_strided(c10::SymIntArrayRef size, c10::SymIntArrayRef stride,
                         std::optional<at::ScalarType> type, std::optional<at::Layout>,
                         std::optional<at::Device>, std::optional<bool>) {
    return at::detail::empty_strided_generic(C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride),
                                             &host_memory, c10::DispatchKeySet(kDoubleKey),
                                             type.value_or(at::kFloat));
}

at::Tensor as_strided(const at::Tensor& self, c10::SymIntArrayRef size, c10::SymIntArrayRef stride,
                      std::optional<c10::SymInt> offset) {
    std::optional<std::int64_t> from;
    if (offset) from = offset->expect_int();
    return at::native::as_strided_tensorimpl(self, C10_AS_INTARRAYREF_SLOW(size),
                                             C10_AS_INTARRAYREF_SLOW(stride), from);
}

at::Tensor view(const at::Tensor& self, c10::SymIntArrayRef size) {
    return at::native::view(self, C10_AS_INTARRAYREF_SLOW(size));
}

at::Tensor reshape_alias(const at::Tensor& self, c10::SymIntArrayRef size, c10::SymIntArrayRef stride) {
    return at::native::_reshape_alias(self, C10_AS_INTARRAYREF_SLOW(size), C10_AS_INTARRAYREF_SLOW(stride));
}

at::Tensor copy_from(const at::Tensor& self, const at::Tensor& target, bool) {
    on_cpu(target).copy_(on_cpu(self));
    return target;
}

at::Tensor copy_from_and_resize(const at::Tensor& self, const at::Tensor& target) {
    target.resize_(self.sizes());
    return copy_from(self, target, false);
}

const at::Tensor& resize(const at::Tensor& self, c10::SymIntArrayRef size, std::optional<at::MemoryFormat>) {
    at::native::resize_impl_cpu_(self.unsafeGetTensorImpl(), C10_AS_INTARRAYREF_SLOW(size), std::nullopt);
    return self;
}

at::Scalar local_scalar(const at::Tensor& self) {
    return on_cpu(self).item();
}

/// Its default has no CPU function behind it.
at::Tensor convolution(const at::Tensor& input, const at::Tensor& weight,
                       const std::optional<at::Tensor>& bias, c10::SymIntArrayRef stride,
                       c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation, bool transposed,
                       c10::SymIntArrayRef output_padding, c10::SymInt groups) {
    const bool has_bias = bias && bias->defined();
    TORCH_CHECK(input.device() == weight.device() && (!has_bias || input.device() == bias->device()),
                "convolution: expected all tensors on one device");
    return at::convolution_symint(on_cpu(input), on_cpu(weight),
                                  has_bias ? std::optional(on_cpu(*bias)) : bias, stride, padding, dilation,
                                  transposed, output_padding, groups)
        .to(input.device());
}

std::vector<at::Tensor> all_on_cpu(at::TensorList tensors, c10::Device device) {
    std::vector<at::Tensor> there;
    for (const at::Tensor& tensor : tensors) {
        TORCH_CHECK(tensor.device() == device, "lstm: expected all tensors on one device");
        there.push_back(on_cpu(tensor));
    }
    return there;
}

/// Its cells are functions of their own on a GPU, which the CPU has not.
std::tuple<at::Tensor, at::Tensor, at::Tensor> lstm(const at::Tensor& input, at::TensorList state,
                                                    at::TensorList weights, bool biases, std::int64_t layers,
                                                    double dropout, bool train, bool bidirectional,
                                                    bool batch_first) {
    const c10::Device device = input.device();
    const auto [output, hidden, cell] =
        at::lstm(on_cpu(input), all_on_cpu(state, device), all_on_cpu(weights, device), biases, layers,
                 dropout, train, bidirectional, batch_first);
    return {output.to(device), hidden.to(device), cell.to(device)};
}

void check_place(const c10::OperatorHandle& op, const at::Tensor& tensor) {
    const bool is_number = tensor.defined() && tensor.dim() == 0;  // which every device takes
    TORCH_CHECK(!tensor.defined() || is_number || tensor.device().type() == kDouble, op.operator_name(),
                ": expected all tensors on one device, found one on ", tensor.device());
}

/// Everything else: by the CPU's function, if all tensors are here.
void by_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
    for (const c10::IValue& argument : torch::jit::last(*stack, op.schema().arguments().size())) {
        if (argument.isTensor()) {
            check_place(op, argument.toTensor());
        } else if (argument.isTensorList()) {
            for (const at::Tensor& tensor : argument.toTensorVector()) check_place(op, tensor);
        }
    }
    at::native::cpu_fallback(op, stack);
}

}  // namespace

C10_REGISTER_GUARD_IMPL(PrivateUse1, c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::PrivateUse1>)

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
    library.fallback(torch::CppFunction::makeFromBoxedFunction<&by_cpu>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
    library.impl("empty.memory_format", empty);
    library.impl("empty_strided", empty_strided);
    library.impl("as_strided", as_strided);
    library.impl("view", view);
    library.impl("_reshape_alias", reshape_alias);
    library.impl("_copy_from", copy_from);
    library.impl("_copy_from_and_resize", copy_from_and_resize);
    library.impl("resize_", resize);
    library.impl("convolution_overrideable", convolution);
    library.impl("lstm.input", lstm);
    library.impl("_local_scalar_dense", local_scalar);
}

c10::Device device_double() {
    c10::SetAllocator(kDouble, &host_memory);
    return {kDouble, 0};
}
