// What every decision maker reckons with, in one place.
#pragma once

namespace foreshade {

inline constexpr float kSwapFactor = 90.0F; // slow-down by overflow of memory: tenfold at 10 % (docs/physics.md)
inline constexpr float kUnlimited = 1e3F;   // overcommit from which a limit is none
inline constexpr float kNoCapacity = 1e12F; // of a resource that is held against nobody
// What a live migration is reckoned to take; the profile of KVM in the catalogue.
inline constexpr float kMigrationMbitS = 10'000.0F;
inline constexpr float kMigrationSetupS = 1.0F;
inline constexpr float kMigrationDowntimeS = 0.5F;
inline constexpr float kMigrationSlowdown = 0.1F;
inline constexpr float kMbitPerMib = 8.388608F;
inline constexpr float kShutdownS = 60.0F; // a graceful shutdown draws idle power for so long

inline constexpr float kKnee = 0.8F;        // of its allocation: from there on a VM's answers are late
inline constexpr float kSaturated = 0.95F;  // of its allocation: a VM that gets so much may want more
inline constexpr float kThreatPerH = 0.05F; // failures per hour from which a host's VMs are threatened

} // namespace foreshade
