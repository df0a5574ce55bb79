// Forecasts that the state borrows: they outlive the tick, the reset and the plant for as long as a state holds them.
#include "core/batch.hpp"
#include "tests/check.hpp"
#include "tests/plants.hpp"

using namespace foreshade;
using namespace foreshade::testing;

namespace {

// Row t says t everywhere.
forecast::Table counting_table(std::size_t n_ticks, std::size_t n_rows) {
    forecast::Table table;
    table.n_ticks = n_ticks;
    table.n_rows = n_rows;
    table.horizons = {1, 3};
    table.levels = {0.1F, 0.9F};
    const auto fill = [n_ticks](std::size_t width) {
        auto values = std::make_shared<std::vector<float>>((n_ticks + 1) * width);
        for (std::size_t i = 0; i < values->size(); ++i) (*values)[i] = static_cast<float>(i / width);
        return std::shared_ptr<const float>(values, values->data());
    };
    table.moments = fill(2 * n_rows * kDense * 2);
    table.quantiles = fill(n_rows * kDense * 2 * 2);
    return table;
}

TEST(a_state_keeps_the_row_of_the_table_that_it_shows) {
    ClusterState copy;
    {
        World world(8, 3, 4);
        Batch batch(world.plant(counting_table(8, 4)), 2, 1, 2);
        ClusterState state;
        batch.env(1).prepare(state);
        batch.env(1).observe(state);
        CHECK(state.forecasts.moments.empty() && state.forecasts.n_rows() == 0);
        batch.advance(3);
        batch.env(1).observe(state);
        CHECK(state.forecasts.n_rows() == 4);
        copy = state;
        batch.advance(5);
        batch.env(1).observe(state);
        CHECK(state.forecasts.moments.front() == 8.0F && state.forecasts.quantiles.back() == 8.0F);
    }
    CHECK(copy.forecasts.moments.front() == 3.0F && copy.forecasts.moments.back() == 3.0F);
    CHECK(copy.forecasts.quantiles.front() == 3.0F && copy.forecasts.quantiles.back() == 3.0F);
}

TEST(a_table_of_another_plant_is_refused) {
    World world(8, 3, 4);
    CHECK_THROWS(world.plant(counting_table(9, 4)));
    CHECK_THROWS(world.plant(counting_table(8, 5)));
}

TEST(engines_inside_survive_whatever_is_done) {
    World world(24, 6, 5, 2);
    world.spec.failures = {1.0, 0.1, 0.5, 12.0, 0.2};
    for (std::size_t v = 0; v < world.work.n_vms(); v += 3) world.work.vm_departure[v] = 9;
    for (std::size_t v = 1; v < world.work.n_vms(); v += 4) world.work.vm_arrival[v] = 5;
    Simulator sim(world.plant(forecast::EngineConfig{}), 3);
    ClusterState state;
    ClusterState copy;
    sim.prepare(state);
    RandomStream random(5, 0);
    for (int round = 0; round < 2; ++round) {
        while (!sim.done()) {
            for (int i = 0; i < 6; ++i) (void)sim.execute(any_action(random, 16, 6, 5));
            sim.observe(state);
            const float before = copy.forecasts.moments.empty() ? 0.0F : copy.forecasts.moments.front();
            CHECK(before >= 0.0F); // what was borrowed is still there
            for (const float x : state.forecasts.moments) CHECK(std::isfinite(x) && x >= 0.0F);
            for (const float x : state.forecasts.share) CHECK(x >= 0.0F && x <= 1.0F);
            copy = state;
            sim.advance();
        }
        sim.reset(4);
    }
}

TEST(a_row_that_changes_hands_begins_anew) {
    forecast::DemandForecaster forecaster({}, 3);
    std::vector<float> moments(4 * 3 * kDense * 2);
    const auto mean = [&](std::size_t row) {
        forecaster.predict(moments, {});
        return moments[row * kDense * 2];
    };
    std::vector<std::int32_t> owner{7, 8, -1};
    const std::vector<float> demand{100, 1, 1, 1, 900, 1, 1, 1, 5, 5, 5, 5};
    forecaster.own(owner);
    for (int tick = 0; tick < 20; ++tick) forecaster.observe(demand);
    CHECK(close(static_cast<double>(mean(0)), 100.0, 1e-2) && close(static_cast<double>(mean(1)), 900.0, 1e-2));
    owner = {9, 8, -1};
    forecaster.own(owner);
    CHECK(close(static_cast<double>(mean(0)), 900.0, 1e-2)); // as the only other
    CHECK(close(static_cast<double>(mean(1)), 900.0, 1e-2));
    CHECK_THROWS(forecaster.own(std::vector<std::int32_t>{1}));
    CHECK_THROWS(forecaster.observe(std::vector<float>(4)));
}

} // namespace
