#include "directions/vector_algebra.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/numbers.hpp"
#include "directions/random_directions.hpp"
#include "io/sha256.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using nlohmann::json;

constexpr double kMinRemainder = 1e-6;  // share of the norm; below it, float32 has only rounding errors

at::Tensor as_double(const at::Tensor& vector) {
    return vector.to(at::kDouble);
}

double norm_of(const at::Tensor& vector) {
    return as_double(vector).norm().item<double>();
}

void require_same_model(const VectorSource& a, const VectorSource& b) {
    const Provenance &of_a = a.vectors.provenance, &of_b = b.vectors.provenance;
    if (of_a.hidden_size == of_b.hidden_size && of_a.num_layers == of_b.num_layers) return;
    const auto shape = [](const Provenance& p) {
        return std::to_string(p.num_layers) + " layers of " + std::to_string(p.hidden_size);
    };
    throw InputError(b.file + ": vectors of a model with " + shape(of_b) + ", those of " + a.file + " with " +
                     shape(of_a) + ": they cannot be combined");
}

void require_same_points(const VectorSource& a, const VectorSource& b) {
    require_same_model(a, b);
    const auto require = [](const VectorSource& has, const VectorSource& lacks) {
        for (const auto& [name, direction] : has.vectors.directions) {
            if (lacks.vectors.directions.contains(name)) continue;
            throw InputError(lacks.file + ": has no vector at " + name + ", as " + has.file +
                             " does: extract both with the same --layers and --site");
        }
    };
    require(a, b);
    require(b, a);
}

/// Clears the fields on which the sources differ.
Provenance common_provenance(std::span<const VectorSource> sources) {
    Provenance common = sources.front().vectors.provenance;
    for (const VectorSource& source : sources) {
        const Provenance& other = source.vectors.provenance;
        if (other.model_name != common.model_name) common.model_name = "";
        if (other.weights_sha256 != common.weights_sha256) common.weights_sha256 = "";
        if (other.precision != common.precision) common.precision.clear();
        if (other.prompts_sha256 == common.prompts_sha256) continue;
        common.prompts_sha256 = "";
        common.positive_count = common.negative_count = 0;
    }
    return common;
}

/// Computes a hook point's vector from those of the sources, in float64.
using Combine = std::function<at::Tensor(const std::string& point)>;

VectorFile combine(std::span<const VectorSource> sources, const std::string& method,
                   const std::string& settings, const Combine& combined) {
    VectorFile result;
    result.provenance = common_provenance(sources);
    result.provenance.method = method;
    result.provenance.made_from = made_from_json(method, sources, settings);
    for (const auto& [name, stats] : sources.front().vectors.stats) {
        const at::Tensor vector = combined(name).to(at::kFloat);
        result.directions[name] = vector;
        DirectionStats& own = result.stats[name];
        own.norm = norm_of(vector);
        own.mean_residual_norm = stats.mean_residual_norm;
    }
    return result;
}

at::Tensor vector_at(const VectorSource& source, const std::string& point) {
    return as_double(source.vectors.directions.at(point));
}

/// An orthonormal basis of the span of these vectors (modified Gram-Schmidt).
std::vector<at::Tensor> basis_of(std::vector<at::Tensor> vectors) {
    std::vector<at::Tensor> basis;
    for (at::Tensor& vector : vectors) {
        const double before = norm_of(vector);
        for (const at::Tensor& unit : basis) vector = vector - vector.dot(unit) * unit;
        const double after = norm_of(vector);
        if (after > kMinRemainder * before) basis.push_back(vector / after);
    }
    return basis;
}

}  // namespace

VectorSource VectorSource::load(const std::filesystem::path& path) {
    VectorFile vectors = VectorFile::load(path);  // says more than the hash about what is no vector file
    return {path.filename().string(), sha256_of_file(path), std::move(vectors)};
}

std::string made_from_json(const std::string& operation, std::span<const VectorSource> sources,
                           const std::string& settings) {
    json made_from = {{"operation", operation}, {"sources", json::array()}};
    if (!settings.empty()) made_from["settings"] = json::parse(settings);
    for (const VectorSource& source : sources) {
        const Provenance& provenance = source.vectors.provenance;
        json entry = {{"file", source.file},
                      {"sha256", source.sha256},
                      {"concept", provenance.concept_name},
                      {"method", provenance.method}};
        if (!provenance.made_from.empty()) entry["made_from"] = json::parse(provenance.made_from);
        made_from["sources"].push_back(std::move(entry));
    }
    return made_from.dump();
}

