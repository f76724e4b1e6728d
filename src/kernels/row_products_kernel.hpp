// No include guard: a kernel includes this once for each kind of processor, in a namespace where
// MUSICSTEER_TARGET names the instructions. `Kind` is a type of weight:
//
//     Weight, Input, Total       types of a number of the weight, of x and of a sum
//     Numbers, Sums              vectors of kLane
//     kTile                      rows of the weight that fit into the registers with four rows of x
//     kColumns                   numbers of a row that are summed before lanes are added up
//     load, widen                Input and Weight to Numbers
//     add_products, total        Sums + Numbers x Numbers; the lanes added up

/// Products of `Outputs` rows of the weight with `Rows` rows of x.
template <class Kind, int Outputs, int Rows, class Product>
MUSICSTEER_TARGET inline void multiply_tile(const Product& p, std::int64_t output, std::int64_t row) {
    using Weight = typename Kind::Weight;
    using Total = typename Kind::Total;
    constexpr int kLine = 64 / sizeof(Weight);  // numbers in a cache line
    constexpr int kLane = Kind::kLane;
    const Weight* weight = p.weight + output * p.inputs;
    const typename Kind::Input* x = p.x + row * p.inputs;
    const std::int64_t next = Outputs * p.inputs;  // start of the next tile
    Total totals[Outputs][Rows] = {};
    for (std::int64_t first = 0; first < p.inputs; first += Kind::kColumns) {
        const std::int64_t last = std::min(first + Kind::kColumns, p.inputs);
        typename Kind::Sums sums[Outputs][Rows] = {};
        std::int64_t k = first;
        for (; k + kLine <= last; k += kLine) {
#pragma GCC unroll 8
            for (int o = 0; o < Outputs; ++o) __builtin_prefetch(weight + o * p.inputs + k + next);
#pragma GCC unroll 8
            for (int part = 0; part < kLine; part += kLane) {
                typename Kind::Numbers weights[Outputs];
#pragma GCC unroll 8
                for (int o = 0; o < Outputs; ++o) weights[o] = Kind::widen(weight + o * p.inputs + k + part);
#pragma GCC unroll 8
                for (int r = 0; r < Rows; ++r) {
                    // One at a time: with all of them, AVX2's 16 registers do not suffice.
                    const typename Kind::Numbers inputs = Kind::load(x + r * p.inputs + k + part);
#pragma GCC unroll 8
                    for (int o = 0; o < Outputs; ++o)
                        sums[o][r] = Kind::add_products(sums[o][r], weights[o], inputs);
                }
            }
        }
        for (int o = 0; o < Outputs; ++o) {
            for (int r = 0; r < Rows; ++r) {
                totals[o][r] += Kind::total(sums[o][r]);
                for (std::int64_t rest = k; rest < last; ++rest)
                    totals[o][r] += Kind::product(weight[o * p.inputs + rest], x[r * p.inputs + rest]);
            }
        }
    }
    for (int o = 0; o < Outputs; ++o) {
        for (int r = 0; r < Rows; ++r) p.put(row + r, output + o, totals[o][r]);
    }
}

/// All rows of x with `Outputs` rows of the weight, which stay in the cache.
template <class Kind, int Outputs, class Product>
MUSICSTEER_TARGET inline void multiply_rows(const Product& p, std::int64_t output) {
    std::int64_t row = 0;
    for (; row + 4 <= p.rows; row += 4) multiply_tile<Kind, Outputs, 4>(p, output, row);
    switch (p.rows - row) {
        case 3:
            return multiply_tile<Kind, Outputs, 3>(p, output, row);
        case 2:
            return multiply_tile<Kind, Outputs, 2>(p, output, row);
        case 1:
            return multiply_tile<Kind, Outputs, 1>(p, output, row);
        default:
            return;
    }
}

/// Outputs `first` to `last` of all rows.
template <class Kind, class Product>
MUSICSTEER_TARGET inline void multiply(const Product& p, std::int64_t first, std::int64_t last) {
    for (; first + Kind::kTile <= last; first += Kind::kTile) multiply_rows<Kind, Kind::kTile>(p, first);
    for (; first < last; ++first) multiply_rows<Kind, 1>(p, first);
}
