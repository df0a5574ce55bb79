// Paths of the simulator through which memory could be misused: slots that are reused, lists that change while they are
// walked, events that outlive what they are about.
#include "core/batch.hpp"
#include "tests/check.hpp"
#include "tests/plants.hpp"

using namespace foreshade;
using namespace foreshade::testing;

namespace {

// Columns add up: what stands on a host is what names it as its host.
void check_books(Simulator& sim, ClusterState& state) {
    sim.observe(state);
    std::vector<std::int32_t> standing(state.n_hosts(), 0);
    std::vector<std::int32_t> arriving(state.n_hosts(), 0);
    std::vector<double> cpu(state.n_hosts(), 0.0);
    for (std::size_t v = 0; v < state.n_vms(); ++v) {
        const std::int32_t host = state.vms.host[v];
        const std::int32_t destination = state.vms.destination[v];
        if (host >= 0) {
            ++standing[static_cast<std::size_t>(host)];
            cpu[static_cast<std::size_t>(host)] += static_cast<double>(state.vms.allocation[v * kResources]);
        }
        if (destination >= 0) {
            ++arriving[static_cast<std::size_t>(destination)];
            cpu[static_cast<std::size_t>(destination)] += static_cast<double>(state.vms.allocation[v * kResources]);
        }
        CHECK((state.vms.state[v] != VmState::absent && state.vms.state[v] != VmState::pending &&
               state.vms.state[v] != VmState::failed) == (host >= 0));
    }
    for (std::size_t h = 0; h < state.n_hosts(); ++h) {
        CHECK(state.hosts.n_vms[h] == standing[h]);
        CHECK(state.hosts.arriving[h] == arriving[h]);
        CHECK(close(static_cast<double>(state.hosts.allocated[h * kResources]), cpu[h], 1e-3));
        if (state.hosts.state[h] != HostState::on) CHECK(standing[h] == 0 && arriving[h] == 0);
    }
}

World turbulent() {
    World world(24, 6, 5, 2);
    world.spec.racks = {Rack{0, 90.0F, 400.0F}, Rack{1, 90.0F, 400.0F}};
    for (std::size_t h = 0; h < 6; ++h) world.spec.hosts[h].rack = static_cast<std::int32_t>(h % 2);
    world.spec.hosts[5].rented = true;
    world.spec.hosts[5].price_usd_h = 0.5F;
    world.spec.hosts[5].provision_s = 60.0F;
    world.spec.failures = {1.0, 0.1, 0.5, 12.0, 0.2};
    world.spec.maintenance = {{1, 0.0, 500.0}, {2, 1000.0, 2000.0}, {5, 1500.0, 1600.0}};
    world.spec.profiles[0].oom_overflow = 0.05F;
    world.spec.profiles[0].dirty_share_per_s = 0.02F;
    world.spec.profiles[0].working_set = 0.2F;
    world.work.gpu_column[0] = 0;
    world.work.n_gpu_series = 1;
    world.gpu.assign(24, 0.7F);
    for (std::size_t i = 0; i < world.demand.size(); ++i)
        world.demand[i] *= 1.0F + 5.0F * static_cast<float>(i % 7) / 6.0F;
    for (std::size_t v = 0; v < 4; ++v) world.work.vm_departure[v] = static_cast<std::int32_t>(8 + v);
    world.work.vm_arrival[8] = 3;
    return world;
}

} // namespace

TEST(migration_moves_the_vm_and_its_reservation) {
    World world(4, 2, 1);
    const auto plant = world.plant();
    Simulator sim(plant, 1);
    ClusterState state;
    sim.prepare(state);
    sim.schedule();
    sim.observe(state);
    const std::int32_t from = state.vms.host[0];
    CHECK(sim.execute(act(ActionKind::migrate, 0, 1 - from)).refusal == Refusal::none);
    sim.advance();
    check_books(sim, state);
    CHECK(state.vms.host[0] == 1 - from);
    CHECK(close(sim.totals().downtime_s, 0.1));
    CHECK(close(static_cast<double>(state.vms.since_move_s[0]), 300.0 - 12.1)); // 2 + 1,000 / 100 + 0.1
}

TEST(migrations_that_end_in_later_ticks_leave_no_queue_behind) {
    for (const float mbit_s : {20.0F, 30.0F, 45.0F, 70.0F, 110.0F}) { // 75 to 420 s for a VM's 1,000 MiB
        World world(60, 4, 30);
        world.spec.profiles[0].migration_mbit_s = mbit_s;
        const auto plant = world.plant();
        Simulator sim(plant, 1);
        ClusterState state;
        sim.prepare(state);
        sim.schedule();
        RandomStream random(3, 7);
        for (int tick = 0; !sim.done(); ++tick) {
            sim.observe(state);
            const std::size_t wanted = tick % 8 == 0 ? state.n_vms() : 0; // many at once, then none while those end
            for (std::size_t v = 0; v < wanted; ++v)
                sim.execute(act(ActionKind::migrate, static_cast<std::int32_t>(v),
                                static_cast<std::int32_t>(4.0 * random.uniform())));
            sim.advance();
            check_books(sim, state);
        }
        CHECK(sim.totals().migrations > 20);
    }
}