VectorFile add_vectors(std::span<const VectorSource> sources) {
    if (sources.size() < 2) throw UsageError("a sum needs at least two vector files");
    for (const VectorSource& source : sources) require_same_points(sources.front(), source);
    VectorFile sum = combine(sources, "add", "", [&](const std::string& point) {
        at::Tensor total = vector_at(sources.front(), point);
        for (const VectorSource& source : sources.subspan(1)) total = total + vector_at(source, point);
        return total;
    });
    for (const VectorSource& source : sources.subspan(1)) {
        const Provenance& other = source.vectors.provenance;
        sum.provenance.concept_name += " + " + other.concept_name;
        sum.provenance.positive_label += " + " + other.positive_label;
        sum.provenance.negative_label += " + " + other.negative_label;
    }
    return sum;
}

VectorFile subtract_vectors(const VectorSource& a, const VectorSource& b) {
    require_same_points(a, b);
    const VectorSource sources[] = {a, b};
    VectorFile difference = combine(sources, "sub", "", [&](const std::string& point) {
        return vector_at(a, point) - vector_at(b, point);
    });
    difference.provenance.concept_name += " - " + b.vectors.provenance.concept_name;
    difference.provenance.positive_label += " + " + b.vectors.provenance.negative_label;
    difference.provenance.negative_label += " + " + b.vectors.provenance.positive_label;
    return difference;
}

VectorFile scale_vectors(const VectorSource& source, double factor) {
    if (!std::isfinite(factor) || factor == 0.0)
        throw UsageError("the factor must be a finite number other than 0");
    VectorFile scaled = combine({&source, 1}, "scale", json{{"by", factor}}.dump(),
                                [&](const std::string& point) { return vector_at(source, point) * factor; });
    for (auto& [name, stats] : scaled.stats) {
        stats.effect_size = source.vectors.stats.at(name).effect_size;
        if (!std::isfinite(stats.norm))
            throw UsageError("scaled by " + to_text(factor) + ", " + name + " is not finite");
    }
    // The sides are exchanged too, so the effect size stays the same.
    if (factor < 0.0) std::swap(scaled.provenance.positive_label, scaled.provenance.negative_label);
    return scaled;
}

VectorFile normalize_vectors(const VectorSource& source, double norm) {
    if (!std::isfinite(norm) || norm <= 0.0) throw UsageError("the norm must be a finite number above 0");
    VectorFile normed =
        combine({&source, 1}, "normalize", json{{"norm", norm}}.dump(), [&](const std::string& point) {
            const at::Tensor vector = vector_at(source, point);
            const double before = norm_of(vector);
            if (before == 0.0) throw InputError(source.file + ": " + point + " is zero: it has no direction");
            return vector * (norm / before);
        });
    for (auto& [name, stats] : normed.stats) stats.effect_size = source.vectors.stats.at(name).effect_size;
    return normed;
}

VectorFile orthogonalize_vectors(const VectorSource& source, std::span<const VectorSource> others) {
    if (others.empty()) throw UsageError("orthogonalize needs a vector to be orthogonal to");
    std::vector<VectorSource> all{source};
    for (const VectorSource& other : others) {
        require_same_points(source, other);
        all.push_back(other);
    }
    return combine(all, "orthogonalize", "", [&](const std::string& point) {
        std::vector<at::Tensor> vectors;
        for (const VectorSource& other : others) vectors.push_back(vector_at(other, point));
        at::Tensor rest = vector_at(source, point);
        const double before = norm_of(rest);
        for (const at::Tensor& unit : basis_of(std::move(vectors))) rest = rest - rest.dot(unit) * unit;
        if (norm_of(rest) <= kMinRemainder * before) {
            throw InputError(source.file + ": nothing of " + point +
                             " is left without the other vectors: they point the same way");
        }
        return rest;
    });
}

VectorFile random_vectors(const VectorSource& source, std::uint64_t seed) {
    VectorFile random = matched_random(source.vectors, seed);
    random.provenance.made_from = made_from_json("random", {&source, 1}, json{{"seed", seed}}.dump());
    return random;
}

std::map<std::string, double> vector_cosines(const VectorSource& a, const VectorSource& b) {
    require_same_model(a, b);
    std::map<std::string, double> cosines;
    for (const auto& [name, direction] : a.vectors.directions) {
        if (!b.vectors.directions.contains(name)) continue;
        const at::Tensor of_a = vector_at(a, name), of_b = vector_at(b, name);
        const double product = norm_of(of_a) * norm_of(of_b);
        cosines[name] = product > 0.0 ? of_a.dot(of_b).item<double>() / product : 0.0;
    }
    if (cosines.empty()) throw InputError(b.file + ": has no hook point in common with " + a.file);
    return cosines;
}

}  // namespace musicsteer
