// Small data centres with their demand tables, for the native tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "core/random.hpp"
#include "core/simulator.hpp"

namespace foreshade::testing {

// A workload that owns its tables; every VM is an application of its own unless `members` says otherwise.
struct World {
    std::vector<float> demand;
    std::vector<float> gpu;
    DataCentre spec;
    WorkloadView work;

    World(std::size_t n_ticks, std::size_t n_hosts, std::size_t n_apps, std::size_t members = 1) {
        ServerModel server;
        server.name = "plain";
        server.capacity = {10000.0F, 10240.0F, 1000.0F, 1000.0F, 1.0F};
        server.cores = 4;
        for (std::size_t i = 0; i < 11; ++i) server.power_w[i] = 100.0F + 10.0F * static_cast<float>(i);
        server.off_w = 8.0F;
        server.boot_w = 150.0F;
        server.boot_s = 180.0F;
        server.shutdown_s = 60.0F;
        server.sleep_enter_s = 10.0F;
        server.wake_s = 20.0F;
        spec.models = {server};
        HypervisorProfile profile;
        profile.name = "plain";
        profile.boot_s = {30.0F, 5.0F, 1.0F, 2.0F};
        profile.shutdown_s = 11.0F;
        profile.migration_mbit_s = 838.8608F; // 100 MiB/s
        profile.migration_setup_s = 2.0F;
        profile.migration_slowdown = 0.0F;
        profile.resume_s = 0.1F;
        spec.profiles = {profile};
        spec.racks = {Rack{0, 90.0F, 10000.0F}};
        spec.hosts.assign(n_hosts, Host{});
        for (Host& host : spec.hosts) host.overcommit = {4.0F, 2.0F, 4.0F, 4.0F, 1.0F};
        spec.prices.electricity_usd_kwh.assign(n_ticks, 0.1F);
        spec.spare_slots = 6;
        demand.assign(n_ticks * n_apps * kDense, 0.0F);
        for (std::size_t i = 0; i < demand.size(); i += kDense) {
            demand[i] = 1000.0F;
            demand[i + 1] = 1000.0F;
            demand[i + 2] = 10.0F;
            demand[i + 3] = 20.0F;
        }
        work.n_ticks = n_ticks;
        work.n_series = n_apps;
        work.gpu_column.assign(n_apps, -1);
        for (std::size_t a = 0; a < n_apps; ++a) {
            work.app_series.push_back(static_cast<std::int32_t>(a));
            work.app_members.push_back(static_cast<std::int32_t>(members));
            work.app_memory_floor.push_back(0.3F);
            work.app_offloadable.push_back(0.4F);
            for (std::size_t m = 0; m < members; ++m) {
                work.vm_app.push_back(static_cast<std::int32_t>(a));
                work.vm_arrival.push_back(0);
                work.vm_departure.push_back(static_cast<std::int32_t>(n_ticks));
                work.vm_credit.push_back(1.0F);
                for (const float x : {2000.0F, 2048.0F, 100.0F, 100.0F, 0.0F}) work.vm_flavour.push_back(x);
            }
        }
    }

    // The tables are borrowed: the world has to outlive what it builds.
    std::shared_ptr<const Plant> plant(forecast::Source source = {}) {
        work.demand = demand.data();
        work.gpu = gpu.data();
        return std::make_shared<const Plant>(spec, work, ~0U, std::move(source));
    }
};

inline Action act(ActionKind kind, std::int32_t vm = -1, std::int32_t host = -1, float value = 0.0F,
                  float value2 = 0.0F) {
    Action action;
    action.kind = kind;
    action.vm = vm;
    action.host = host;
    action.value = value;
    action.value2 = value2;
    return action;
}

// Anything at all, in and out of range.
inline Action any_action(RandomStream& random, std::int32_t n_vms, std::int32_t n_hosts, std::int32_t n_apps) {
    const auto pick = [&random](std::int32_t n) {
        return static_cast<std::int32_t>(random.next() % static_cast<std::uint64_t>(n + 3)) - 1;
    };
    Action action;
    action.kind = static_cast<ActionKind>(random.next() % kActionKinds);
    if (random.uniform() < 0.3) action.kind = ActionKind::migrate;
    action.vm = action.kind == ActionKind::spawn && random.uniform() < 0.6 ? -1 : pick(n_vms);
    action.host = pick(n_hosts);
    action.app = pick(n_apps);
    action.rack = action.kind == ActionKind::power && random.uniform() < 0.3 ? pick(2) : -1;
    constexpr float kValues[] = {0.0F, 0.1F, 0.5F, 1.0F, 2.0F, -1.0F, 3.0F, std::numeric_limits<float>::quiet_NaN()};
    action.value = kValues[random.next() % 8];
    action.value2 = random.uniform() < 0.5 ? kValues[random.next() % 8] : static_cast<float>(900.0 * random.uniform());
    const auto scale = static_cast<float>(0.2 + random.uniform());
    action.allocation = {2000.0F * scale, 2048.0F * scale, 100.0F * scale, 100.0F * scale, 0.0F};
    if (random.uniform() < 0.05) action.allocation[random.next() % 5] = kValues[random.next() % 8];
    return action;
}

} // namespace foreshade::testing
