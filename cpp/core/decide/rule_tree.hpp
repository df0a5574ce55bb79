// Rules that a person writes and reads, as a graph of tests: a candidate walks from the first node to a leaf, which
// says what becomes of its preference. Tests are of the columns of docs/environment.md and of a few numbers beside
// them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/decide/columns.hpp"

namespace foreshade {

// What may be tested: the context's columns, the candidate's, and these.
namespace rule_feature {
enum : std::size_t {
    first_candidate = context::count,
    hour = first_candidate + feature::count, // of the day
    weekday,                                 // of the week, with its fraction
    vm,
    app,
    host,
    source,
    count
};
} // namespace rule_feature

std::span<const Column> rule_columns(); // those beside the context's and the candidate's

enum class RuleVerdict : std::uint8_t {
    test,  // no leaf: goes on to `then` or `otherwise`
    add,   // the preference and `value`
    never, // as low as preferences go: `wait` is always better
    score, // as though the rules took its kind: above `wait` where its score is above the threshold; and `value`
    first, // before all that no rule puts first, the better score first
};

struct RuleNode {
    RuleVerdict verdict = RuleVerdict::add;
    std::uint32_t feature = 0;             // rule_feature; of a test
    float low = 0.0F, high = 0.0F;         // low <= x <= high goes to `then`
    std::uint32_t kinds = 0;               // where not 0: bits of the CandidateKinds that go to `then` instead
    std::uint32_t then = 0, otherwise = 0; // nodes behind this one
    float value = 0.0F;
    std::int32_t rule = -1; // whom it belongs to, for people; -1 = no one
};

// std::invalid_argument where a test has no such feature or does not lead to a node behind it, or a value is no number.
void check_rules(std::span<const RuleNode> nodes);

// The leaf of a candidate: kind and values (rule_feature::count,). `nodes` must not be empty.
const RuleNode& leaf_of(std::span<const RuleNode> nodes, CandidateKind kind, const float* values);

} // namespace foreshade
