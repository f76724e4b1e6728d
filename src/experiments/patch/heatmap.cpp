#include "experiments/patch/heatmap.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace musicsteer {
namespace {

constexpr int kCellWidth = 46;
constexpr int kCellHeight = 28;
constexpr int kLeft = 150;  // of the first column
constexpr int kTop = 96;    // of the first row
constexpr int kMargin = 20;
constexpr int kScaleHeight = 56;
constexpr int kMinWidth = 760;

struct Colour {
    int red, green, blue;
};
constexpr Colour kWhite{255, 255, 255};
constexpr Colour kPositive{8, 69, 148};
constexpr Colour kNegative{180, 71, 8};
constexpr double kDarkShare = 0.55;  // from here on, numbers are white

std::string escaped(const std::string& text) {
    std::string safe;
    for (const char letter : text) {
        switch (letter) {
            case '&':
                safe += "&amp;";
                break;
            case '<':
                safe += "&lt;";
                break;
            case '>':
                safe += "&gt;";
                break;
            case '"':
                safe += "&quot;";
                break;
            default:
                safe += letter;
        }
    }
    return safe;
}

std::string number(double value) {
    char text[32];
    const double size = std::abs(value);
    std::snprintf(text, sizeof text, size > 0.0 && size < 0.01 ? "%.1g" : "%.2f", value);
    return std::string(text) == "-0.00" ? "0.00" : text;
}

double share_of(double value, double full_scale) {
    return full_scale > 0.0 ? std::clamp(value / full_scale, -1.0, 1.0) : 0.0;
}

std::string fill(double share) {
    const Colour& end = share < 0.0 ? kNegative : kPositive;
    const auto mix = [&](int from, int to) {
        return static_cast<int>(std::lround(from + (to - from) * std::abs(share)));
    };
    char text[16];
    std::snprintf(text, sizeof text, "#%02x%02x%02x", mix(kWhite.red, end.red), mix(kWhite.green, end.green),
                  mix(kWhite.blue, end.blue));
    return text;
}

std::string text_at(int x, int y, const std::string& attributes, const std::string& content) {
    return "<text x=\"" + std::to_string(x) + "\" y=\"" + std::to_string(y) + "\" " + attributes + ">" +
           escaped(content) + "</text>\n";
}

std::string rectangle(int x, int y, int width, int height, const std::string& attributes) {
    return "<rect x=\"" + std::to_string(x) + "\" y=\"" + std::to_string(y) + "\" width=\"" +
           std::to_string(width) + "\" height=\"" + std::to_string(height) + "\" " + attributes;
}

std::string cell(const Heatmap& heatmap, std::size_t row, std::size_t column) {
    const int x = kLeft + static_cast<int>(column) * kCellWidth;
    const int y = kTop + static_cast<int>(row) * kCellHeight;
    const double value = heatmap.values[row][column];
    const double share = std::isfinite(value) ? share_of(value, heatmap.full_scale) : 0.0;
    std::string svg =
        "<g><title>" + escaped(heatmap.tooltips[row][column]) + "</title>" +
        rectangle(x, y, kCellWidth, kCellHeight, "fill=\"" + fill(share) + "\" stroke=\"#d0d0d0\"/>\n");
    if (std::isfinite(value)) {
        const std::string colour = std::abs(share) > kDarkShare ? "#ffffff" : "#202020";
        svg += text_at(x + kCellWidth / 2, y + 18,
                       "text-anchor=\"middle\" font-size=\"11\" fill=\"" + colour + "\"", number(value));
    }
    return svg + "</g>\n";
}

/// The bar of colours below the table.
std::string colour_scale(const Heatmap& heatmap, int y) {
    constexpr int kSteps = 20;
    constexpr int kStepWidth = 12;
    std::string svg;
    for (int i = 0; i <= kSteps; ++i) {
        const double share = 2.0 * i / kSteps - 1.0;
        svg += rectangle(kLeft + i * kStepWidth, y, kStepWidth, 12, "fill=\"" + fill(share) + "\"/>\n");
    }
    const std::string style = "text-anchor=\"middle\" font-size=\"11\" fill=\"#505050\"";
    const int width = (kSteps + 1) * kStepWidth;
    svg += text_at(kLeft, y + 26, style, number(-heatmap.full_scale));
    svg += text_at(kLeft + width / 2, y + 26, style, "0");
    svg += text_at(kLeft + width, y + 26, style, number(heatmap.full_scale));
    return svg;
}

}  // namespace

std::string heatmap_svg(const Heatmap& heatmap) {
    const int table_width = static_cast<int>(heatmap.columns.size()) * kCellWidth;
    const int table_height = static_cast<int>(heatmap.rows.size()) * kCellHeight;
    const int width = std::max(kLeft + table_width + kMargin, kMinWidth);
    const int height = kTop + table_height + kScaleHeight + kMargin;
    const std::string size = std::to_string(width), tall = std::to_string(height);
    std::string svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + size + "\" height=\"" + tall +
                      "\" viewBox=\"0 0 " + size + " " + tall +
                      "\" font-family=\"DejaVu Sans, Verdana, sans-serif\">\n";
    svg += rectangle(0, 0, width, height, "fill=\"#ffffff\"/>\n");
    svg += text_at(kMargin, 28, "font-size=\"16\" font-weight=\"bold\" fill=\"#202020\"", heatmap.title);
    svg += text_at(kMargin, 48, "font-size=\"12\" fill=\"#505050\"", heatmap.subtitle);
    svg += text_at(kLeft, 72, "font-size=\"12\" fill=\"#505050\"", heatmap.column_heading);
    for (std::size_t column = 0; column < heatmap.columns.size(); ++column) {
        svg += text_at(kLeft + static_cast<int>(column) * kCellWidth + kCellWidth / 2, kTop - 6,
                       "text-anchor=\"middle\" font-size=\"12\" fill=\"#202020\"", heatmap.columns[column]);
    }
    for (std::size_t row = 0; row < heatmap.rows.size(); ++row) {
        svg += text_at(kLeft - 8, kTop + static_cast<int>(row) * kCellHeight + 18,
                       "text-anchor=\"end\" font-size=\"12\" fill=\"#202020\"", heatmap.rows[row]);
        for (std::size_t column = 0; column < heatmap.columns.size(); ++column)
            svg += cell(heatmap, row, column);
    }
    svg += colour_scale(heatmap, kTop + table_height + 20);
    return svg + "</svg>\n";
}

}  // namespace musicsteer
