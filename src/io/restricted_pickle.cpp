#include "io/restricted_pickle.hpp"

#include <array>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <variant>

#include "base/errors.hpp"

// Pickle is a stack machine; Python's pickletools describes its instructions. torch.save uses protocol 2, and
// for a tensor writes
//     GLOBAL torch._utils._rebuild_tensor_v2, MARK, (storage, offset, sizes, strides, grad, hooks), REDUCE
// where the storage is BINPERSID of ("storage", class, key, device, number of elements).

namespace musicsteer {
namespace {

enum Opcode : unsigned char {
    kProto = 0x80,
    kEmptyDict = '}',
    kEmptyTuple = ')',
    kMark = '(',
    kBinput = 'q',
    kLongBinput = 'r',
    kBinget = 'h',
    kLongBinget = 'j',
    kBinint = 'J',
    kBinint1 = 'K',
    kBinint2 = 'M',
    kLong1 = 0x8a,
    kGlobal = 'c',
    kBinunicode = 'X',
    kTuple = 't',
    kTuple1 = 0x85,
    kTuple2 = 0x86,
    kTuple3 = 0x87,
    kBinpersid = 'Q',
    kTrue = 0x88,
    kFalse = 0x89,
    kNone = 'N',
    kReduce = 'R',
    kSetitem = 's',
    kSetitems = 'u',
    kStop = '.',
};

constexpr int kMaxDepth = 8;  // tuples in tuples

struct Value;
struct Nothing {};  // None, True, False: of no concern
struct Global {
    std::string name;
};
struct Tuple {
    std::vector<Value> items;
    int depth = 1;
};
struct Dict {
    std::map<std::string, PickledTensor> tensors;
};

struct Value : std::variant<Nothing, std::int64_t, std::string, Global, std::shared_ptr<Tuple>,
                            std::shared_ptr<Dict>, PickledTensor> {
    using variant::variant;
};

const std::set<std::string> kStorages = {"FloatStorage", "DoubleStorage", "HalfStorage", "BFloat16Storage"};

bool is_allowed(const std::string& name) {
    constexpr std::string_view kTorch = "torch.";
    if (name.starts_with(kTorch) && kStorages.contains(name.substr(kTorch.size()))) return true;
    return name == "torch._utils._rebuild_tensor_v2" || name == "torch._utils._rebuild_parameter" ||
           name == "collections.OrderedDict";
}

class Reader {
  public:
    Reader(std::string_view bytes, const std::string& origin) : bytes_(bytes), origin_(origin) {}

    std::map<std::string, PickledTensor> read() {
        while (true) {
            const auto opcode = static_cast<unsigned char>(take(1)[0]);
            if (opcode == kStop) break;
            if (!push_plain(opcode) && !build(opcode)) {
                fail("holds more than a dict of tensors (pickle instruction " + std::to_string(opcode) + ")");
            }
        }
        const auto dict = as<std::shared_ptr<Dict>>(pop());
        if (stack_.size() + marks_.size() > 0) damaged();
        return dict->tensors;
    }

  private:
    [[noreturn]] void fail(const std::string& what) const {
        throw InputError(origin_ + ": " + what + "; expected torch.save({layer: tensor of [D], ...})");
    }
    [[noreturn]] void damaged() const { fail("its pickle is damaged"); }

    std::string_view take(std::size_t count) {
        if (count > bytes_.size()) damaged();
        const std::string_view taken = bytes_.substr(0, count);
        bytes_.remove_prefix(count);
        return taken;
    }
    /// Little-endian, of 1 to 8 bytes.
    std::uint64_t number(std::size_t count) {
        std::uint64_t value = 0;
        const std::string_view taken = take(count);
        for (std::size_t i = 0; i < count; ++i)
            value |= std::uint64_t{static_cast<unsigned char>(taken[i])} << (8 * i);
        return value;
    }
    std::string line() {
        const std::size_t end = bytes_.find('\n');
        if (end == std::string_view::npos) damaged();
        std::string text(take(end));
        take(1);
        return text;
    }
    std::int64_t long_integer() {
        const auto count = static_cast<std::size_t>(number(1));
        if (count > 8) fail("a number has more than 64 bits");
        if (count == 0) return 0;
        const auto shift = static_cast<unsigned>(64 - 8 * count);
        return static_cast<std::int64_t>(number(count) << shift) >> shift;  // extends the sign
    }

    Value pop() {
        const std::size_t floor = marks_.empty() ? 0 : marks_.back();
        if (stack_.size() <= floor) damaged();
        Value value = std::move(stack_.back());
        stack_.pop_back();
        return value;
    }
    std::vector<Value> pop_to_mark() {
        if (marks_.empty()) damaged();
        const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
        std::vector<Value> items(std::make_move_iterator(first), std::make_move_iterator(stack_.end()));
        stack_.erase(first, stack_.end());
        marks_.pop_back();
        return items;
    }
    std::vector<Value> pop_items(std::size_t count) {
        std::vector<Value> items(count);
        for (std::size_t i = count; i-- > 0;) items[i] = pop();
        return items;
    }
    template <typename T>
    T as(const Value& value) const {
        const T* found = std::get_if<T>(&value);
        if (found == nullptr) fail("is no dict of tensors");
        return *found;
    }

