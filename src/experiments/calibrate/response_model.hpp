#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

namespace musicsteer {

/// A piecewise linear curve, flat beyond the outermost points.
struct Curve {
    std::vector<double> x;  ///< increasing
    std::vector<double> y;

    double at(double position) const;
};

/// The monotone curve nearest to the points (weighted least squares, pool adjacent violators), rising or
/// falling, whichever fits better.
Curve monotone_fit(const Curve& points, std::span<const double> weights);

/// Model of the effects of several vectors on several measures: the sum of each vector's effect alone,
/// corrected by joint observations. There is one strength for each vector.
class ResponseModel {
  public:
    /// @param effects  [measure][vector]: change of the measure over the vector's strength; 0 at strength 0.
    /// If measure and vector have the same index, the curve is made monotone.
    /// @param kl  [vector]: nats a code over the strength
    ResponseModel(std::vector<std::vector<Curve>> effects, std::vector<Curve> kl);

    std::size_t vectors() const { return root_kl_.size(); }
    std::size_t measures() const { return effects_.size(); }

    std::vector<double> predict(std::span<const double> strengths) const;
    double predict_kl(std::span<const double> strengths) const;

    /// Adds an observation: near these strengths the model then predicts it.
    /// @param weight  relative to that of other observations nearby
    void update(std::span<const double> strengths, std::span<const double> effects, double kl,
                double weight = 1.0);

    /// The strengths within the curves' ends and the cap whose predicted effects are nearest to the targets
    /// (least squares); of equally near ones the weakest. Searches a grid that is refined around its best
    /// point, for up to four vectors.
    std::vector<double> solve(std::span<const double> targets, double max_kl_nats) const;

  private:
    struct Observation {
        std::vector<double> strengths;
        std::vector<double> residuals;  ///< observed - sum of curves
        double kl_ratio = 1.0;          ///< observed / sum of curves
        double weight = 1.0;
    };

    std::vector<double> weights_at(std::span<const double> strengths) const;
    double cost(std::span<const double> strengths, std::span<const double> targets, double max_kl_nats) const;

    std::vector<std::vector<Curve>> effects_;
    std::vector<Curve> root_kl_;  ///< KL grows as the square of strength, so its root is nearly straight
    std::vector<Observation> observations_;
};

}  // namespace musicsteer
