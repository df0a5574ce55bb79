#include "core/curves.hpp"
#include "core/random.hpp"
#include "tests/check.hpp"

using namespace foreshade;
using foreshade::testing::close;

TEST(power_is_straight_between_its_points_and_clamped_outside) {
    std::array<float, 11> watts{};
    for (std::size_t i = 0; i < 11; ++i) watts[i] = static_cast<float>(100 + 10 * i * i);
    const PowerCurve power(watts);
    CHECK(close(static_cast<double>(power(0.0F)), 100.0));
    CHECK(close(static_cast<double>(power(0.25F)), 165.0)); // between 140 and 190
    CHECK(close(static_cast<double>(power(1.0F)), 1100.0));
    CHECK(close(static_cast<double>(power(2.0F)), 1100.0));
    CHECK(close(static_cast<double>(power(-1.0F)), 100.0));
}

TEST(the_queue_of_one_core_has_the_tail_of_an_m_m_1) {
    const LateCurve late(1, 5.0F);
    CHECK(close(static_cast<double>(late(0.5F)), 0.5 * std::exp(-2.0)));
    CHECK(late(0.0F) == 0.0F);
    CHECK(late(1.0F) == 1.0F);
    CHECK(late(7.0F) == 1.0F);
}

TEST(random_streams_depend_on_seed_and_stream_alone) {
    RandomStream a(1, 2);
    RandomStream b(1, 2);
    RandomStream c(1, 3);
    double sum = 0.0;
    bool differs = false;
    for (int i = 0; i < 4000; ++i) {
        const double x = a.exponential(3.0);
        CHECK(x >= 0.0 && x == b.exponential(3.0));
        differs = differs || x != c.exponential(3.0);
        sum += x;
    }
    CHECK(differs);
    CHECK(close(sum / 4000.0, 3.0, 0.06));
}
