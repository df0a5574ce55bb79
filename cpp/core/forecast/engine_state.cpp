// The engine's memory as bytes: saved, loaded and counted.
#include <cstring>
#include <stdexcept>

#include "core/forecast/engine.hpp"

namespace foreshade::forecast {

namespace {

template <class T> void put(std::string& bytes, const T* from, std::size_t n) {
    bytes.append(reinterpret_cast<const char*>(from), n * sizeof(T));
}

template <class T> void take(const std::string& bytes, std::size_t& at, T* to, std::size_t n) {
    if (bytes.size() - at < n * sizeof(T)) throw std::invalid_argument("saved forecaster: the bytes end too early");
    std::memcpy(to, bytes.data() + at, n * sizeof(T));
    at += n * sizeof(T);
}

} // namespace

std::string Engine::save() const {
    std::string bytes;
    const auto key = configuration();
    const std::uint64_t count = size();
    put(bytes, key.data(), key.size());
    put(bytes, &count, 1);
    put(bytes, &clock_, 1);
    put(bytes, &next_phase_, 1);
    put(bytes, &rejected_, 1);
    put(bytes, pools_.data(), pools_.size());
    each_array(*this, [&](const auto& values, std::size_t) { put(bytes, values.data(), values.size()); });
    return bytes;
}

void Engine::load(const std::string& bytes) {
    const std::invalid_argument other("saved forecaster: the bytes are of another configuration or version");
    std::size_t at = 0;
    const auto expected = configuration();
    auto key = expected;
    std::uint64_t count = 0;
    take(bytes, at, key.data(), key.size());
    if (key != expected) throw other;
    take(bytes, at, &count, 1);
    const std::size_t body = 2 * sizeof(std::uint32_t) + sizeof(Rejected) + pools_.size() * sizeof(Pool);
    if (bytes.size() - at < body || bytes.size() - at - body != count * bytes_per_series()) throw other;
    series_.resize(count);
    shape();
    take(bytes, at, &clock_, 1);
    take(bytes, at, &next_phase_, 1);
    take(bytes, at, &rejected_, 1);
    take(bytes, at, pools_.data(), pools_.size());
    each_array(*this, [&](auto& values, std::size_t) { take(bytes, at, values.data(), values.size()); });
    refresh_shared();
}

std::vector<std::uint32_t> Engine::configuration() const {
    std::vector<std::uint32_t> out{0x32474e45U, static_cast<std::uint32_t>(n_horizons()), config_.young_steps,
                                   config_.extra_rows};
    for (const auto* part : {&config_.horizons, &config_.strides, &config_.young_strides}) {
        out.insert(out.end(), part->begin(), part->end());
    }
    return out;
}

std::size_t Engine::bytes_per_series() const {
    std::size_t sum = 0;
    each_array(*this, [&](const auto& values, std::size_t each) { sum += each * sizeof(values[0]); });
    return sum;
}

std::size_t Engine::memory_bytes() const {
    std::size_t sum = (pools_.size() + shared_.size()) * sizeof(Pool);
    each_array(*this, [&](const auto& values, std::size_t) { sum += values.capacity() * sizeof(values[0]); });
    return sum;
}

} // namespace foreshade::forecast
