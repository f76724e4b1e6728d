// No include guard: step_attention.cpp includes this once for each kind of processor, in a namespace that has
// load_numbers, with MUSICSTEER_TARGET naming the instructions.

/// scores[j] = q . key j, for `count` keys.
template <int Vectors, typename Number>
MUSICSTEER_TARGET inline void score_keys(const float* q, const Number* keys, std::int64_t count,
                                         float* scores) {
    Floats query[Vectors];
    for (int i = 0; i < Vectors; ++i) query[i] = load(q + i * kFloatsInVector);
    for (std::int64_t j = 0; j < count; ++j, keys += Vectors * kFloatsInVector) {
        Floats sum = query[0] * load_numbers(keys);
        for (int i = 1; i < Vectors; ++i) sum += query[i] * load_numbers(keys + i * kFloatsInVector);
        scores[j] = sum_of(sum);
    }
}

/// output = sum over j of weights[j] x value j, divided by `total`.
template <int Vectors, typename Number>
MUSICSTEER_TARGET inline void mix_values(const float* weights, float total, const Number* values,
                                         std::int64_t count, float* output) {
    Floats even[Vectors] = {}, odd[Vectors] = {};
    constexpr int kSize = Vectors * kFloatsInVector;
    std::int64_t j = 0;
    for (; j + 1 < count; j += 2, values += 2 * kSize) {
        for (int i = 0; i < Vectors; ++i) {
            even[i] += weights[j] * load_numbers(values + i * kFloatsInVector);
            odd[i] += weights[j + 1] * load_numbers(values + kSize + i * kFloatsInVector);
        }
    }
    for (int i = 0; i < Vectors; ++i) {
        if (j < count) even[i] += weights[j] * load_numbers(values + i * kFloatsInVector);
        store(output + i * kFloatsInVector, (even[i] + odd[i]) / total);
    }
}

template <int Vectors, typename Number>
MUSICSTEER_TARGET inline void attend(const Heads<Number>& heads, std::int64_t first, std::int64_t last) {
    std::vector<float> scores = room_for_scores(heads.columns);
    float query[Vectors * kFloatsInVector];
    for (std::int64_t cell = first; cell < last; ++cell) {
        const Head<Number> head = heads.at(cell);
        scale_query(head.query, heads.size, query);
        score_keys<Vectors>(query, head.keys, heads.columns, scores.data());
        const float total = exponentiate(scores.data(), heads.columns, head.bias);
        mix_values<Vectors>(scores.data(), total, head.values, heads.columns, head.output);
    }
}

/// @returns false if the head size is not a multiple of the vector size.
template <typename Number>
MUSICSTEER_TARGET inline bool attend_by_size(const Heads<Number>& heads, std::int64_t first,
                                             std::int64_t last) {
    if (heads.size % kFloatsInVector != 0) return false;
    switch (heads.size / kFloatsInVector) {
        case 1:
            return attend<1>(heads, first, last), true;
        case 2:
            return attend<2>(heads, first, last), true;
        case 3:
            return attend<3>(heads, first, last), true;
        case 4:
            return attend<4>(heads, first, last), true;
        case 8:
            return attend<8>(heads, first, last), true;
        default:
            return false;
    }
}
