// safetensors_probe IN OUT: reads IN and writes what it read to OUT.

#include <exception>
#include <iostream>

#include "io/safetensors.hpp"

int main(int argc, char** argv) {
    if (argc != 3) {
        std::cerr << "usage: safetensors_probe IN OUT\n";
        return 2;
    }
    try {
        musicsteer::save_tensors(argv[2], musicsteer::load_tensors(argv[1]), musicsteer::Overwrite::kRefuse);
    } catch (const std::exception& error) {
        std::cerr << "error: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
