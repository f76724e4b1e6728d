#include "experiments/calibrate/response_model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

using testing::DoubleNear;
using testing::ElementsAre;
using testing::Pointwise;

const std::vector<double> kGrid = {-1.0, -0.5, 0.0, 0.5, 1.0};

Curve line(double slope) {
    Curve curve{kGrid, {}};
    for (const double x : kGrid) curve.y.push_back(slope * x);
    return curve;
}

Curve parabola(double factor) {
    Curve curve{kGrid, {}};
    for (const double x : kGrid) curve.y.push_back(factor * x * x);
    return curve;
}

TEST(Curve, IsStraightBetweenPointsAndFlatBeyond) {
    const Curve curve{{0.0, 1.0, 3.0}, {2.0, 4.0, 0.0}};
    EXPECT_DOUBLE_EQ(curve.at(-5.0), 2.0);
    EXPECT_DOUBLE_EQ(curve.at(0.25), 2.5);
    EXPECT_DOUBLE_EQ(curve.at(1.0), 4.0);
    EXPECT_DOUBLE_EQ(curve.at(2.0), 2.0);
    EXPECT_DOUBLE_EQ(curve.at(9.0), 0.0);
}

TEST(MonotoneFit, PoolsWhatIsOutOfOrder) {
    const std::vector<double> equal(5, 1.0);
    EXPECT_THAT(monotone_fit({kGrid, {1, 2, 3, 4, 5}}, equal).y, ElementsAre(1, 2, 3, 4, 5));
    EXPECT_THAT(monotone_fit({kGrid, {1, 4, 2, 3, 9}}, equal).y, ElementsAre(1, 3, 3, 3, 9));
    EXPECT_THAT(monotone_fit({kGrid, {9, 3, 2, 4, 1}}, equal).y, ElementsAre(9, 3, 3, 3, 1));
}

TEST(MonotoneFit, WeighsPoints) {
    EXPECT_THAT(monotone_fit({{0, 1, 2}, {0, 3, 1}}, std::vector<double>{1, 1, 3}).y,
                ElementsAre(0, 1.5, 1.5));
}

TEST(ResponseModel, SolvesForOneVector) {
    const ResponseModel model({{line(0.4)}}, {parabola(1.0)});
    EXPECT_THAT(model.predict(std::vector<double>{0.25}), ElementsAre(DoubleNear(0.1, 1e-12)));
    EXPECT_NEAR(model.solve(std::vector<double>{0.1}, 10.0).at(0), 0.25, 1e-3);
    EXPECT_NEAR(model.solve(std::vector<double>{-0.3}, 10.0).at(0), -0.75, 1e-3);
}

TEST(ResponseModel, StopsAtTheCapAndAtTheEnds) {
    const ResponseModel model({{line(0.4)}}, {parabola(1.0)});
    EXPECT_NEAR(model.solve(std::vector<double>{0.4}, 0.25).at(0), 0.5, 1e-3);
    EXPECT_NEAR(model.solve(std::vector<double>{0.9}, 10.0).at(0), 1.0, 1e-9);
}

TEST(ResponseModel, OfEquallyGoodStrengthsTakesTheWeakest) {
    const ResponseModel model({{Curve{kGrid, {-0.2, -0.2, 0.0, 0.2, 0.2}}}}, {parabola(1.0)});
    EXPECT_NEAR(model.solve(std::vector<double>{0.2}, 10.0).at(0), 0.5, 1e-3);
}

TEST(ResponseModel, MakesUpForLeaks) {
    // measure 0 = 0.5 a + 0.2 b, measure 1 = -0.3 a + 0.4 b
    const ResponseModel model({{line(0.5), line(0.2)}, {line(-0.3), line(0.4)}},
                              {parabola(1.0), parabola(1.0)});
    const std::vector<double> strengths = model.solve(std::vector<double>{0.2, 0.1}, 10.0);
    EXPECT_THAT(model.predict(strengths), Pointwise(DoubleNear(2e-3), {0.2, 0.1}));
    EXPECT_THAT(strengths, ElementsAre(DoubleNear(0.06 / 0.26, 0.01), DoubleNear(0.11 / 0.26, 0.01)));
}

TEST(ResponseModel, LearnsWhereItIsTold) {
    ResponseModel model({{line(0.4)}}, {parabola(1.0)});
    model.update(std::vector<double>{0.5}, std::vector<double>{0.3}, 0.5);
    EXPECT_THAT(model.predict(std::vector<double>{0.5}), ElementsAre(DoubleNear(0.3, 1e-9)));
    EXPECT_NEAR(model.predict_kl(std::vector<double>{0.5}), 0.5, 1e-9);
    model.update(std::vector<double>{-0.5}, std::vector<double>{-0.2}, 0.25);
    EXPECT_THAT(model.predict(std::vector<double>{0.5}), ElementsAre(DoubleNear(0.3, 1e-3)));
    EXPECT_THAT(model.predict(std::vector<double>{-0.5}), ElementsAre(DoubleNear(-0.2, 1e-3)));
}

TEST(ResponseModel, WeighsObservationsByTheirWeight) {
    ResponseModel model({{line(0.4)}}, {parabola(1.0)});
    model.update(std::vector<double>{0.5}, std::vector<double>{0.3}, 0.25, 48.0);
    model.update(std::vector<double>{0.5}, std::vector<double>{0.2}, 0.5, 144.0);
    EXPECT_THAT(model.predict(std::vector<double>{0.5}), ElementsAre(DoubleNear(0.225, 1e-9)));
    EXPECT_NEAR(model.predict_kl(std::vector<double>{0.5}), 0.4375, 1e-9);
}

TEST(ResponseModel, TakesOneToFourVectors) {
    EXPECT_THROW(ResponseModel({}, {}), UsageError);
    const std::vector<std::vector<Curve>> effects(5, std::vector<Curve>(5, line(1.0)));
    EXPECT_THROW(ResponseModel(effects, std::vector<Curve>(5, parabola(1.0))), UsageError);
}

}  // namespace
}  // namespace musicsteer
