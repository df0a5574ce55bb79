// What it costs that VMs wait for a host.
//
// An application of which nobody serves is dark: each hour costs its credit and all that it wants. One more member of
// an application that serves is worth what the others are short of without it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/cluster_state.hpp"
#include "core/decide/site.hpp"
#include "core/expected_cost.hpp"

namespace foreshade {

// (n_vms,) USD/h of each of `waiting`, 0 of all others; of a dark application it is the first of them that brings all.
// A VM that boots counts as one that serves.
std::vector<float> price_waiting(const VmColumns& vms, std::span<const Load> loads, const Economy& economy,
                                 std::span<const std::int32_t> waiting);

} // namespace foreshade
