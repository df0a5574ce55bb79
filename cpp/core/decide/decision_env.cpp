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

float potential(const Proposer& proposer, float shaping_h, float unit_usd) {
    return -static_cast<float>(proposer.expected_usd_h()) * shaping_h / unit_usd;
}

DecisionEnv::DecisionEnv(const std::shared_ptr<const Plant>& plant, const std::shared_ptr<const Site>& site,
                         const ProposerKnobs& knobs, const EpisodeKnobs& episode, std::uint64_t seed)
    : knobs_(episode), n_ticks_(plant->work.n_ticks), simulator_(plant, seed), proposer_(site, knobs) {
    if (!(knobs_.price_spread >= 1.0F)) throw std::invalid_argument("price_spread: expected a factor of at least 1");
    if (knobs_.least_ticks < 0 || knobs_.most_ticks < knobs_.least_ticks)
        throw std::invalid_argument("episode: expected 0 <= least_ticks <= most_ticks");
    if (!(knobs_.discount > 0.0F && knobs_.discount <= 1.0F))
        throw std::invalid_argument("discount: expected above 0 and at most 1");
    simulator_.prepare(state_);
    reward_unit_usd_ = foreshade::reward_unit_usd(*site, state_);
    reset(seed);
}

DecisionEnv::DecisionEnv(const DecisionEnv& other)
    : knobs_(other.knobs_), n_ticks_(other.n_ticks_), seed_(other.seed_), episode_(other.episode_),
      simulator_(other.simulator_), state_(other.state_), proposer_(other.proposer_, state_), factors_(other.factors_),
      sums_(other.sums_), end_(other.end_), reward_unit_usd_(other.reward_unit_usd_), last_plan_(other.last_plan_) {}

EpisodeDraw draw_episode(const EpisodeKnobs& knobs, std::size_t n_ticks, std::uint64_t seed) {
    RandomStream draw(seed, 0x64726177);
    const auto factor = [&] {
        const double spread = std::log(static_cast<double>(knobs.price_spread));
        return static_cast<float>(std::exp((2.0 * draw.uniform() - 1.0) * spread));
    };
    EpisodeDraw drawn;
    drawn.factors.energy = factor();
    drawn.factors.unmet = factor();
    drawn.factors.migration = factor();
    drawn.factors.boot = factor();
    const auto below = [&](std::int64_t n) { // 0 to n - 1
        return static_cast<std::int64_t>(draw.uniform() * static_cast<double>(n));
    };
    const auto last = static_cast<std::int64_t>(n_ticks);
    std::int64_t length = last;
    if (knobs.most_ticks > 0) length = knobs.least_ticks + below(knobs.most_ticks - knobs.least_ticks + 1);
    length = std::clamp<std::int64_t>(length, 1, last);
    if (knobs.random_start) drawn.start = below(last - length + 1);
    drawn.end = drawn.start + length;
    return drawn;
}

std::uint64_t episode_seed(std::uint64_t seed, std::uint64_t number) {
    return number == 0 ? seed : RandomStream(seed, 0x65706973 + number).next();
}

void DecisionEnv::reset(std::uint64_t seed) {
    seed_ = seed;
    episode_ = 0;
    begin(seed);
}

void DecisionEnv::reset() {
    begin(episode_seed(seed_, ++episode_));
}

void DecisionEnv::begin(std::uint64_t seed) {
    const EpisodeDraw drawn = draw_episode(knobs_, n_ticks_, seed);
    factors_ = drawn.factors;
    end_ = drawn.end;
    simulator_.reset(seed, drawn.start);
    if (knobs_.scattered) simulator_.schedule();
    sums_ = {};
    proposer_.reset(factors_);
    simulator_.observe(state_);
    proposer_.observe(state_);
}

void DecisionEnv::look() {
    proposer_.observe(state_, simulator_.observe_again(state_, proposer_.booked()));
}

void DecisionEnv::advance(Step& step) {
    last_plan_.assign(proposer_.plan().begin(), proposer_.plan().end());
    simulator_.fetch(last_plan_);
    for (const Action& action : last_plan_)
        if (simulator_.execute(action).refusal != Refusal::none) ++sums_.refused;
    simulator_.advance();
    const Costs& cost = simulator_.last_tick().cost;
    for (std::size_t c = 0; c < kCostTerms; ++c) sums_.cost[c] += cost[c];
    step.reward = step.earned = tick_reward(cost, factors_, reward_unit_usd_);
    sums_.reward += static_cast<double>(step.reward);
    step.discount = knobs_.discount;
    step.ticked = true;
    ++sums_.ticks;
    step.done = simulator_.tick() >= end_;
    look();
}

Step DecisionEnv::step(std::size_t index) {
    Step step;
    const bool shapes = knobs_.shaping_h > 0.0F;
    const float before = shapes ? potential_now() : 0.0F;
    step.invalid = !proposer_.possible(index);
    if (step.invalid) {
        index = 0;
        ++sums_.invalid;
    }
    ++sums_.steps;
    ++sums_.chosen[static_cast<std::size_t>(proposer_.candidate(index).kind)];
    if (index != 0) proposer_.choose(index);
    if (index == 0 || proposer_.decisions_left() == 0) advance(step);
    if (shapes) step.reward = shaped(step.reward, step.discount, before, potential_now());
    return step;
}

template <class Number> std::uint64_t DecisionEnv::write(Number* observation, std::uint64_t since) const {
    Number* const candidates = observation + context::count;
    return proposer_.write(observation, candidates, candidates + proposer_.k() * feature::count, since);
}

template std::uint64_t DecisionEnv::write(float*, std::uint64_t) const;
template std::uint64_t DecisionEnv::write(Half*, std::uint64_t) const;

} // namespace foreshade
