#include "core/decide/rule_tree.hpp"

#include <array>
#include <cmath>
#include <stdexcept>
#include <string>

namespace foreshade {

namespace {

constexpr std::array<Column, rule_feature::count - rule_feature::hour> kBeside{{
    {"hour", "h", 0, 24, "time of day since the scenario's start"},
    {"weekday", "d", 0, 7, "time of week since the scenario's start, with the day's fraction"},
    {"vm", "", 0, 1e7, "number of the VM that it concerns; none is in no range"},
    {"app", "", 0, 1e7, "number of that VM's application"},
    {"host", "", 0, 1e7, "number of the host where it goes, or that it is about"},
    {"source", "", 0, 1e7, "number of the host where it leaves"},
}};

} // namespace

std::span<const Column> rule_columns() {
    return kBeside;
}

void check_rules(std::span<const RuleNode> nodes) {
    for (std::size_t i = 0; i < nodes.size(); ++i) {
        const RuleNode& node = nodes[i];
        const std::string where = "rules: node " + std::to_string(i) + ": ";
        if (node.verdict != RuleVerdict::test) {
            if (!std::isfinite(node.value)) throw std::invalid_argument(where + "expected a finite value");
            continue;
        }
        if (node.feature >= rule_feature::count) throw std::invalid_argument(where + "expected a known feature");
        for (const std::uint32_t next : {node.then, node.otherwise})
            if (next <= i || next >= nodes.size())
                throw std::invalid_argument(where + "expected to lead to a node behind it");
    }
}

const RuleNode& leaf_of(std::span<const RuleNode> nodes, CandidateKind kind, const float* values) {
    const RuleNode* node = nodes.data();
    while (node->verdict == RuleVerdict::test) {
        const float x = values[node->feature];
        const bool holds = node->kinds != 0 ? (node->kinds >> static_cast<unsigned>(kind) & 1U) != 0
                                            : x >= node->low && x <= node->high;
        node = &nodes[holds ? node->then : node->otherwise];
    }
    return *node;
}

} // namespace foreshade
