// Many decision processes stepped together by a few threads in fixed chunks: how many changes no result.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <variant>
#include <vector>

#include "core/decide/decision_env.hpp"

namespace foreshade {

// One data centre that some of the environments play.
struct Variant {
    std::shared_ptr<const Plant> plant;
    std::shared_ptr<const Site> site;
};

// Memory of observations, (n_envs, width) numbers.
using Shown = std::variant<float*, Half*>;

// Where a step's results go; all (n_envs,) but the observations, which are (n_envs, width).
struct StepOutput {
    Shown observations;
    float* final_observations; // of environments that are done, as they were before their reset; may be null
    float* rewards;
    float* discounts;
    std::uint8_t* dones;
    std::uint8_t* invalid;
};

class DecisionBatch {
  public:
    // Environment i plays variant i modulo their number, with seed + i. Throws std::invalid_argument without variants,
    // environments or threads.
    DecisionBatch(std::vector<Variant> variants, const ProposerKnobs& knobs, const EpisodeKnobs& episode,
                  std::size_t n_envs, std::uint64_t seed, std::size_t threads);

    std::size_t size() const { return envs_.size(); }
    std::size_t width() const { return envs_.front()->width(); }
    DecisionEnv& env(std::size_t i) { return *envs_[i]; }

    // To these nobody else will write: what is there already is not written again.
    void keep(std::span<const Shown> observations);

    // Begins again as if made with `seed`.
    void reset(std::uint64_t seed, Shown observations);
    // Every environment goes on to its next episode.
    void reset(Shown observations);
    // One decision in every environment; those that are done begin their next episode.
    void step(std::span<const std::int64_t> actions, const StepOutput& out);
    // What the episode that ended in environment i's last step came to.
    const EpisodeSums& finished(std::size_t i) const { return finished_[i]; }
    // The rules' choice in each.
    void preferred(std::span<std::int64_t> out) const;

  private:
    struct Kept {
        Shown observations;
        std::vector<std::uint64_t> since; // (n_envs,) what writing there returned last; 0 = nothing was written
    };
    template <class Work> void each(const Work& work);
    Kept* kept(Shown observations);
    void write(std::size_t i, Shown observations, Kept* kept) const;

    std::vector<std::unique_ptr<DecisionEnv>> envs_;
    std::vector<EpisodeSums> finished_;
    std::vector<Kept> kept_;
    std::size_t threads_;
};

} // namespace foreshade
