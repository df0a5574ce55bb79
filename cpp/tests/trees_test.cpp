#include "core/trees.hpp"

#include <limits>

#include "tests/check.hpp"

using namespace foreshade;

namespace {

//        x0 <= 1 ?
//       /         .
//   leaf 2     x1 <= .1 ?    (missing goes left)
//              /       .
//          leaf 0     leaf 1
GrownTree small_tree() {
    return {{0, 1}, {1.0, 0.1}, {0, 1}, {~2, ~0}, {1, ~1}, {10.0, 20.0, 30.0}};
}

} // namespace

TEST(each_row_gets_the_leaf_that_a_walk_would_find) {
    TreeSums trees(2);
    trees.add_output({small_tree(), small_tree()});
    trees.add_output({{{}, {}, {}, {}, {}, {5.0}}}); // a stump
    const float missing = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> rows{1.0F, 9.0F, 2.0F, 0.0F, 2.0F, 0.2F, 2.0F, missing, missing, 0.2F};
    std::vector<double> out(10);
    trees.predict(rows, out);
    const std::vector<double> wanted{60.0, 5.0, 20.0, 5.0, 40.0, 5.0, 20.0, 5.0, 40.0, 5.0};
    CHECK(out == wanted);
}

TEST(a_threshold_between_two_floats_keeps_its_side) {
    TreeSums trees(1);
    // .1F is above .1: a threshold rounded to the nearest float would let it pass
    trees.add_output({{{0}, {0.1}, {0}, {~0}, {~1}, {1.0, 2.0}}});
    const std::vector<float> rows{0.1F};
    std::vector<double> out(1);
    trees.predict(rows, out);
    CHECK(out[0] == 2.0);
}

TEST(what_is_no_tree_is_refused) {
    TreeSums trees(1);
    GrownTree loop{{0, 0}, {1.0, 1.0}, {0, 0}, {1, 0}, {~0, ~1}, {1.0, 2.0, 3.0}};
    CHECK_THROWS(trees.add_output({loop}));
    CHECK_THROWS(trees.add_output({small_tree()})); // asks for feature 1 of 1
    GrownTree wide;
    for (std::int32_t i = 0; i < 32; ++i) {
        wide.feature.push_back(0);
        wide.threshold.push_back(1.0);
        wide.nan_left.push_back(0);
        wide.left.push_back(~i);
        wide.right.push_back(i < 31 ? i + 1 : ~32);
        wide.leaf.push_back(1.0);
    }
    wide.leaf.push_back(1.0);
    CHECK_THROWS(trees.add_output({wide}));
    CHECK(trees.n_outputs() == 0);
}
