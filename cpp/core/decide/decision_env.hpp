// One simulated data centre as a decision process: a step is one candidate chosen.
//
// `wait`, or the last decision of a tick, carries the tick's plan out and lets the world go on by one tick. Reward is
// money, negative, in units of what the fleet's idle power costs in a tick; between decisions of one tick the discount
// is 1, across a tick it is `discount` (shaping: Ng, Harada, Russell, ICML 1999, with potential = minus the expected
// cost of the planned state over the shaping horizon).
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "core/cluster_state.hpp"
#include "core/decide/proposer.hpp"
#include "core/half.hpp"
#include "core/random.hpp"
#include "core/simulator.hpp"

namespace foreshade {

struct EpisodeKnobs {
    std::int64_t least_ticks = 0, most_ticks = 0; // length of an episode; 0 = to the workload's end
    bool random_start = false;                    // else the workload's first tick
    bool scattered = false;    // the world's own scheduler has placed the first VMs, else the agent does
    float price_spread = 1.0F; // each price times a factor, log-uniform from 1/x to x
    float discount = 0.99F;    // of one tick
    float shaping_h = 0.0F;    // horizon of the potential; 0 = rewards as they are paid
};

// What a seed makes of an episode.
struct EpisodeDraw {
    Proposer::PriceFactors factors;
    std::int64_t start = 0, end = 0; // ticks of the workload
};
EpisodeDraw draw_episode(const EpisodeKnobs& knobs, std::size_t n_ticks, std::uint64_t seed);

// The seed of the episode after `number` others of an environment that began with `seed`; of the first it is `seed`.
std::uint64_t episode_seed(std::uint64_t seed, std::uint64_t number);

// What a tick earned: minus its cost at these prices, in `unit_usd`.
float tick_reward(const Costs& cost, const Proposer::PriceFactors& factors, float unit_usd);

// Minus the expected cost of the planned state over the shaping horizon, in the unit of rewards.
float potential(const Proposer& proposer, float shaping_h, float unit_usd);

// A reward with the change of the potential added.
inline float shaped(float reward, float discount, float before, float after) {
    return reward + (discount * after - before);
}

// What the idle power of our own hosts costs in a tick, at the mean price; what rewards are counted in.
float reward_unit_usd(const Site& site, const ClusterState& state);

// One transition.
struct Step {
    float reward = 0.0F;
    float earned = 0.0F; // the same without shaping
    float discount = 1.0F;
    bool ticked = false;  // the world went on
    bool done = false;    // truncated: by length, or where the workload ends
    bool invalid = false; // the index was masked and acted as wait
};

// What an episode came to.
struct EpisodeSums {
    Costs cost{}; // USD at the scenario's prices
    std::array<std::int64_t, kCandidateKinds> chosen{};
    double reward = 0.0; // unshaped, not discounted
    std::int64_t ticks = 0, steps = 0, refused = 0, invalid = 0;
};

class DecisionEnv {
  public:
    DecisionEnv(const std::shared_ptr<const Plant>& plant, const std::shared_ptr<const Site>& site,
                const ProposerKnobs& knobs, const EpisodeKnobs& episode, std::uint64_t seed);

    // A second one in the same place, which goes on by itself: same plan, same hidden future.
    DecisionEnv(const DecisionEnv& other);
    DecisionEnv& operator=(const DecisionEnv&) = delete;

    // The first episode of `seed`; the same seed gives the same one, and the same ones after it.
    void reset(std::uint64_t seed);
    // The next episode.
    void reset();

    Step step(std::size_t index);

    const Proposer& proposer() const { return proposer_; }
    const EpisodeSums& sums() const { return sums_; }
    const Simulator& simulator() const { return simulator_; }
    Simulator& simulator() { return simulator_; }
    const ClusterState& planned() const { return state_; }
    std::size_t width() const { return Proposer::width(proposer_.k()); }
    // [context | candidates | mask], width() numbers, float or Half; `since` as of Proposer::write().
    template <class Number> std::uint64_t write(Number* observation, std::uint64_t since = 0) const;
    std::span<const Action> last_plan() const { return last_plan_; }
    // Minus what the cluster as planned is expected to cost an hour, in the unit of rewards.
    float potential_of_an_hour() const { return potential(proposer_, 1.0F, reward_unit_usd_); }
    const Costs& last_cost() const { return simulator_.last_tick().cost; }

  private:
    void begin(std::uint64_t seed);
    void look();
    void advance(Step& step);
    float potential_now() const { return potential(proposer_, knobs_.shaping_h, reward_unit_usd_); }

    EpisodeKnobs knobs_;
    std::size_t n_ticks_;
    std::uint64_t seed_ = 0, episode_ = 0;
    Simulator simulator_;
    ClusterState state_;
    Proposer proposer_;
    Proposer::PriceFactors factors_;
    EpisodeSums sums_;
    std::int64_t end_ = 0;
    float reward_unit_usd_ = 1.0F;
    std::vector<Action> last_plan_;
};

} // namespace foreshade
