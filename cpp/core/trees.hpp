// Sums of small regression trees over many rows at once. A tree of at most 32 leaves is walked without a walk: every
// split that sends a row right clears the leaves of its left side, whatever the row's path, and the first leaf that is
// left is the row's (QuickScorer, Lucchese et al., SIGIR 2015). The tests of one split on a block of rows are one
// vector operation; a branching walk mispredicts at most levels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace foreshade {

// One tree as it was grown: a child below 0 is the leaf ~child; a tree without splits has one leaf.
struct GrownTree {
    std::vector<std::int32_t> feature;  // per split
    std::vector<double> threshold;      // at or below goes left
    std::vector<std::uint8_t> nan_left; // where a missing value goes
    std::vector<std::int32_t> left;
    std::vector<std::int32_t> right;
    std::vector<double> leaf;
};

class TreeSums {
  public:
    static constexpr std::size_t kMostLeaves = 32;

    explicit TreeSums(std::size_t n_features);

    // The next output is the sum of these trees. Throws std::invalid_argument for a tree of more leaves than a word
    // has bits, an unknown feature, or children that are not a tree; then nothing is added.
    void add_output(const std::vector<GrownTree>& trees);

    std::size_t n_features() const { return n_features_; }
    std::size_t n_outputs() const { return outputs_.size() - 1; }

    // rows: n x n_features, NaN = missing; out: n x n_outputs. Leaves are added in the order of the trees.
    void predict(std::span<const float> rows, std::span<double> out) const;

  private:
    struct Split {
        float threshold;
        std::uint32_t keep; // leaves that remain where the row goes right
        std::int32_t feature;
        std::uint32_t nan_left;
    };

    struct Tree {
        std::size_t first_split;
        std::size_t n_splits;
        std::size_t first_leaf;
    };

    std::size_t n_features_;
    std::vector<Split> splits_;
    std::vector<Tree> trees_;
    std::vector<double> leaves_;
    std::vector<std::size_t> outputs_{0}; // where the trees of each output begin, and the end
};

} // namespace foreshade
