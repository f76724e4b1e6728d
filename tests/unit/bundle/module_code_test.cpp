#include "bundle/module_code.hpp"

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
          "_0 = ops.mkldnn._linear_pointwise(x, x, None, \"none\", [], \"\")",
          "_0 = __torch__.torch.nn.functional.elu(x, 1., False, )", "_0, _1, = (x).forward(x, )",
          "sizes = [torch.size(x, 0), -1]\n    _0 = sizes[0]", "_0 : Optional[Tensor] = None",
          "for i in range(3):\n      y = torch.add(x, i)\n    if torch.gt(1, 0):\n      pass\n    else:\n    "
          "  y0 = inf"}) {
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
        {"_0 = torch.from_file\n    _1 = _0(\"f\")", "uses torch as a value"},
        {"_0 = getattr\n    _1 = _0(ops.aten, \"save\")", "uses getattr as a value"},
        {"_0 = (x).save\n    _0(\"f\")", "calls _0"},
        {"_0 = ops.aten\n    _1 = _0.save", "uses ops as a value"},
        {"_0 = print", "uses print as a value"},
        {"_0 = [getattr, hasattr]", "uses getattr as a value"},
        {"if True:\n      getattr = 1\n    else:\n      getattr = \"\"", "another meaning to getattr"},
        {"for torch in range(2):\n      pass", "another meaning to torch"},
        {"_0 = __torch__.f\n    _0 = x", "another meaning to _0"},
        {"getattr = __torch__.f", "binds a function to another name"},
        {"_0 = [torch.save(i, \"f\") for i in [x]]", "uses 'list comprehension'"},
        {"_0 = torch.save(x, \"f\") if True else None", "uses 'if'"},
        {"_0 = torch.add(x, 1, alpha=torch.save(x, \"f\"))", "calls save"},
        {"_0 = {\"a\": torch.save(x, \"f\")}", "uses 'dict-literal'"},
        {"_0 = x[torch.save(x, \"f\")]", "calls save"},
        {"while torch.save(x, \"f\"):\n      pass", "uses 'while'"},
        {"with torch.save(x, \"f\"):\n      pass", "uses 'with'"},
        {"assert torch.save(x, \"f\")", "uses 'assert'"},
        {"x.y = 1", "uses '.'"},
        {"x += 1", "uses 'aug_assign'"},
        {"_0 : Future[Tensor] = None", "uses another type"},
        {"_0 = torch.ops.aten.save(x, \"f\")", "calls save"},
        {"_0 = ops.quantized.add(x, x)", "uses ops as a value"},
        {"_0 = torch.\\\n      save(x, \"f\")", "continues a line"},
        {"# torch", "has a comment"},
        {"_0 = " + std::string(10000, '-') + "x", "has code nested that deep"},
        {std::string(1000, '\n') + "_0 = x", "has that many blank lines"},
        {"_0 = ops.aten.from_file(\"f\")", "calls from_file"},
        {"t = torch", "uses torch as a value"},
        {"o = ops", "uses ops as a value"},
        {"_0 = getattr(torch, \"save\")(x, \"f\")", "calls what is not a name"},
        {"_0 = getattr(x, \"save\")", "calls getattr"},
        {"print(x)", "calls print"},
        {"_0 = fork(self)", "calls fork"},
        {"_0 = __torch__.torch.classes.quantized.LinearPackedParamsBase", "uses __torch__ as a value"},
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

TEST(ModuleCode, AroundMethodsAsWell) {
    const std::pair<std::string, std::string> cases[] = {
        {"import __torch__.f\n", "outside of classes"},
        {"op_version_set = 0\n", "outside of classes"},
        {"class M(NamedTuple):\n  x : int\n", "not a module"},
        {"class M:\n  x : int\n", "not a module"},
        {"class M(Module):\n  x : Final[int] = torch.save(1, \"f\")\n", "a constant that is computed"},
        {"class M(Module):\n  __parameters__ = [getattr]\n", "a constant that is computed"},
        {"class M(Module):\n  __hooks__ = []\n", "uses __hooks__"},
        {"class M(Module):\n  __annotations__[\"0\"] = torch.save\n", "uses another type"},
        {"class M(Module):\n  x : __torch__.torch.classes.quantized.LinearPackedParamsBase\n",
         "another type"},
        {"def f(x: int=torch.save(1, \"f\")) -> int:\n  return x\n", "a constant that is computed"},
        {"def f(getattr: int) -> int:\n  return getattr\n", "another meaning to getattr"},
        {"def f(x: int) -> int:\n  y = x\n  return y\ndef g() -> int:\n  return y\n", "uses y as a value"},
    };
    for (const auto& [source, why] : cases) {
        EXPECT_THAT([&] { check_module_code(source, "code/M.py"); },
                    ThrowsMessage<InputError>(HasSubstr(why)))
            << source;
    }
}

TEST(ModuleCode, ObjectsAreOfTheArchivesOwnClasses) {
    EXPECT_NO_THROW(check_module_class("__torch__.torchscript.decoder.Decoder"));
    EXPECT_THROW(check_module_class("__torch__.torch.classes.quantized.LinearPackedParamsBase"), InputError);
    EXPECT_THROW(check_module_class("posix.system"), InputError);
}

}  // namespace
}  // namespace musicsteer