TEST(slots_of_helpers_are_reused) {
    World world(40, 3, 2, 1);
    const auto plant = world.plant();
    Simulator sim(plant, 1);
    ClusterState state;
    sim.prepare(state);
    sim.schedule();
    for (int round = 0; round < 18; ++round) {
        Action micro = act(ActionKind::microvm, -1, round % 3, 0.0F, 250.0F);
        micro.app = round % 2;
        micro.allocation = {500.0F, 512.0F, 10.0F, 10.0F, 0.0F};
        for (int i = 0; i < 6; ++i) CHECK(sim.execute(micro).refusal == Refusal::none);
        CHECK(sim.execute(micro).refusal == Refusal::no_slot);
        sim.advance();
        check_books(sim, state);
    }
    CHECK(sim.totals().spawned == 6 * 18);
}

TEST(a_primary_takes_its_shadows_with_it_even_from_a_migration) {
    World world(6, 4, 1, 2);
    world.spec.profiles[0].migration_mbit_s = 1.0F; // never ends
    const auto plant = world.plant();
    Simulator sim(plant, 1);
    ClusterState state;
    sim.prepare(state);
    for (const std::int32_t vm : {0, 1}) CHECK(sim.execute(act(ActionKind::spawn, vm, 0)).refusal == Refusal::none);
    const ActionResult one = sim.execute(act(ActionKind::shadow, 0, 1, 0.1F, 1.0F));
    const ActionResult two = sim.execute(act(ActionKind::shadow, 0, 2, 0.1F, 0.0F));
    CHECK(one.refusal == Refusal::none && two.refusal == Refusal::none);
    sim.advance();
    CHECK(sim.execute(act(ActionKind::migrate, one.vm, 3)).refusal == Refusal::none);
    sim.advance();
    CHECK(sim.execute(act(ActionKind::despawn, 0)).refusal == Refusal::none);
    sim.advance();
    check_books(sim, state);
    for (const std::int32_t vm : {0, one.vm, two.vm})
        CHECK(state.vms.state[static_cast<std::size_t>(vm)] == VmState::absent);
    CHECK(state.vms.state[1] == VmState::running);
    CHECK(sim.execute(act(ActionKind::despawn, 1)).refusal == Refusal::last_member);
}

TEST(an_overflowing_host_loses_a_vm_and_the_shadow_of_another) {
    World world(4, 2, 2, 1);
    world.spec.profiles[0].oom_overflow = 0.05F;
    for (float& x : world.work.vm_flavour) x = x == 2048.0F ? 10240.0F : x;
    for (std::size_t i = 1; i < world.demand.size(); i += kDense) world.demand[i] = 9000.0F;
    const auto plant = world.plant();
    Simulator sim(plant, 1);
    ClusterState state;
    sim.prepare(state);
    for (const std::int32_t vm : {0, 1}) CHECK(sim.execute(act(ActionKind::spawn, vm, 0)).refusal == Refusal::none);
    sim.advance();
    check_books(sim, state);
    CHECK(sim.totals().oom_kills == 1);
    CHECK(state.vms.state[0] == VmState::failed);
}

TEST(random_actions_leave_the_books_in_order) {
    World world = turbulent();
    const auto plant = world.plant();
    Simulator sim(plant, 1);
    ClusterState state;
    for (std::uint64_t seed = 0; seed < 40; ++seed) {
        sim.reset(seed, static_cast<std::int64_t>(seed % 5));
        sim.prepare(state);
        RandomStream random(seed, 99);
        while (!sim.done()) {
            for (int i = 0; i < 10; ++i) sim.execute(any_action(random, 16, 6, 5));
            sim.advance();
            check_books(sim, state);
        }
        CHECK(sim.totals().unmet[0] <= sim.totals().demand[0] * (1.0 + 1e-6));
        CHECK(sim.worst_vm_unmet() <= 1.0 + 1e-6);
    }
    CHECK_THROWS(sim.advance());
    CHECK_THROWS(sim.reset(1, 24));
}

TEST(threads_play_the_same_batch) {
    World world = turbulent();
    const auto plant = world.plant();
    Batch one(plant, 5, 3, 1);
    Batch two(plant, 5, 3, 2);
    for (Batch* batch : {&one, &two}) {
        batch->start_at(2, 7);
        batch->advance(30);
    }
    for (std::size_t i = 0; i < 5; ++i) {
        CHECK(one.env(i).totals().host_j == two.env(i).totals().host_j);
        CHECK(one.env(i).totals().cost == two.env(i).totals().cost);
        CHECK(one.env(i).tick() == two.env(i).tick());
    }
}

TEST(impossible_plants_are_rejected) {
    World world(4, 2, 1);
    world.spec.hosts[0].model = 1;
    CHECK_THROWS(world.plant());
    world.spec.hosts[0].model = 0;
    world.work.vm_app[0] = 5;
    CHECK_THROWS(world.plant());
    world.work.vm_app[0] = 0;
    world.spec.prices.electricity_usd_kwh.resize(3);
    CHECK_THROWS(world.plant());
}