    /// Instructions that only read, or move between stack and memo.
    bool push_plain(unsigned char opcode) {
        switch (opcode) {
            case kProto:
                if (const auto protocol = number(1); protocol != 2)
                    fail("pickle protocol " + std::to_string(protocol) + ", torch.save's own is 2");
                return true;
            case kMark:
                marks_.push_back(stack_.size());
                return true;
            case kBinput:
                remember(number(1));
                return true;
            case kLongBinput:
                remember(number(4));
                return true;
            case kBinget:
                recall(number(1));
                return true;
            case kLongBinget:
                recall(number(4));
                return true;
            case kNone:
            case kTrue:
            case kFalse:
                stack_.emplace_back(Nothing{});
                return true;
            case kBinint:
                stack_.emplace_back(
                    std::int64_t{static_cast<std::int32_t>(static_cast<std::uint32_t>(number(4)))});
                return true;
            case kBinint1:
                stack_.emplace_back(static_cast<std::int64_t>(number(1)));
                return true;
            case kBinint2:
                stack_.emplace_back(static_cast<std::int64_t>(number(2)));
                return true;
            case kLong1:
                stack_.emplace_back(long_integer());
                return true;
            case kBinunicode:
                stack_.emplace_back(std::string(take(static_cast<std::size_t>(number(4)))));
                return true;
            default:
                return false;
        }
    }

    bool build(unsigned char opcode) {
        switch (opcode) {
            case kEmptyDict:
                stack_.emplace_back(std::make_shared<Dict>());
                return true;
            case kEmptyTuple:
                push_tuple({});
                return true;
            case kTuple:
                push_tuple(pop_to_mark());
                return true;
            case kTuple1:
                push_tuple(pop_items(1));
                return true;
            case kTuple2:
                push_tuple(pop_items(2));
                return true;
            case kTuple3:
                push_tuple(pop_items(3));
                return true;
            case kGlobal:
                push_global();
                return true;
            case kBinpersid:
                push_storage();
                return true;
            case kReduce:
                reduce();
                return true;
            case kSetitem:
                set_items(pop_items(2));
                return true;
            case kSetitems:
                set_items(pop_to_mark());
                return true;
            default:
                return false;
        }
    }

    void remember(std::uint64_t place) {
        Value value = pop();
        memo_[place] = value;
        stack_.push_back(std::move(value));
    }
    void recall(std::uint64_t place) {
        const auto found = memo_.find(place);
        if (found == memo_.end()) damaged();
        stack_.push_back(found->second);
    }
    void push_tuple(std::vector<Value> items) {
        const auto tuple = std::make_shared<Tuple>();
        for (const Value& item : items) {
            if (const auto* inner = std::get_if<std::shared_ptr<Tuple>>(&item))
                tuple->depth = std::max(tuple->depth, (*inner)->depth + 1);
        }
        if (tuple->depth > kMaxDepth) damaged();
        tuple->items = std::move(items);
        stack_.emplace_back(tuple);
    }
    void push_global() {
        const std::string module = line();
        const std::string name = module + "." + line();
        if (!is_allowed(name)) {
            throw InputError(origin_ + ": names " + in_quotes(name) +
                             ", which is no part of a dict of float tensors; nothing of the file was run, "
                             "and it is refused");
        }
        stack_.emplace_back(Global{name});
    }
    void push_storage() {
        const auto tuple = as<std::shared_ptr<Tuple>>(pop());
        if (tuple->items.size() != 5 || as<std::string>(tuple->items[0]) != "storage") damaged();
        PickledTensor tensor;
        tensor.storage_type = as<Global>(tuple->items[1]).name.substr(std::strlen("torch."));
        if (!kStorages.contains(tensor.storage_type)) damaged();
        tensor.storage_key = as<std::string>(tuple->items[2]);
        tensor.storage_size = as<std::int64_t>(tuple->items[4]);
        stack_.emplace_back(tensor);
    }
    std::vector<std::int64_t> integers(const Value& value) const {
        std::vector<std::int64_t> numbers;
        for (const Value& item : as<std::shared_ptr<Tuple>>(value)->items)
            numbers.push_back(as<std::int64_t>(item));
        return numbers;
    }
    void reduce() {
        const auto arguments = as<std::shared_ptr<Tuple>>(pop());
        const std::string name = as<Global>(pop()).name;
        const std::vector<Value>& items = arguments->items;
        if (name == "collections.OrderedDict" && items.empty()) {
            stack_.emplace_back(std::make_shared<Dict>());
        } else if (name == "torch._utils._rebuild_parameter" && !items.empty()) {
            stack_.emplace_back(as<PickledTensor>(items[0]));
        } else if (name == "torch._utils._rebuild_tensor_v2" && items.size() >= 4) {
            PickledTensor tensor = as<PickledTensor>(items[0]);
            tensor.offset = as<std::int64_t>(items[1]);
            tensor.sizes = integers(items[2]);
            tensor.strides = integers(items[3]);
            stack_.emplace_back(std::move(tensor));
        } else {
            damaged();
        }
    }
    void set_items(const std::vector<Value>& items) {
        const Value top = pop();
        const auto dict = as<std::shared_ptr<Dict>>(top);
        if (items.size() % 2 != 0) damaged();
        for (std::size_t i = 0; i < items.size(); i += 2) {
            const auto* number = std::get_if<std::int64_t>(&items[i]);
            const std::string key = number != nullptr ? std::to_string(*number) : as<std::string>(items[i]);
            const auto* tensor = std::get_if<PickledTensor>(&items[i + 1]);
            if (tensor == nullptr) fail("the value of " + in_quotes(key) + " is no tensor");
            if (!dict->tensors.emplace(key, *tensor).second) fail("has " + in_quotes(key) + " twice");
        }
        stack_.push_back(top);
    }

    std::string_view bytes_;
    const std::string& origin_;
    std::vector<Value> stack_;
    std::vector<std::size_t> marks_;
    std::map<std::uint64_t, Value> memo_;
};

}  // namespace

std::map<std::string, PickledTensor> read_tensor_dict(std::string_view pickle, const std::string& origin) {
    return Reader(pickle, origin).read();
}

}  // namespace musicsteer
