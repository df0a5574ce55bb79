#include "core/decide/columns.hpp"

#include <array>

namespace foreshade {

namespace {

constexpr std::array<const char*, kCandidateKinds> kKindNames{
    "wait",    "plan",  "place",   "migrate",    "drain",     "power_on", "power_off",
    "sleep",   "grow",  "shrink",  "right_size", "microvm",   "shadow",   "shift",
    "release", "spawn", "despawn", "rent",       "give_back", "rack_on",  "rack_off"};

constexpr std::array<Column, context::count> kContext{{
    {"day_sin", "1", -1, 1, "time of day since the scenario's start, sine"},
    {"day_cos", "1", -1, 1, "likewise, cosine"},
    {"week_sin", "1", -1, 1, "time of week since the scenario's start, sine"},
    {"week_cos", "1", -1, 1, "likewise, cosine"},
    {"price_now", "1", 0, 10, "tariff and carbon of this tick over their mean"},
    {"price_1h", "1", 0, 10, "mean of the hour ahead over the mean"},
    {"price_6h", "1", 0, 10, "mean of the six hours ahead over the mean"},
    {"hosts_on", "1", 0, 1, "share of our CPU capacity that is on"},
    {"hosts_coming", "1", 0, 1, "share that is booting or waking"},
    {"hosts_asleep", "1", 0, 1, "share that is asleep"},
    {"cpu_used", "1", 0, 10, "expected CPU demand over the capacity that is on"},
    {"memory_used", "1", 0, 10, "expected memory demand over the capacity that is on"},
    {"disk_used", "1", 0, 10, "expected disk demand over the capacity that is on"},
    {"network_used", "1", 0, 10, "expected network demand over the capacity that is on"},
    {"memory_reserved", "1", 0, 10, "memory promised over what may be promised on hosts that are on"},
    {"waiting", "1", 0, 1, "share of the VMs that wait for a host"},
    {"migrating", "1", 0, 1, "share of the VMs that are on their way"},
    {"unmet", "1", 0, 10, "expected unmet CPU demand of all hosts, per cent of the demand"},
    {"hot", "1", 0, 1, "share of hosts whose mean + 2 sigma is above their CPU or memory"},
    {"hazard", "1/h", 0, 10, "mean failure hazard of the hosts that are on, times 100"},
    {"growth", "1", -10, 10, "expected less newest CPU demand, over the capacity that is on, times 10"},
    {"drift", "1", -10, 10, "newest less window's CPU demand, over the capacity that is on, times 10"},
    {"cpu_of_flavour", "1", 0, 10, "newest CPU demand of the VMs that serve over their flavours"},
    {"memory_of_flavour", "1", 0, 10, "likewise of memory"},
    {"new_peaks", "1", 0, 1, "share of them that want as much CPU as they ever did or more, mean of a day"},
    {"jitter", "1", 0, 10, "newest CPU demand less the expected, without sign, over the expected, mean of a day"},
    {"decisions_left", "1", 0, 1, "share of this tick's decisions that are left"},
    {"planned", "1", 0, 1, "1 once a whole plan was chosen this tick"},
    {"energy_price", "1", -10, 10, "log of this episode's energy price over the scenario's"},
    {"unmet_price", "1", -10, 10, "likewise of unmet demand, lateness and downtime"},
    {"migration_price", "1", -10, 10, "likewise of a migration"},
    {"boot_price", "1", -10, 10, "likewise of a boot"},
}};

constexpr auto kCandidate = [] {
    std::array<Column, feature::count> all{};
    all[feature::preference] = {
        "preference", "1", -10, 10,
        "above 0 what the rules would take, the better the higher; their choice is the largest"};
    all[feature::score] = {"score", "1", -10, 10,
                           "performance + utilisation - cost - latency; money in idle host hours"};
    all[feature::performance] = {"performance", "1", -10, 10, "unmet demand avoided over the horizon"};
    all[feature::utilisation] = {"utilisation", "1", -10, 10, "energy and hire saved over the horizon"};
    all[feature::cost] = {"cost", "1", -10, 10, "price of the transition: migrations, boots, orders"};
    all[feature::latency] = {"latency", "1", -10, 10, "lateness added and downtime of the transition"};
    for (std::size_t k = 0; k < kCandidateKinds; ++k)
        all[feature::first_kind + k] = {kKindNames[k], "1", 0, 1, "1 where the candidate is of this kind"};
    all[feature::z] = {"z", "1", 0, 10, "safety factor of a plan, in sigma; headroom of right-sizing"};
    all[feature::way] = {"way", "1", 0, 10, "0 = as the rules do it; n = the n-th other plan or sizing"};
    all[feature::actions] = {"actions", "1", 0, 10, "log2(1 + number of actions)"};
    all[feature::source_margin] = {"source_margin", "sigma", -10, 10,
                                   "(CPU capacity - mean) / sigma where a VM leaves"};
    all[feature::source_memory] = {"source_memory", "1", 0, 10, "memory promised over what may be, where a VM leaves"};
    all[feature::source_excess] = {"source_excess", "1", 0, 10,
                                   "expected unmet CPU demand there, per cent of its capacity"};
    all[feature::source_idle] = {"source_idle", "1", 0, 1, "idle power of that host over its power as loaded"};
    all[feature::target_margin] = {"target_margin", "sigma", -10, 10,
                                   "(CPU capacity - mean) / sigma where it goes, before"};
    all[feature::target_memory] = {"target_memory", "1", 0, 10,
                                   "memory promised over what may be where it goes, before"};
    all[feature::target_cpu] = {"target_cpu", "1", 0, 10, "CPU mean over capacity where it goes, before"};
    all[feature::vm_cpu] = {"vm_cpu", "1", 0, 10, "the VM's expected CPU demand over its allocation"};
    all[feature::vm_memory] = {"vm_memory", "1", 0, 10, "the VM's expected memory demand over its allocation"};
    all[feature::vm_share_of_variance] = {"vm_share_of_variance", "1", 0, 1, "of its host's CPU variance"};
    all[feature::trend] = {"trend", "1", -10, 10, "newest less expected CPU demand of the VM over its allocation"};
    all[feature::since_move] = {"since_move", "h", 0, 10, "since the VM's last migration, at most 10"};
    all[feature::boot] = {"boot", "h", 0, 10, "time until the candidate has its effect"};
    all[feature::hazard] = {"hazard", "1/h", 0, 10, "failure hazard of the host it concerns, times 100"};
    all[feature::hold] = {"hold", "h", 0, 10, "since the host it concerns came into its state, at most 10"};
    return all;
}();

} // namespace

const char* candidate_kind_name(CandidateKind kind) {
    return kKindNames[static_cast<std::size_t>(kind)];
}

std::span<const Column> context_columns() {
    return kContext;
}

std::span<const Column> candidate_columns() {
    return kCandidate;
}

} // namespace foreshade
