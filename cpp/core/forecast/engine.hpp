// The online engine: every series and horizon has a few experts, a mixture of them chosen by pinball loss, and a
// correction of the mixture's width that keeps its coverage. One call takes one sample of every series. What experts
// know follows every sample; what the mixture learns, it learns from some origins (schedule.hpp); forecasts are made
// when asked for.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/forecast/config.hpp"
#include "core/forecast/mixture.hpp"
#include "core/forecast/schedule.hpp"
#include "core/forecast/series.hpp"

namespace foreshade::forecast {

// What was met in the samples and not used.
struct Rejected {
    std::uint64_t missing = 0;
    std::uint64_t negative = 0;
    std::uint64_t unbounded = 0; // infinite, or beyond 1e30
};

// What all series share, per horizon.
struct Pool {
    std::array<Record, kMaxRows> record{};
    std::array<std::array<float, kBinRow>, kPoints> errors{};
    std::array<std::array<float, kRanksAhead>, kRanksNow> ranks{};
    Row width{};
};

class Engine {
  public:
    // Throws std::invalid_argument for horizons that do not ascend, strides of 0, more than kMaxHorizons or
    // kMaxExtraRows.
    Engine(EngineConfig config, std::size_t n_series);

    // One step for `samples.size() / steps` series; `samples` is (n_series, steps), row by row.
    void observe(std::span<const float> samples, std::size_t steps);

    // (n_series, n_horizons, kLevels); finite, not negative, ascending in the level.
    void predict(std::span<float> out) const;

    // The quantiles that an expert from outside gives for what comes after the newest sample: (n_series, n_horizons,
    // kLevels), NaN at the first level = it says nothing. They stand until they are offered anew; origins of the newest
    // sample learn from them.
    void offer(std::size_t extra_row, std::span<const float> quantiles);

    // (n_series, n_rows, kLevels) of one horizon, before they are mixed.
    void experts(std::size_t horizon, std::span<float> out) const;

    void add(std::size_t count);                   // series without a past, at the end
    void remove(std::span<const std::size_t> who); // the others keep their order

    std::string save() const;
    void load(const std::string& bytes); // throws std::invalid_argument for another configuration's bytes

    std::size_t size() const { return series_.size(); }
    std::size_t n_horizons() const { return config_.horizons.size(); }
    std::size_t n_rows() const { return kExperts + config_.extra_rows; }
    const EngineConfig& config() const { return config_; }
    const Rejected& rejected() const { return rejected_; }
    std::size_t bytes_per_series() const;
    std::size_t memory_bytes() const;

  private:
    struct Tally; // what one chunk of series adds to the pools
    struct Beats; // of one step: which series learn, which become origins
    struct Event; // an origin that begins or whose outcome is known
    struct Draft; // one forecast on its way: the rows, their mixture
    using PackedRow = std::array<std::uint16_t, kRow>;

    Beats beats() const;
    void step(const float* samples, std::size_t stride);
    void step_chunk(std::size_t from, std::size_t to, const float* samples, std::size_t stride, const Beats& beats,
                    Tally& tally);
    void step_block(std::size_t from, std::size_t to, const float* samples, std::size_t stride, const Beats& beats,
                    Tally& tally);
    static void absorb(Series& s, const Beats& beats, float value);
    void learn(const Event& event, float value, Tally& tally);
    void draft(std::size_t i, std::size_t h, Draft& out) const;
    void answer(std::size_t i, std::size_t h, const Row& mixture, Row& out) const;
    void open(const Event& event);
    void pool(const std::vector<Tally>& tallies);
    void refresh_shared();
    void shape();
    std::size_t slots() const { return first_slot_.back(); }
    template <class Body> void in_chunks(const Body& body) const;
    // visit(array, entries per series) for everything that is kept per series.
    template <class Self, class Visit> static void each_array(Self& self, const Visit& visit);
    std::vector<std::uint32_t> configuration() const; // what a saved state must agree with

    EngineConfig config_;
    std::vector<std::uint32_t> first_slot_; // (n_horizons + 1): where a horizon's open origins begin in a series
    std::uint32_t clock_ = 0;
    std::uint32_t next_phase_ = 0;
    std::vector<Series> series_;
    std::vector<Horizon> horizons_;    // (n_series, n_horizons)
    std::vector<Record> records_;      // (n_series, n_horizons, n_rows)
    std::vector<Origin> open_;         // (n_series, slots)
    std::vector<PackedRow> open_rows_; // (n_series, slots, n_rows)
    std::vector<Row> offered_;         // (n_series, n_horizons, extra_rows)
    std::vector<Pool> pools_;          // (n_horizons)
    std::vector<Pool> shared_;         // the pools, weighted as a prior
    Rejected rejected_;
};

template <class Self, class Visit> void Engine::each_array(Self& self, const Visit& visit) {
    const std::size_t horizons = self.n_horizons();
    visit(self.series_, std::size_t{1});
    visit(self.horizons_, horizons);
    visit(self.records_, horizons * self.n_rows());
    visit(self.open_, self.slots());
    visit(self.open_rows_, self.slots() * self.n_rows());
    visit(self.offered_, horizons * self.config_.extra_rows);
}

} // namespace foreshade::forecast
