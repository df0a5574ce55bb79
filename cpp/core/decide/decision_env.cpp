#include "core/decide/decision_env.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace foreshade {

float reward_unit_usd(const Site& site, const ClusterState& state) {
    float usd_kwh = 0.0F;
    for (const float usd : site.economy.usd_kwh) usd_kwh += usd;
    usd_kwh /= static_cast<float>(site.economy.usd_kwh.size());
    float idle_w = 0.0F;
    for (std::size_t h = 0; h < state.n_hosts(); ++h)
        if (site.rented[h] == 0) idle_w += state.hosts.idle_w[h];
    return std::max(1e-9F, idle_w * 1e-3F * usd_kwh * site.tick_s / 3600.0F);
}

float tick_reward(const Costs& cost, const Proposer::PriceFactors& factors, float unit_usd) {
    const auto of = [&](CostTerm term) { return cost[static_cast<std::size_t>(term)]; };
    const double usd =
        static_cast<double>(factors.energy) * (of(CostTerm::energy) + of(CostTerm::carbon)) +
        static_cast<double>(factors.unmet) * (of(CostTerm::unmet) + of(CostTerm::late) + of(CostTerm::downtime)) +
        static_cast<double>(factors.migration) * of(CostTerm::migration) +
        static_cast<double>(factors.boot) * of(CostTerm::boot) + of(CostTerm::rent);
    return -static_cast<float>(usd / static_cast<double>(unit_usd));
}

DecisionEnv::DecisionEnv(std::shared_ptr<const Plant> plant, std::shared_ptr<const Site> site,
                         const ProposerKnobs& knobs, const EpisodeKnobs& episode, std::uint64_t seed)
    : knobs_(episode), n_ticks_(plant->work.n_ticks), episodes_(seed, 0x65706973), simulator_(plant, seed),
      proposer_(site, knobs) {
    if (!(knobs_.price_spread >= 1.0F)) throw std::invalid_argument("price_spread: expected a factor of at least 1");
    if (knobs_.least_ticks < 0 || knobs_.most_ticks < knobs_.least_ticks)
        throw std::invalid_argument("episode: expected 0 <= least_ticks <= most_ticks");
    if (!(knobs_.discount > 0.0F && knobs_.discount <= 1.0F))
        throw std::invalid_argument("discount: expected above 0 and at most 1");
    simulator_.prepare(state_);
    reward_unit_usd_ = foreshade::reward_unit_usd(*site, state_);
    reset(seed);
}

void DecisionEnv::reset(std::uint64_t seed) {
    RandomStream draw(seed, 0x64726177);
    const auto factor = [&] {
        return static_cast<float>(
            std::exp((2.0 * draw.uniform() - 1.0) * std::log(static_cast<double>(knobs_.price_spread))));
    };
    factors_.energy = factor();
    factors_.unmet = factor();
    factors_.migration = factor();
    factors_.boot = factor();
    const auto last = static_cast<std::int64_t>(n_ticks_);
    std::int64_t length = last;
    if (knobs_.most_ticks > 0)
        length =
            knobs_.least_ticks +
            static_cast<std::int64_t>(draw.uniform() * static_cast<double>(knobs_.most_ticks - knobs_.least_ticks + 1));
    length = std::clamp<std::int64_t>(length, 1, last);
    const std::int64_t start =
        knobs_.random_start ? static_cast<std::int64_t>(draw.uniform() * static_cast<double>(last - length + 1)) : 0;
    end_ = start + length;
    simulator_.reset(seed, start);
    if (knobs_.scattered) simulator_.schedule();
    sums_ = {};
    proposer_.reset(factors_);
    look();
}

void DecisionEnv::look() {
    simulator_.observe(state_);
    proposer_.observe(state_);
}

float DecisionEnv::potential() const {
    return -static_cast<float>(proposer_.expected_usd_h()) * knobs_.shaping_h / reward_unit_usd_;
}

void DecisionEnv::advance(Step& step) {
    last_plan_.assign(proposer_.plan().begin(), proposer_.plan().end());
    for (const Action& action : last_plan_)
        if (simulator_.execute(action).refusal != Refusal::none) ++sums_.refused;
    simulator_.advance();
    const Costs& cost = simulator_.last_tick().cost;
    for (std::size_t c = 0; c < kCostTerms; ++c) sums_.cost[c] += cost[c];
    step.reward = tick_reward(cost, factors_, reward_unit_usd_);
    sums_.reward += static_cast<double>(step.reward);
    step.discount = knobs_.discount;
    step.ticked = true;
    ++sums_.ticks;
    step.done = simulator_.tick() >= end_;
    look();
}

Step DecisionEnv::step(std::size_t index) {
    Step step;
    const float before = knobs_.shaping_h > 0.0F ? potential() : 0.0F;
    step.invalid = !proposer_.possible(index);
    if (step.invalid) {
        index = 0;
        ++sums_.invalid;
    }
    ++sums_.steps;
    ++sums_.chosen[static_cast<std::size_t>(proposer_.candidate(index).kind)];
    if (index != 0) proposer_.choose(index);
    if (index == 0 || proposer_.decisions_left() == 0) advance(step);
    if (knobs_.shaping_h > 0.0F) step.reward += step.discount * potential() - before;
    return step;
}

void DecisionEnv::write(float* observation) const {
    const std::size_t k = proposer_.k();
    proposer_.write(observation, observation + context::count, observation + context::count + k * feature::count);
}

} // namespace foreshade
