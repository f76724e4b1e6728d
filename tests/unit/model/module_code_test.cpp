#include "model/module_code.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

std::string method(const std::string& body) {
    return "class M(Module):\n  __parameters__ = []\n  training : bool\n"
           "  def forward(self: __torch__.M,\n    x: Tensor) -> Tensor:\n    " +
           body + "\n    return x\n";
}

TEST(ModuleCode, WhatOursDoPasses) {
    for (const std::string body :
         {"_0 = torch.add(x, torch.size(x, 0))", "_0 = ops.prim.dtype(x)", "_0 = getattr(self, \"12\")",
          "_0 = __torch__.torch.nn.functional.relu\n    _1 = _0(x, )", "_0 = (x).forward(x, )",
          "_0 = annotate(List[Tensor], [])", "ops.prim.RaiseException(\"save(x)\")",
          "_0 = ops.mkldnn._linear_pointwise(x, x, None, \"none\", [], \"\")"}) {
        EXPECT_NO_THROW(check_module_code(method(body), "code/M.py")) << body;
    }
}

TEST(ModuleCode, WhatCouldReachFilesIsRefused) {
    const std::pair<std::string, std::string> cases[] = {
        {"torch.save(x, \"f\")", "calls save"},
        {"_0 = (x).save(\"f\")", "calls save"},
        {"_0 = x . save ( \"f\" )", "calls save"},
        {"_0 = ops.aten.save(x, \"f\")", "calls save"},
        {"_0 = torch.from_file(\"f\", False, 1)", "calls from_file"},
        {"_0 = torch.from_file\n    _1 = _0(\"f\")", "calls from_file"},
        {"_0 = ops.aten.from_file(\"f\")", "calls from_file"},
        {"t = torch", "passes torch on"},
        {"o = ops", "passes ops on"},
        {"_0 = getattr(torch, \"save\")(x, \"f\")", "calls getattr"},
        {"_0 = getattr(x, \"save\")(\"f\")", "calls getattr"},
        {"print(x)", "calls print"},
        {"_0 = fork(self)", "calls fork"},
        {"_0 = __torch__.torch.classes.quantized.LinearPackedParamsBase", "custom class"},
        {"_0 = self.__getstate__()", "__getstate__"},
        {"torch.manual_seed(1)", "calls manual_seed"},
        {"_0 = ops.quantized.linear_prepack(x, None)", "calls linear_prepack"},
    };
    for (const auto& [body, why] : cases) {
        EXPECT_THAT([&] { check_module_code(method(body), "code/M.py"); },
                    ThrowsMessage<InputError>(HasSubstr(why)))
            << body;
    }
    EXPECT_THAT(
        [] {
            check_module_code("class M(Module):\n  def __setstate__(self,\n    x: int) -> None:\n    pass\n",
                              "m");
        },
        ThrowsMessage<InputError>(HasSubstr("m, line 2: uses __setstate__")));
}

TEST(ModuleCode, ObjectsAreOfTheArchivesOwnClasses) {
    EXPECT_NO_THROW(check_module_class("__torch__.torchscript.decoder.Decoder"));
    EXPECT_THROW(check_module_class("__torch__.torch.classes.quantized.LinearPackedParamsBase"), InputError);
    EXPECT_THROW(check_module_class("posix.system"), InputError);
}

}  // namespace
}  // namespace musicsteer
