// What an agent is shown of a decision, column by column: the one table that the code, the docs and a frozen policy's
// manifest share. Everything is scaled by capacity, prices or time constants, never by the size of the fleet.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace foreshade {

struct Column {
    const char* name;
    const char* unit;
    float low, high;
    const char* doc;
};

// Kinds of candidates; each has a flag among the columns.
enum class CandidateKind : std::uint8_t {
    wait,
    plan,    // all that a packer would do this tick
    place,   // a waiting VM gets a host
    migrate, // one VM leaves a crowded host
    drain,   // every VM of a host leaves
    power_on,
    power_off,
    sleep,
    grow,       // more for one VM
    shrink,     // less for one VM
    right_size, // every VM gets what it is seen to need
    microvm,
    shadow,
    shift,   // traffic to a shadow, or back
    release, // a shadow ends
    spawn,   // one more VM of an application
    despawn, // one less
    rent,
    give_back,
    rack_on,
    rack_off,
};
inline constexpr std::size_t kCandidateKinds = 21;

const char* candidate_kind_name(CandidateKind kind);

namespace context {
enum : std::size_t {
    day_sin,
    day_cos,
    week_sin,
    week_cos,
    price_now,
    price_1h,
    price_6h,
    hosts_on,
    hosts_coming,
    hosts_asleep,
    cpu_used,
    memory_used,
    disk_used,
    network_used,
    memory_reserved,
    waiting,
    migrating,
    unmet,
    hot,
    hazard,
    growth,
    drift,
    cpu_of_flavour,
    memory_of_flavour,
    new_peaks,
    jitter,
    decisions_left,
    planned,
    energy_price,
    unmet_price,
    migration_price,
    boot_price,
    count
};
} // namespace context

namespace feature {
enum : std::size_t {
    preference,
    score,
    performance,
    utilisation,
    cost,
    latency,
    first_kind,                       // one flag for each kind
    z = first_kind + kCandidateKinds, // of a plan
    way,
    actions,
    source_margin,
    source_memory,
    source_excess,
    source_idle,
    target_margin,
    target_memory,
    target_cpu,
    vm_cpu,
    vm_memory,
    vm_share_of_variance,
    trend,
    since_move,
    boot,
    hazard,
    hold,
    count
};
} // namespace feature

std::span<const Column> context_columns();   // context::count of them
std::span<const Column> candidate_columns(); // feature::count of them

} // namespace foreshade
