// tokenize_probe TOKENIZER_JSON LINES: prints the ids of each line of LINES, a JSON string, as a JSON array;
// with LINES "-" reads them from stdin. A JSON string can hold what a text file's lines cannot: newlines and
// NUL.

#include <exception>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "tokenizer/tokenizer.hpp"

int main(int argc, char** argv) {
    if (argc != 3) {
        std::cerr << "usage: tokenize_probe TOKENIZER_JSON LINES\n";
        return 2;
    }
    try {
        const auto tokenizer = musicsteer::Tokenizer::load(argv[1]);
        std::ifstream file;
        const bool from_stdin = std::string(argv[2]) == "-";
        if (!from_stdin) file.open(argv[2]);
        std::istream& lines = from_stdin ? std::cin : file;
        for (std::string line; std::getline(lines, line);) {
            const std::string text = nlohmann::json::parse(line).get<std::string>();
            std::cout << nlohmann::json(tokenizer.encode(text)) << '\n';
        }
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
