#include "core/decide/decision_batch.hpp"

#include <algorithm>
#include <exception>
#include <stdexcept>
#include <thread>

#include "core/large_pages.hpp"

namespace foreshade {

DecisionBatch::DecisionBatch(std::vector<Variant> variants, const ProposerKnobs& knobs, const EpisodeKnobs& episode,
                             std::size_t n_envs, std::uint64_t seed, std::size_t threads)
    : finished_(n_envs), threads_(threads) {
    if (variants.empty()) throw std::invalid_argument("decision batch: expected at least one data centre");
    if (n_envs == 0) throw std::invalid_argument("decision batch: expected at least one environment");
    if (threads == 0) throw std::invalid_argument("decision batch: expected at least one thread");
    envs_.reserve(n_envs);
    for (std::size_t i = 0; i < n_envs; ++i) {
        const Variant& variant = variants[i % variants.size()];
        ask_for_large_pages();
        envs_.push_back(std::make_unique<DecisionEnv>(variant.plant, variant.site, knobs, episode, seed + i));
    }
}

template <class Work> void DecisionBatch::each(const Work& work) {
    const std::size_t n_threads = std::min(threads_, envs_.size());
    if (n_threads == 1) {
        for (std::size_t i = 0; i < envs_.size(); ++i) work(i);
        return;
    }
    std::vector<std::thread> workers;
    workers.reserve(n_threads);
    std::vector<std::exception_ptr> failures(n_threads);
    for (std::size_t w = 0; w < n_threads; ++w)
        workers.emplace_back([&, w] {
            try {
                for (std::size_t i = envs_.size() * w / n_threads; i < envs_.size() * (w + 1) / n_threads; ++i) work(i);
            } catch (...) {
                failures[w] = std::current_exception();
            }
        });
    for (std::thread& worker : workers) worker.join();
    for (const std::exception_ptr& failure : failures)
        if (failure) std::rethrow_exception(failure);
}

void DecisionBatch::keep(std::span<const Shown> observations) {
    kept_.clear();
    for (const Shown& one : observations) kept_.push_back({one, std::vector<std::uint64_t>(envs_.size())});
}

DecisionBatch::Kept* DecisionBatch::kept(Shown observations) {
    for (Kept& kept : kept_)
        if (kept.observations == observations) return &kept;
    return nullptr;
}

void DecisionBatch::write(std::size_t i, Shown observations, Kept* kept) const {
    std::visit(
        [&](auto* out) {
            const std::uint64_t now = envs_[i]->write(out + i * width(), kept == nullptr ? 0 : kept->since[i]);
            if (kept != nullptr) kept->since[i] = now;
        },
        observations);
}

void DecisionBatch::reset(std::uint64_t seed, Shown observations) {
    Kept* const known = kept(observations);
    each([&](std::size_t i) {
        envs_[i]->reset(seed + i);
        write(i, observations, known);
    });
}

void DecisionBatch::reset(Shown observations) {
    Kept* const known = kept(observations);
    each([&](std::size_t i) {
        envs_[i]->reset();
        write(i, observations, known);
    });
}

void DecisionBatch::step(std::span<const std::int64_t> actions, const StepOutput& out) {
    if (actions.size() != envs_.size()) throw std::invalid_argument("step: expected one action for each environment");
    const auto k = static_cast<std::int64_t>(envs_.front()->proposer().k());
    for (const std::int64_t action : actions)
        if (action < 0 || action >= k)
            throw std::invalid_argument("step: expected indices from 0 to " + std::to_string(k - 1) + ", found " +
                                        std::to_string(action));
    ask_for_large_pages(); // plans grow in the first ticks
    Kept* const known = kept(out.observations);
    each([&](std::size_t i) {
        DecisionEnv& env = *envs_[i];
        const Step step = env.step(static_cast<std::size_t>(actions[i]));
        out.rewards[i] = step.reward;
        out.discounts[i] = step.discount;
        out.dones[i] = step.done ? 1 : 0;
        out.invalid[i] = step.invalid ? 1 : 0;
        if (step.done) {
            if (out.final_observations != nullptr) env.write(out.final_observations + i * width());
            finished_[i] = env.sums();
            env.reset();
        }
        write(i, out.observations, known);
    });
}

void DecisionBatch::preferred(std::span<std::int64_t> out) const {
    for (std::size_t i = 0; i < envs_.size(); ++i) out[i] = static_cast<std::int64_t>(envs_[i]->proposer().preferred());
}

} // namespace foreshade
