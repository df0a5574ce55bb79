// The online engine: every series and horizon has sixteen experts, a mixture of them chosen by pinball loss, and a
// correction of the mixture's width that keeps its coverage. One call takes one sample of every series.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/forecast/config.hpp"
#include "core/forecast/series.hpp"

namespace foreshade::forecast {

// What was met in the samples and not used.
struct Rejected {
    std::uint64_t missing = 0;
    std::uint64_t negative = 0;
    std::uint64_t unbounded = 0; // infinite, or beyond 1e30
};

class Engine {
  public:
    // Throws std::invalid_argument for horizons that do not ascend, strides of 0 or more than kMaxHorizons.
    Engine(EngineConfig config, std::size_t n_series);

    // One step for `samples.size() / steps` series; `samples` is (n_series, steps), row by row.
    void observe(std::span<const float> samples, std::size_t steps);

    // (n_series, n_horizons, kLevels); finite, not negative, ascending in the level.
    void predict(std::span<float> out) const;

    // (n_series, kExperts, kLevels) of one horizon, before they are mixed.
    void experts(std::size_t horizon, std::span<float> out) const;

    void add(std::size_t count);                   // series without a past, at the end
    void remove(std::span<const std::size_t> who); // the others keep their order

    std::string save() const;
    void load(const std::string& bytes); // throws std::invalid_argument for another configuration's bytes

    std::size_t size() const { return series_.size(); }
    std::size_t n_horizons() const { return config_.horizons.size(); }
    const EngineConfig& config() const { return config_; }
    const Rejected& rejected() const { return rejected_; }
    std::size_t bytes_per_series() const;
    std::size_t memory_bytes() const;

  private:
    struct Tally; // what one chunk of series adds to the pools

    void step(const float* samples, std::size_t stride);
    void step_chunk(std::size_t from, std::size_t to, const float* samples, std::size_t stride, Tally& tally);
    void learn_due(std::size_t s, float value, Tally& tally);
    void forecast(std::size_t s, std::size_t h, Origin& out) const;
    void answer(std::size_t s, std::size_t h, const Row& mixture, Row& out) const;
    void pool(const std::vector<Tally>& tallies);
    void refresh_shared();
    void shape();
    template <class Body> void in_chunks(const Body& body) const;

    EngineConfig config_;
    std::vector<std::uint32_t> first_slot_; // (n_horizons + 1): where a horizon's open origins begin in a series
    std::uint32_t clock_ = 0;
    std::uint32_t next_phase_ = 0;
    std::vector<Series> series_;
    std::vector<Horizon> horizons_; // (n_series, n_horizons)
    std::vector<Origin> open_;      // (n_series, first_slot_.back())
    std::vector<Pool> pools_;       // (n_horizons)
    std::vector<Pool> shared_;      // the pools' shapes, weighted as a prior
    Rejected rejected_;
};

} // namespace foreshade::forecast
