// What a decision is worth, played out: a copy of the data centre takes a candidate, then the rules go on.
//
// All candidates meet the same future, the true one of the trace or that with demand scaled a little, which moves the
// outcome of ties and so tells luck from worth. An actor that sees observations alone and is fitted to these costs
// learns their expectation, so that the true future may be used (Ross & Bagnell, "Reinforcement and Imitation Learning
// via Interactive No-Regret Learning", 2014).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/decide/decision_env.hpp"

namespace foreshade {

struct RolloutKnobs {
    std::vector<std::int64_t> marks{24}; // ticks, ascending: after each, what was paid so far is noted
    std::vector<float> futures{1.0F};    // times the hidden demand
    float discount = 1.0F;               // of a tick
};

// What candidate `first` leads to in one future, at each mark in `paid`: cost so far, discounted, and in `ahead` what
// the cluster as planned is then expected to cost an hour (0 where the episode has ended), both in the unit of rewards.
// A candidate that is masked acts as wait.
void roll_out(const DecisionEnv& from, std::size_t first, float future, const RolloutKnobs& knobs,
              std::span<float> paid, std::span<float> ahead);

} // namespace foreshade
