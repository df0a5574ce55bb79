#include "core/trees.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>

namespace foreshade {

namespace {

constexpr std::size_t kBlock = 64; // rows whose features stay in the cache while all trees pass over them

// The largest float at or below: x <= threshold says the same for every float x.
float floor_of(double threshold) {
    const auto near = static_cast<float>(threshold);
    if (static_cast<double>(near) <= threshold) return near;
    return std::nextafter(near, -std::numeric_limits<float>::infinity());
}

// Leaves from left to right, and the first and past leaf of every split's left side.
class Shape {
  public:
    explicit Shape(const GrownTree& tree) : tree_(tree), seen_(tree.feature.size(), false) {
        if (tree.feature.empty()) {
            order.push_back(0);
        } else {
            visit(0);
        }
        if (order.size() != tree.leaf.size()) throw std::invalid_argument("trees: the children are not a tree");
    }

    std::vector<std::size_t> order;                  // leaf as grown, by its place from the left
    std::vector<std::array<std::size_t, 3>> cleared; // split, first and past leaf of its left side

  private:
    void visit(std::int32_t node) {
        if (node < 0) {
            const auto leaf = static_cast<std::size_t>(~node);
            if (leaf >= tree_.leaf.size() || order.size() == TreeSums::kMostLeaves) {
                throw std::invalid_argument("trees: expected at most 32 leaves, each there");
            }
            order.push_back(leaf);
            return;
        }
        const auto split = static_cast<std::size_t>(node);
        if (split >= seen_.size() || seen_[split]) throw std::invalid_argument("trees: the children are not a tree");
        seen_[split] = true;
        const std::size_t first = order.size();
        visit(tree_.left[split]);
        cleared.push_back({split, first, order.size()});
        visit(tree_.right[split]);
    }

    const GrownTree& tree_;
    std::vector<bool> seen_;
};

void check(const GrownTree& tree, std::size_t n_features) {
    const std::size_t n = tree.feature.size();
    if (tree.threshold.size() != n || tree.nan_left.size() != n || tree.left.size() != n || tree.right.size() != n ||
        tree.leaf.size() != n + 1) {
        throw std::invalid_argument("trees: expected one threshold and two children per split, one leaf more");
    }
    for (const auto f : tree.feature) {
        if (f < 0 || static_cast<std::size_t>(f) >= n_features) {
            throw std::invalid_argument("trees: a split asks for a feature that is not there");
        }
    }
}

} // namespace

TreeSums::TreeSums(std::size_t n_features) : n_features_(n_features) {
    if (n_features == 0) throw std::invalid_argument("trees: expected at least one feature");
}

void TreeSums::add_output(const std::vector<GrownTree>& trees) {
    std::vector<Shape> shapes;
    shapes.reserve(trees.size());
    for (const auto& tree : trees) {
        check(tree, n_features_);
        shapes.emplace_back(tree);
    }
    for (std::size_t t = 0; t < trees.size(); ++t) {
        const GrownTree& tree = trees[t];
        trees_.push_back({splits_.size(), tree.feature.size(), leaves_.size()});
        for (const auto& [split, first, past] : shapes[t].cleared) {
            std::uint32_t keep = ~0U;
            for (std::size_t leaf = first; leaf < past; ++leaf) keep &= ~(1U << leaf);
            splits_.push_back(
                {floor_of(tree.threshold[split]), keep, tree.feature[split], tree.nan_left[split] ? 1U : 0U});
        }
        for (const auto leaf : shapes[t].order) leaves_.push_back(tree.leaf[leaf]);
    }
    outputs_.push_back(trees_.size());
}

void TreeSums::predict(std::span<const float> rows, std::span<double> out) const {
    const std::size_t n = rows.size() / n_features_;
    if (n * n_features_ != rows.size() || out.size() != n * n_outputs()) {
        throw std::invalid_argument("trees: expected rows of every feature and room for every output");
    }
    std::vector<float> column(n_features_ * kBlock, 0.0F); // features of one block, rows side by side
    for (std::size_t begin = 0; begin < n; begin += kBlock) {
        const std::size_t count = std::min(kBlock, n - begin);
        for (std::size_t r = 0; r < count; ++r) {
            for (std::size_t f = 0; f < n_features_; ++f) {
                column[f * kBlock + r] = rows[(begin + r) * n_features_ + f];
            }
        }
        for (std::size_t o = 0; o < n_outputs(); ++o) {
            std::array<double, kBlock> total{};
            for (std::size_t t = outputs_[o]; t < outputs_[o + 1]; ++t) {
                const Tree& tree = trees_[t];
                std::array<std::uint32_t, kBlock> left;
                left.fill(~0U);
                for (std::size_t s = tree.first_split; s < tree.first_split + tree.n_splits; ++s) {
                    const Split split = splits_[s];
                    const float* x = column.data() + static_cast<std::size_t>(split.feature) * kBlock;
                    if (split.nan_left != 0U) {
                        for (std::size_t r = 0; r < kBlock; ++r) left[r] &= x[r] > split.threshold ? split.keep : ~0U;
                    } else {
                        for (std::size_t r = 0; r < kBlock; ++r) left[r] &= x[r] <= split.threshold ? ~0U : split.keep;
                    }
                }
                const double* leaf = leaves_.data() + tree.first_leaf;
                for (std::size_t r = 0; r < kBlock; ++r) {
                    total[r] += leaf[static_cast<std::size_t>(std::countr_zero(left[r]))];
                }
            }
            for (std::size_t r = 0; r < count; ++r) out[(begin + r) * n_outputs() + o] = total[r];
        }
    }
}

} // namespace foreshade
