#include "io/sha256.hpp"

#include <openssl/evp.h>

#include <array>
#include <memory>
#include <vector>

#include "io/input_file.hpp"
#include "musicsteer/errors.hpp"

namespace musicsteer {
namespace {

class Digest {
  public:
    Digest() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
        require(context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
    }

    void update(std::string_view bytes) {
        require(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
    }

    std::string finish() {
        std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
        unsigned int size = 0;
        require(EVP_DigestFinal_ex(context_.get(), digest.data(), &size) == 1);
        constexpr char kDigits[] = "0123456789abcdef";
        std::string hex;
        for (unsigned int i = 0; i < size; ++i) {
            hex += kDigits[digest[i] >> 4];
            hex += kDigits[digest[i] & 0xF];
        }
        return hex;
    }

  private:
    static void require(bool done) {
        if (!done) throw Error("OpenSSL cannot compute SHA-256 here; is its default provider switched off?");
    }

    std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

}  // namespace

std::string sha256_of(std::string_view bytes) {
    Digest digest;
    digest.update(bytes);
    return digest.finish();
}

std::string sha256_of_file(const std::filesystem::path& path) {
    constexpr std::size_t kBlock = std::size_t{1} << 20;
    const InputFile file(path);
    Digest digest;
    std::vector<char> block(kBlock);
    while (const std::size_t count = file.read(block)) digest.update({block.data(), count});
    return digest.finish();
}

}  // namespace musicsteer
