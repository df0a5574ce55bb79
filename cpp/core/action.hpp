// What can be done to a world, and what the world says to it.
#pragma once

#include <cstdint>
#include <string>

#include "core/resources.hpp"

namespace foreshade {

enum class ActionKind : std::uint8_t { wait, spawn, despawn, reshape, migrate, microvm, shadow, shift, power, rent };

inline constexpr std::size_t kActionKinds = 10;

enum class PowerTarget : std::uint8_t { off, on, sleep };

struct Action {
    ActionKind kind = ActionKind::wait;
    std::int32_t vm = -1;
    std::int32_t host = -1;
    std::int32_t app = -1;
    std::int32_t rack = -1;
    // Weight, fraction, PowerTarget, BootPath or 1/0, as the kind has it; of a migration 1 = with all VMs that a rule
    // keeps on one host with it, at once or not at all.
    float value = 0.0F;
    float value2 = 0.0F; // fidelity of a shadow, lifetime (s) of a micro-VM, 1 = a spawned VM pauses once it has booted
    Amounts allocation{};
};

// Why an action was refused; each has one sentence in refusal_text().
enum class Refusal : std::uint8_t {
    none,
    unknown_vm,
    unknown_host,
    unknown_app,
    unknown_rack,
    vm_gone,
    vm_not_placeable,
    vm_not_running,
    vm_busy,
    same_host,
    host_not_on,
    no_room,
    host_not_empty,
    host_transition,
    rack_off,
    rack_in_use,
    not_rented_host,
    no_slot,
    bad_value,
    not_hotpluggable,
    below_usage,
    not_allowed,
    shadow_same_host,
    last_member,
    no_spare,
    affinity,
};

const char* refusal_text(Refusal refusal);

struct ActionResult {
    Refusal refusal = Refusal::none;
    std::int32_t vm = -1; // the slot of the VM that the action made
};

} // namespace foreshade
