// What a host's failure costs while too little memory is free for the VMs that nobody can stand in for.
#pragma once

#include <algorithm>
#include <vector>

namespace foreshade {

// One entry a host: memory of its critical VMs, and the expected USD/h of their being dark until a host has booted.
struct FailureRisk {
    struct Host {
        float mib, usd_h;
    };
    std::vector<Host> hosts;

    // With so much memory free where those that remain stand.
    float usd_h(float free_mib) const {
        float sum = 0.0F;
        for (const Host& host : hosts) sum += host.usd_h * std::max(0.0F, 1.0F - free_mib / host.mib);
        return sum;
    }

    // The room that is worth keeping where a MiB of it costs so much.
    float worth_keeping_mib(float usd_h_mib) const {
        float best = 0.0F, least = usd_h(0.0F);
        for (const Host& host : hosts) {
            const float cost = usd_h(host.mib) + host.mib * usd_h_mib;
            if (cost < least) {
                least = cost;
                best = host.mib;
            }
        }
        return best;
    }
};

} // namespace foreshade
