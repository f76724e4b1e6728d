#include "audio/wav_stream.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <string>
#include <string_view>

#include "audio/sample_writing.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

constexpr std::string_view kUnknownSize = "\xFF\xFF\xFF\xFF";

/// The header that libsndfile writes for an empty file, with sizes that mean "until the end".
std::string without_sizes(std::string header) {
    const std::size_t data = header.rfind("data");
    if (!header.starts_with("RIFF") || data == std::string::npos)
        throw OutputError("libsndfile wrote an unexpected WAV header");
    header.replace(4, 4, kUnknownSize);
    header.replace(data + 4, 4, kUnknownSize);
    return header;
}

}  // namespace

/// What libsndfile writes to: a header, then samples. At the end it rewrites the header; that is dropped.
struct WavStream::File {
    SampleFormat format;
    Sink sink;
    SNDFILE* handle = nullptr;
    std::string header{};  ///< until the first samples come
    sf_count_t position = 0;
    sf_count_t length = 0;
    bool has_samples = false;
    bool is_closing = false;
    std::exception_ptr failure{};  ///< from the sink: nothing may be thrown through libsndfile

    sf_count_t take(const char* bytes, sf_count_t count) {
        const bool appends = position == length;
        position += count;
        length = std::max(length, position);
        if (is_closing || failure) return count;
        if (!has_samples) {
            if (!appends) header.clear();  // libsndfile writes it again, in full
            header.append(bytes, static_cast<std::size_t>(count));
            return count;
        }
        if (!appends) return count;  // the rewritten header
        try {
            sink({bytes, static_cast<std::size_t>(count)});
        } catch (...) {
            failure = std::current_exception();
        }
        return count;
    }
};

WavStream::WavStream(const Audio& like, SampleFormat format, Sink sink)
    : file_(std::make_unique<File>(File{format, std::move(sink)})) {
    SF_VIRTUAL_IO io{};
    io.get_filelen = [](void* file) { return static_cast<File*>(file)->length; };
    io.tell = [](void* file) { return static_cast<File*>(file)->position; };
    io.read = [](void*, sf_count_t, void*) { return sf_count_t{0}; };
    io.write = [](const void* bytes, sf_count_t count, void* file) {
        return static_cast<File*>(file)->take(static_cast<const char*>(bytes), count);
    };
    io.seek = [](sf_count_t offset, int whence, void* file) {
        auto* const stream = static_cast<File*>(file);
        const sf_count_t base = whence == SEEK_SET   ? 0
                                : whence == SEEK_CUR ? stream->position
                                                     : stream->length;
        return stream->position = base + offset;
    };
    SF_INFO info{};
    info.samplerate = static_cast<int>(like.sample_rate_hz);
    info.channels = static_cast<int>(like.channels);
    info.format = libsndfile_format(format);
    file_->handle = sf_open_virtual(&io, SFM_WRITE, &info, file_.get());
    if (!file_->handle) throw OutputError(std::string("cannot start a WAV: ") + sf_strerror(nullptr));
    sf_command(file_->handle, SFC_SET_ADD_PEAK_CHUNK, nullptr, SF_FALSE);
    sf_command(file_->handle, SFC_UPDATE_HEADER_NOW, nullptr, 0);
    file_->has_samples = true;
    const std::string header = without_sizes(std::move(file_->header));
    file_->sink(header);
}

WavStream::~WavStream() {
    file_->is_closing = true;
    if (file_->handle) sf_close(file_->handle);
}

void WavStream::write(std::span<const float> samples) {
    if (!std::all_of(samples.begin(), samples.end(), [](float sample) { return std::isfinite(sample); }))
        throw ModelError("a sample of the audio is not finite");
    const sf_count_t written = write_block(file_->handle, samples, file_->format);
    if (file_->failure) std::rethrow_exception(std::exchange(file_->failure, nullptr));
    if (written != std::ssize(samples))
        throw OutputError(std::string("cannot write a WAV: ") + sf_strerror(file_->handle));
}

}  // namespace musicsteer
