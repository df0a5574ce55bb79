// Many environments of one plant, advanced by a few threads in fixed chunks: the result does not depend on how many.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/simulator.hpp"

namespace foreshade {

class Batch {
  public:
    // Environment i is seeded with seed + i. Throws std::invalid_argument unless n_envs and threads are positive.
    Batch(std::shared_ptr<const Plant> plant, std::size_t n_envs, std::uint64_t seed, std::size_t threads);

    // Plays `ticks` ticks in every environment; one that has ended starts anew at its start tick.
    void advance(std::size_t ticks);

    std::size_t size() const { return envs_.size(); }
    Simulator& env(std::size_t i) { return envs_[i]; }
    void start_at(std::size_t i, std::int64_t tick); // resets one environment to a start tick
    std::size_t memory_bytes() const;                // of all environments, without what they share
    std::size_t bytes_per_tick() const;              // that a quiet tick of one environment reads and writes

  private:
    std::shared_ptr<const Plant> plant_;
    std::vector<Simulator> envs_;
    std::vector<std::int64_t> start_ticks_;
    std::uint64_t seed_;
    std::size_t threads_;
};

} // namespace foreshade
