// Loads a bundle and a vector file, and writes a steered WAV: the installed library, and nothing of `cli`.
#include <cstdlib>
#include <iostream>
#include <musicsteer/musicsteer.hpp>

int main(int argc, char** argv) try {
    using namespace musicsteer;
    if (argc != 4) throw UsageError("usage: steer BUNDLE VECTOR.safetensors OUT.wav");
    const Pipeline pipeline = Pipeline::load(argv[1]);
    GenerateOptions options;
    options.duration_s = 1.0;
    options.steering = {SteeringSetting::parse(std::string(argv[2]) + ":alpha=0.3:layers=all")};
    const Audio clip = pipeline.generate({.prompt = "solo piano", .seed = 7}, options);
    write_wav(argv[3], clip, SampleFormat::kPcm16, Overwrite::kRefuse);
    std::cout << measure_audio(clip).spectral_centroid_hz << " Hz mean spectral centroid\n";
    return EXIT_SUCCESS;
} catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << '\n';
    return EXIT_FAILURE;
}
