#include "core/batch.hpp"

#include <algorithm>
#include <exception>
#include <stdexcept>
#include <thread>

namespace foreshade {

Batch::Batch(std::shared_ptr<const Plant> plant, std::size_t n_envs, std::uint64_t seed, std::size_t threads)
    : plant_(std::move(plant)), start_ticks_(n_envs, 0), seed_(seed), threads_(threads) {
    if (n_envs == 0) throw std::invalid_argument("batch: expected at least one environment");
    if (threads == 0) throw std::invalid_argument("batch: expected at least one thread");
    envs_.reserve(n_envs);
    for (std::size_t i = 0; i < n_envs; ++i) envs_.emplace_back(plant_, seed + i);
}

void Batch::start_at(std::size_t i, std::int64_t tick) {
    start_ticks_.at(i) = tick;
    envs_[i].reset(seed_ + i, tick);
}

void Batch::advance(std::size_t ticks) {
    const auto play = [this, ticks](std::size_t begin, std::size_t end) {
        for (std::size_t t = 0; t < ticks; ++t)
            for (std::size_t i = begin; i < end; ++i) {
                if (envs_[i].done()) envs_[i].reset(seed_ + i, start_ticks_[i]);
                envs_[i].advance();
            }
    };
    const std::size_t n_threads = std::min(threads_, envs_.size());
    if (n_threads == 1) {
        play(0, envs_.size());
        return;
    }
    std::vector<std::thread> workers;
    workers.reserve(n_threads);
    std::vector<std::exception_ptr> failures(n_threads);
    for (std::size_t w = 0; w < n_threads; ++w)
        workers.emplace_back([&, w] {
            try {
                play(envs_.size() * w / n_threads, envs_.size() * (w + 1) / n_threads);
            } catch (...) {
                failures[w] = std::current_exception();
            }
        });
    for (std::thread& worker : workers) worker.join();
    for (const std::exception_ptr& failure : failures)
        if (failure) std::rethrow_exception(failure);
}

std::size_t Batch::memory_bytes() const {
    std::size_t bytes = 0;
    for (const Simulator& env : envs_) bytes += env.memory_bytes();
    return bytes;
}

std::size_t Batch::bytes_per_tick() const {
    return envs_.front().bytes_per_tick();
}

} // namespace foreshade
