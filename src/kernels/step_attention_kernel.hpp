// No include guard: step_attention.cpp includes this once for each kind of processor, in a namespace that has
// V, a FloatVector, and load_numbers, with MUSICSTEER_TARGET naming the instructions.

/// scores[j] = q . key j, for `count` keys of `Size` numbers.
template <int Size, typename Number>
MUSICSTEER_TARGET inline void score_keys(const float* q, const Number* keys, std::int64_t count,
                                         float* scores) {
    constexpr int kVectors = Size / V::kLanes;
    V::Floats query[kVectors];
    for (int i = 0; i < kVectors; ++i) query[i] = V::load(q + i * V::kLanes);
    for (std::int64_t j = 0; j < count; ++j, keys += Size) {
        V::Floats sum = query[0] * load_numbers(keys);
        for (int i = 1; i < kVectors; ++i) sum += query[i] * load_numbers(keys + i * V::kLanes);
        scores[j] = sum_of<V>(sum);
    }
}

/// `Vectors` vectors of the output, which begin where `values` and `output` point.
template <int Size, int Vectors, typename Number>
MUSICSTEER_TARGET inline void mix_block(const float* weights, float total, const Number* values,
                                        std::int64_t count, float* output) {
    V::Floats even[Vectors] = {}, odd[Vectors] = {};
    std::int64_t j = 0;
    for (; j + 1 < count; j += 2, values += 2 * Size) {
        for (int i = 0; i < Vectors; ++i) {
            even[i] += weights[j] * load_numbers(values + i * V::kLanes);
            odd[i] += weights[j + 1] * load_numbers(values + Size + i * V::kLanes);
        }
    }
    for (int i = 0; i < Vectors; ++i) {
        if (j < count) even[i] += weights[j] * load_numbers(values + i * V::kLanes);
        V::store(output + i * V::kLanes, (even[i] + odd[i]) / total);
    }
}

/// output = sum over j of weights[j] x value j, divided by `total`.
template <int Size, typename Number>
MUSICSTEER_TARGET inline void mix_values(const float* weights, float total, const Number* values,
                                         std::int64_t count, float* output) {
    constexpr int kVectors = Size / V::kLanes;
    constexpr int kBlock = kVectors % 4 == 0 ? 4 : kVectors % 3 == 0 ? 3 : kVectors % 2 == 0 ? 2 : 1;
    for (int i = 0; i < Size; i += kBlock * V::kLanes)
        mix_block<Size, kBlock>(weights, total, values + i, count, output + i);
}

template <int Size, typename Number>
MUSICSTEER_TARGET inline void attend(const Heads<Number>& heads, std::int64_t first, std::int64_t last) {
    std::vector<float> scores = room_for_scores(heads.columns);
    float query[Size];
    for (std::int64_t cell = first; cell < last; ++cell) {
        const Head<Number> head = heads.at(cell);
        scale_query(head.query, heads.size, query);
        score_keys<Size>(query, head.keys, heads.columns, scores.data());
        const float total = exponentiate<V>(scores.data(), heads.columns, head.bias);
        mix_values<Size>(scores.data(), total, head.values, heads.columns, head.output);
    }
}

/// @returns false for head sizes that no function was compiled for.
template <typename Number>
MUSICSTEER_TARGET inline bool attend_by_size(const Heads<Number>& heads, std::int64_t first,
                                             std::int64_t last) {
    switch (heads.size) {
        case 16:
            return attend<16>(heads, first, last), true;
        case 32:
            return attend<32>(heads, first, last), true;
        case 48:
            return attend<48>(heads, first, last), true;
        case 64:
            return attend<64>(heads, first, last), true;
        case 128:
            return attend<128>(heads, first, last), true;
        default:
            return false;
    }
}
