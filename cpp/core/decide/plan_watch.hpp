// When a whole plan is worth making: where something has changed since the last one that could change the answer.
//
// A packer looks at every VM and every host; on most ticks it finds nothing, since nothing has happened. Between the
// ticks at which it is due in any case, a plan is made only where a host came up, fell out with VMs on it or came
// empty, where a failure is foreseen, where VMs wait that no single candidate serves, where what a host is expected to
// cost by crowding has risen by what a migration costs, where demand has fallen or promised memory risen, or where the
// last plan had much to do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/decide/planned.hpp"

namespace foreshade {

class PlanWatch {
  public:
    // Due every `every_ticks` in any case; `alarm_per_h`: failure hazard from which a host is emptied; `move_usd`: what
    // a rise of expected crowding must be worth over `horizon_h`.
    PlanWatch(std::size_t every_ticks, float alarm_per_h, float move_usd, float horizon_h);

    void reset();

    // Whether a plan should be made of the planned state as the tick begins; `unserved`: VMs that wait and that no
    // single candidate places. What is seen then is what later ticks are compared with.
    bool due(const Planned& planned, const ExpectedCost& cost, bool unserved);

    // The plan that was due had much to do: the next tick looks again.
    void found() { found_ = true; }

  private:
    std::int64_t every_;
    float alarm_per_h_, rise_usd_h_;
    bool seen_ = false, found_ = false;
    double demand_ = 0.0, promised_ = 0.0; // MHz and MiB of all VMs at the last plan
    std::int64_t last_ = 0;                // tick of the last plan
    std::vector<std::uint8_t> condition_;  // (n_hosts,) whether on, whether it bears VMs, whether alarmed
    std::vector<float> now_usd_h_;         // (n_hosts,) what crowding is expected to cost
    std::vector<float> least_usd_h_;       // (n_hosts,) likewise, the least since the last plan
};

} // namespace foreshade
