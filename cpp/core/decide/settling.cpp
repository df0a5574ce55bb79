// What a choice leaves of the other candidates.
#include "core/decide/proposer.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/decide/scaled.hpp"

namespace foreshade {

namespace {

bool is_move(CandidateKind kind) {
    return kind == CandidateKind::migrate || kind == CandidateKind::place;
}

// Whose score follows from the planned state as it is now.
bool is_move_or_size(CandidateKind kind) {
    return is_move(kind) || kind == CandidateKind::grow || kind == CandidateKind::shrink;
}

} // namespace

// After a single action: only what shares its VM or hosts has another score now.
void Proposer::settle(const Candidate& chosen, std::size_t index) {
    const auto touches = [&](std::int32_t vm, std::int32_t host) {
        return (vm >= 0 && vm == chosen.vm) || (host >= 0 && (host == chosen.host || host == chosen.source));
    };
    for (std::size_t i = 1; i < shown_.size(); ++i) {
        Candidate& c = shown_[i];
        if (!c.possible) continue;
        if (c.offered >= 0 && offers_[at(c.offered)].taken) {
            c.possible = false;
            stale_[i] = 1;
            continue;
        }
        bool same = i == index || touches(c.vm, c.host) || touches(-1, c.source) ||
                    (free_slots_ == 0 && c.n_actions == 1 && makes_vm(actions_[c.first_action]));
        for (std::uint32_t k = 0; k < c.n_actions && !same; ++k) {
            const Action& action = actions_[c.first_action + k];
            same = touches(action.vm, action.host);
        }
        if (!same) continue;
        stale_[i] = 1;
        if (c.offered >= 0) {
            c.possible = i != index && stands(offers_[at(c.offered)]);
            continue;
        }
        c.possible = i != index && c.n_actions == 1 && is_move_or_size(c.kind) && evaluate(c);
        if (c.possible) prefer(c);
    }
}

// After VMs were right-sized: what they want is what it was, so only room has changed, and what could be sized.
void Proposer::settle_sizes() {
    const ClusterState& state = planned_->state();
    resized_.assign(state.n_hosts(), 0);
    grown_.assign(state.n_hosts(), 0);
    for (const std::int32_t vm : planned_->booked())
        if (planned_->reshaped(at(vm)) && planned_->status(at(vm)).host >= 0)
            resized_[at(planned_->status(at(vm)).host)] = 1;
    for (std::size_t h = 0; h < state.n_hosts(); ++h)
        for (std::size_t r = 0; r < kResources && resized_[h] != 0; ++r)
            if (state.hosts.allocated[h * kResources + r] > allocated_[h * kResources + r]) grown_[h] = 1;
    const auto in = [](const std::vector<std::uint8_t>& hosts, std::int32_t h) { return h >= 0 && hosts[at(h)] != 0; };
    for (std::size_t i = 1; i < shown_.size(); ++i) {
        Candidate& c = shown_[i];
        if (!c.possible) continue;
        const bool touched = in(resized_, c.host) || in(resized_, c.source);
        if (touched) stale_[i] = 1;
        if (c.offered >= 0) {
            c.possible = !offers_[at(c.offered)].taken && stands(offers_[at(c.offered)]);
        } else if (c.kind == CandidateKind::right_size) {
            c.possible = false;
        } else if (is_move(c.kind)) {
            if (touched) c.possible = can_move(c);
        } else if (is_move_or_size(c.kind)) {
            if (!touched) continue;
            c.possible = evaluate(c);
            if (c.possible) prefer(c);
        } else if (c.kind != CandidateKind::plan) { // a plan is made anew when it is chosen
            for (std::uint32_t k = 0; k < c.n_actions && c.possible; ++k) {
                const Action& action = actions_[c.first_action + k];
                const bool grew = action.vm >= 0 && planned_->reshaped(at(action.vm)) &&
                                  in(grown_, planned_->status(at(action.vm)).host);
                c.possible =
                    !grew && !(action.host >= 0 && action.kind != ActionKind::power && in(grown_, action.host));
            }
        }
        if (!c.possible) stale_[i] = 1;
    }
}

} // namespace foreshade
