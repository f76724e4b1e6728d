#pragma once

#include <string>
#include <vector>

namespace musicsteer {

/// A table of numbers as a picture.
struct Heatmap {
    std::string title;
    std::string subtitle;
    std::string column_heading;  ///< "layer"
    std::vector<std::string> columns;
    std::vector<std::string> rows;
    std::vector<std::vector<double>> values;         ///< [row][column]; NaN is drawn as an empty cell
    std::vector<std::vector<std::string>> tooltips;  ///< the same shape
    double full_scale = 1.0;  ///< the value, positive or negative, at which a colour is at its strongest
};

/// An SVG document that needs nothing else: positive values blue, negative ones orange, each number in its
/// cell. The same content gives the same bytes.
std::string heatmap_svg(const Heatmap& heatmap);

}  // namespace musicsteer
