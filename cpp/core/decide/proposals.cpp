// The proposer's candidates, one function for each sort, and what each is worth.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/decide/assumed.hpp"
#include "core/decide/proposer.hpp"
#include "core/decide/scaled.hpp"

namespace foreshade {

namespace {

// Ticks after which a host that has changed is looked at again, and after which any is.
constexpr std::int64_t kKeptTicks = 6, kLongestTicks = 24;
constexpr std::int64_t kLookEvery = 2;               // ticks between two looks at a crowded host
constexpr float kAlike = 0.02F, kAlikeSpread = 0.2F; // of a host's CPU, of its variance: it bears what it bore
constexpr float kLighter = 0.03F;                    // of its CPU demand, by which a host has become lighter

// Of hosts and VMs ranked by some value, the largest first.
constexpr auto worse = [](const auto& a, const auto& b) {
    return a.value != b.value ? a.value > b.value : a.id < b.id;
};

} // namespace

// Price of migrating a VM: the declared one and its slow-down; its downtime apart.
float Proposer::move_usd(std::size_t v, float& dark_usd) const {
    const Economy& e = priced_->economy;
    const Load& load = planned_->load(v);
    const float credit = planned_->state().vms.credit[v];
    const float seconds = kMigrationSetupS + load.mean[1] * kMbitPerMib / kMigrationMbitS;
    dark_usd = e.downtime_usd_h * kMigrationDowntimeS / 3600.0F * credit;
    return e.migration_usd + kMigrationSlowdown * load.mean[0] * e.unmet_usd_h[0] * seconds / 3600.0F * credit;
}

float Proposer::boot_usd(std::size_t h) const {
    const HostColumns& hosts = planned_->state().hosts;
    const float kwh = (hosts.peak_w[h] * hosts.boot_s[h] + hosts.idle_w[h] * kShutdownS) / 3.6e6F;
    return priced_->economy.boot_usd + kwh * usd_kwh_;
}

void Proposer::price_move(std::size_t v, std::size_t to, Candidate& c) const {
    const HostSet& loads = planned_->loads();
    const Load& load = planned_->load(v);
    const auto from = planned_->place(v);
    ExpectedCost::Split before = cost_->split_host(loads, to, planned_->usd_h(to));
    ExpectedCost::Split after = cost_->split_host(loads, to, load, 1.0F);
    if (from >= 0) {
        const ExpectedCost::Split there = cost_->split_host(loads, at(from), planned_->usd_h(at(from)));
        const ExpectedCost::Split left = cost_->split_host(loads, at(from), load, -1.0F);
        before.energy += there.energy;
        before.late += there.late;
        before.unmet += there.unmet;
        after.energy += left.energy;
        after.late += left.late;
        after.unmet += left.unmet;
    }
    c.performance = (before.unmet - after.unmet) * horizon_h_;
    c.utilisation = (before.energy - after.energy - planned_->affinity_usd_h(v, to)) * horizon_h_;
    c.latency = (after.late - before.late) * horizon_h_;
}

void Proposer::place() {
    const VmColumns& vms = planned_->state().vms;
    if (planned_->waiting().empty()) return;
    ranked_.clear();
    for (const std::int32_t vm : planned_->waiting()) ranked_.push_back({vms.allocation[at(vm) * kResources + 1], vm});
    const auto larger = [](const Ranked& a, const Ranked& b) {
        return a.value != b.value ? a.value > b.value : a.id < b.id;
    };
    const std::size_t n = std::min(knobs_.arrivals, ranked_.size());
    std::partial_sort(ranked_.begin(), ranked_.begin() + static_cast<std::ptrdiff_t>(n), ranked_.end(), larger);
    for (std::size_t i = 0; i < n; ++i) {
        float added = 0.0F;
        const std::int32_t to = planned_->cheapest(at(ranked_[i].id), -1, added);
        if (to < 0) continue;
        Candidate& c = offer(CandidateKind::place);
        c.vm = ranked_[i].id;
        c.host = to;
        Action& action = act(c, ActionKind::spawn);
        action.vm = c.vm;
        action.host = to;
        if (!evaluate(c)) pool_.pop_back();
    }
}

// Moves off a host, those of the VMs whose leaving earns most; kept until the host or their targets are other ones.
void Proposer::find_outlets(std::int32_t host, Outlets& found) {
    const Load& bears = planned_->loads().bears[at(host)];
    found.tick = planned_->state().tick;
    found.here = planned_->here(at(host));
    found.mean_mhz = bears.mean[0];
    found.variance = bears.variance[0];
    found.moves.clear();
    ranked_.clear();
    leavers_.clear();
    for (const std::int32_t vm : planned_->residents(at(host)))
        if (planned_->place(at(vm)) == host && planned_->movable(at(vm))) leavers_.push_back(vm);
    planned_->leaving_saves(at(host), leavers_, saves_);
    for (std::size_t k = 0; k < leavers_.size(); ++k) {
        float dark = 0.0F;
        ranked_.push_back({saves_[k] * horizon_h_ - move_usd(at(leavers_[k]), dark), leavers_[k]});
    }
    const std::size_t m = std::min(knobs_.leavers, ranked_.size());
    std::partial_sort(ranked_.begin(), ranked_.begin() + static_cast<std::ptrdiff_t>(m), ranked_.end(), worse);
    for (std::size_t j = 0; j < m; ++j) {
        look_around();
        float added = 0.0F;
        const std::int32_t to = planned_->cheapest_near(at(ranked_[j].id), host, added);
        if (to < 0) continue;
        Candidate c;
        c.kind = CandidateKind::migrate;
        c.vm = ranked_[j].id;
        c.host = to;
        c.source = host;
        if (evaluate(c)) found.moves.push_back(c);
    }
}

// Whether a host bears about what it bore.
bool Proposer::is_as_it_was(std::int32_t host, const Outlets& then) const {
    const HostSet& loads = planned_->loads();
    const std::size_t h = at(host);
    return planned_->here(h) == then.here &&
           std::abs(loads.bears[h].mean[0] - then.mean_mhz) <= kAlike * loads.has(h).capacity[0] &&
           std::abs(loads.bears[h].variance[0] - then.variance) <= kAlikeSpread * then.variance;
}

// Of the hosts that have changed one is looked at anew, the most crowded, in every other tick where plans do not look
// at all hosts either; the others offer what is still possible of what they did.
void Proposer::relieve() {
    const std::size_t n = std::min(knobs_.crowded_hosts, crowded_.size());
    std::partial_sort(crowded_.begin(), crowded_.begin() + static_cast<std::ptrdiff_t>(n), crowded_.end(), worse);
    const std::int64_t tick = planned_->state().tick;
    bool looked = some_places_ && tick % kLookEvery != 0;
    for (std::size_t i = 0; i < n; ++i) {
        const std::int32_t host = crowded_[i].id;
        const auto possible = [this](const Candidate& c) { return can_move(c); };
        Outlets* outlets = &outlets_[at(host)];
        const std::int64_t age = outlets->tick < 0 ? kLongestTicks : tick - outlets->tick;
        const bool holds = age < kKeptTicks && is_as_it_was(host, *outlets) &&
                           std::all_of(outlets->moves.begin(), outlets->moves.end(), possible);
        // What a plan has left of the moves that were found before it is priced again.
        const bool again = !begins() && some_places_ && outlets->tick >= 0;
        if (!again && !holds && (!looked || age >= kLongestTicks)) {
            if (!begins()) outlets = &found_; // what is kept follows from what was observed, not from choices
            find_outlets(host, *outlets);
            looked = true;
        }
        for (const Candidate& move : outlets->moves) {
            if (!possible(move)) continue;
            Candidate& c = pool_.emplace_back(move);
            if (again && !evaluate(c)) {
                pool_.pop_back();
                continue;
            }
            c.first_action = static_cast<std::uint32_t>(actions_.size());
            c.n_actions = 0;
            Action& action = act(c, ActionKind::migrate);
            action.vm = c.vm;
            action.host = c.host;
        }
    }
}

// Which hosts come first, from the loads as they are now; once for all that is sought among them.
void Proposer::look_around() {
    if (around_) return;
    planned_->look_around();
    around_ = true;
}

// Whether emptying a host would pay if its VMs cost elsewhere but the energy at the best rate.
bool Proposer::could_pay(std::size_t h, float off_h) const {
    const HostSet& loads = planned_->loads();
    float paid = boot_usd(h), dark = 0.0F;
    for (const std::int32_t vm : planned_->residents(h))
        if (planned_->place(at(vm)) == static_cast<std::int32_t>(h)) paid += move_usd(at(vm), dark) + dark;
    const float off = site_->off_w[h] * usd_kwh_ * 1e-3F;
    return (planned_->usd_h(h) - off - cost_->least_usd_mhz_h() * loads.bears[h].mean[0]) * off_h > paid;
}

void Proposer::drain() {
    if (!site_->can(ActionKind::power)) return;
    const auto less = [](const Ranked& a, const Ranked& b) {
        return a.value != b.value ? a.value < b.value : a.id < b.id;
    };
    const std::size_t n = std::min(knobs_.drains, idle_.size());
    std::partial_sort(idle_.begin(), idle_.begin() + static_cast<std::ptrdiff_t>(n), idle_.end(), less);
    const float off_h = static_cast<float>(knobs_.off_ticks) * site_->tick_s / 3600.0F;
    const std::int64_t tick = planned_->state().tick;
    for (std::size_t i = 0; i < n; ++i) {
        const auto h = at(idle_[i].id);
        Vain& vain = in_vain_[h];
        const float mean_mhz = planned_->loads().bears[h].mean[0];
        const bool lighter = planned_->here(h) < vain.here || mean_mhz < vain.mean_mhz * (1.0F - kLighter);
        if (!planned_->takes(h) || planned_->here(h) == 0) continue;
        if (vain.tick >= 0 && tick - vain.tick < (lighter ? kKeptTicks : kLongestTicks)) continue;
        const auto came_to_nothing = [&] {
            if (begins()) vain = {tick, planned_->here(h), mean_mhz};
        };
        if (!could_pay(h, off_h)) {
            came_to_nothing();
            continue;
        }
        look_around();
        Candidate& c = offer(CandidateKind::drain);
        c.source = idle_[i].id;
        float added = 0.0F;
        // What was booked onto an empty host in this tick cannot leave it in the same: then nothing is to be moved.
        if (!planned_->empty_out(h, actions_, added) || actions_.size() == c.first_action) {
            pool_.pop_back();
            came_to_nothing();
            continue;
        }
        c.n_actions = static_cast<std::uint32_t>(actions_.size()) - c.first_action;
        const ExpectedCost::Split now = cost_->split_host(planned_->loads(), h, planned_->usd_h(h));
        const float off = site_->off_w[h] * usd_kwh_ * 1e-3F;
        c.performance = now.unmet * off_h;
        c.latency = -now.late * off_h;
        c.utilisation = (now.energy - off - added) * off_h;
        c.cost = boot_usd(h);
        for (std::uint32_t k = 0; k < c.n_actions; ++k) {
            float dark = 0.0F;
            c.cost += move_usd(at(actions_[c.first_action + k].vm), dark);
            c.latency += dark;
        }
        c.host = actions_[c.first_action].host;
        c.ready_h = site_->tick_s / 3600.0F;
        if (c.score() <= 0.0F) came_to_nothing();
    }
}

void Proposer::switches() {
    const HostColumns& hosts = planned_->state().hosts;
    const float off_h = static_cast<float>(knobs_.off_ticks) * site_->tick_s / 3600.0F;
    std::size_t off_offered = 0, hire_offered = 0;
    const float room_usd =
        context_[context::memory_reserved] > 0.97F || context_[context::waiting] > 0.0F ? unit_usd_ * horizon_h_ : 0.0F;
    const float unmet_usd = [&] {
        float sum = 0.0F;
        for (std::size_t i = 0; i < std::min(knobs_.crowded_hosts, crowded_.size()); ++i) {
            const std::size_t h = at(crowded_[i].id);
            sum += cost_->split_host(planned_->loads(), h, planned_->usd_h(h)).unmet;
        }
        return sum * horizon_h_;
    }();
    for (std::size_t h = 0; h < planned_->n_hosts(); ++h) {
        const auto host = static_cast<std::int32_t>(h);
        const HostState s = hosts.state[h];
        const bool empty = hosts.n_vms[h] == 0 && hosts.arriving[h] == 0 && planned_->here(h) == 0;
        if (site_->rented[h] != 0) {
            if (!site_->can(ActionKind::rent)) continue;
            const bool back = s == HostState::on && empty;
            if ((!back && s != HostState::unrented) || hire_offered >= knobs_.switches) continue;
            ++hire_offered;
            Candidate& c = offer(back ? CandidateKind::give_back : CandidateKind::rent);
            c.host = host;
            Action& action = act(c, ActionKind::rent);
            action.host = host;
            action.value = back ? 0.0F : 1.0F;
            const float hire = hosts.price_usd_h[h] * horizon_h_;
            c.utilisation = back ? hire : -hire;
            c.performance = back ? 0.0F : room_usd + 0.5F * unmet_usd;
            c.ready_h = back ? 0.0F : hours(hosts.boot_s[h]);
            continue;
        }
        if (!site_->can(ActionKind::power)) continue;
        if (s == HostState::on && empty && off_offered < knobs_.switches) {
            ++off_offered;
            for (const bool sleep : {false, true}) {
                if (sleep && (site_->sleep_w.empty() || site_->sleep_w[h] <= 0.0F)) continue;
                Candidate& c = offer(sleep ? CandidateKind::sleep : CandidateKind::power_off);
                c.host = host;
                Action& action = act(c, ActionKind::power);
                action.host = host;
                action.value = static_cast<float>(sleep ? PowerTarget::sleep : PowerTarget::off);
                const float rest = sleep ? site_->sleep_w[h] : site_->off_w[h];
                c.utilisation = (hosts.idle_w[h] - rest) * usd_kwh_ * 1e-3F * off_h;
                c.cost = sleep ? 0.0F : boot_usd(h);
            }
        }
    }
    std::size_t on_offered = 0;
    for (std::size_t i = 0; i < by_peak_.size() && on_offered < knobs_.switches; ++i) {
        const std::size_t h = at(by_peak_[i]);
        const bool asleep = hosts.state[h] == HostState::asleep;
        if (hosts.state[h] != HostState::off && !asleep) continue;
        ++on_offered;
        Candidate& c = offer(CandidateKind::power_on);
        c.host = by_peak_[i];
        if (is_dark(hosts.rack[h])) {
            Action& rack = act(c, ActionKind::power);
            rack.rack = hosts.rack[h];
            rack.value = static_cast<float>(PowerTarget::on);
        }
        Action& action = act(c, ActionKind::power);
        action.host = c.host;
        action.value = static_cast<float>(PowerTarget::on);
        c.performance = room_usd + 0.5F * unmet_usd;
        c.utilisation = -(hosts.idle_w[h] - site_->off_w[h]) * usd_kwh_ * 1e-3F * horizon_h_;
        c.cost = asleep ? 0.0F : boot_usd(h);
        c.ready_h = hours(asleep && !site_->wake_s.empty() ? site_->wake_s[h] : hosts.boot_s[h]);
    }
}

// Micro-VMs and shadows for VMs that want more than they get, or whose host may fail; traffic to and from shadows.
void Proposer::helpers() {
    const ClusterState& state = planned_->state();
    const VmColumns& vms = state.vms;
    const bool shadows = site_->can(ActionKind::shadow), micros = site_->can(ActionKind::microvm);
    const bool shifts = site_->can(ActionKind::shift), ends = site_->can(ActionKind::despawn);
    const bool spawns = site_->can(ActionKind::spawn);
    if (!shadows && !micros && !shifts && !ends && !spawns) return;
    // What a host of a VM may lose in the horizon: unmet demand by crowding, and all of it by a failure.
    const auto threat_usd = [&](std::size_t h) {
        const HostSet& loads = planned_->loads();
        const float here = static_cast<float>(std::max(1, planned_->here(h)));
        const float fails = 1.0F - std::exp(-state.hosts.hazard_per_h[h] * horizon_h_);
        const float dark_h = (state.hosts.boot_s[h] + 0.5F * site_->tick_s) / 3600.0F;
        return cost_->split_host(loads, h, planned_->usd_h(h)).unmet * horizon_h_ / here +
               fails * priced_->economy.downtime_usd_h * dark_h;
    };
    ranked_.clear();
    std::size_t shown = 0;
    const std::size_t n_looked = alarmed_ ? state.n_vms() : pressed_.size();
    for (std::size_t k = 0; k < n_looked; ++k) {
        const std::size_t v = alarmed_ ? k : at(pressed_[k]);
        if (!serving(vms.state[v]) || vms.host[v] < 0) continue;
        if (vms.kind[v] == VmKind::shadow && vms.primary[v] >= 0) {
            const std::size_t primary = at(vms.primary[v]);
            if (vms.host[primary] < 0 || shown >= knobs_.helpers) continue;
            ++shown;
            const float threat = threat_usd(at(vms.host[primary]));
            const bool takes = vms.weight[v] > 0.0F;
            if (shifts) {
                Candidate& c = offer(CandidateKind::shift);
                c.vm = static_cast<std::int32_t>(v);
                c.host = vms.host[v];
                c.source = vms.host[primary];
                Action& action = act(c, ActionKind::shift);
                action.vm = c.vm;
                action.value = takes ? 0.0F
                                     : vms.weight[primary] * vms.allocation[v * kResources] /
                                           std::max(vms.allocation[primary * kResources], 1.0F);
                c.performance = (takes ? -0.5F : 0.5F) * threat;
            }
            if (ends && !takes && vms.state[v] == VmState::running && vms.destination[v] < 0) {
                Candidate& c = offer(CandidateKind::release);
                c.vm = static_cast<std::int32_t>(v);
                c.host = vms.host[v];
                act(c, ActionKind::despawn).vm = c.vm;
                c.performance = -0.5F * threat;
                c.utilisation = vms.allocation[v * kResources + 1] * room_usd_h_[1] * horizon_h_;
            }
            continue;
        }
        if (free_slots_ == 0 || vms.kind[v] != VmKind::production || vms.state[v] != VmState::running) continue;
        const float now = vms.allocation[v * kResources];
        const float contended = vms.contention[v] * vms.demand[v * kResources];
        const float saturated = vms.demand[v * kResources] >= kSaturated * now ? 0.15F * now : 0.0F;
        const float want = (contended + saturated) * vms.credit[v];
        const float hazard = state.hosts.hazard_per_h[at(vms.host[v])];
        if (want > 0.0F || hazard > kThreatPerH)
            ranked_.push_back({want + hazard * vms.demand[v * kResources], static_cast<std::int32_t>(v)});
    }
    if (ranked_.empty()) return;
    const std::size_t n = std::min(knobs_.helpers, ranked_.size());
    std::partial_sort(
        ranked_.begin(), ranked_.begin() + static_cast<std::ptrdiff_t>(n), ranked_.end(),
        [](const Ranked& a, const Ranked& b) { return a.value != b.value ? a.value > b.value : a.id < b.id; });
    for (std::size_t i = 0; i < n; ++i) {
        const std::int32_t vm = ranked_[i].id;
        const std::size_t v = at(vm);
        const auto part_of = [&](float share, Load& load) {
            Amounts part;
            for (std::size_t r = 0; r < kResources; ++r) part[r] = vms.allocation[v * kResources + r] * share;
            for (std::size_t r = 0; r < kDense; ++r) {
                load.mean[r] = planned_->load(v).mean[r] * share;
                load.variance[r] = planned_->load(v).variance[r] * share * share;
            }
            load.credit = planned_->load(v).credit * share;
            return part;
        };
        const float threat = threat_usd(at(vms.host[v]));
        const float capped = unmet_usd(v, 0, vms.allocation[v * kResources]) * horizon_h_;
        const auto helper = [&](CandidateKind kind, float share, float worth, float memory) {
            Load load;
            Amounts part = part_of(share, load);
            part[1] *= memory;
            part[4] = 0.0F;
            if (!(part[0] > 0.0F && part[1] > 0.0F)) return;
            float added = 0.0F;
            const std::int32_t to = planned_->cheapest(load, part, vms.host[v], vms.app[v],
                                                       kind == CandidateKind::shadow    ? VmKind::shadow
                                                       : kind == CandidateKind::microvm ? VmKind::micro
                                                                                        : VmKind::production,
                                                       added);
            if (to < 0) return;
            Candidate& c = offer(kind);
            c.vm = vm;
            c.host = to;
            c.source = vms.host[v];
            Action& action = act(c, kind == CandidateKind::shadow    ? ActionKind::shadow
                                    : kind == CandidateKind::microvm ? ActionKind::microvm
                                                                     : ActionKind::spawn);
            action.host = to;
            action.allocation = part;
            if (kind == CandidateKind::shadow) {
                action.vm = vm;
                action.value = share;
            } else {
                action.app = vms.app[v];
                if (kind == CandidateKind::microvm) action.value2 = knobs_.micro_life_s;
            }
            c.performance = worth;
            c.utilisation = -(added + part[1] * room_usd_h_[1]) * horizon_h_;
            c.ready_h = 0.02F;
        };
        if (shadows && !planned_->shadowed(v)) helper(CandidateKind::shadow, knobs_.shadow_share, 0.5F * threat, 1.0F);
        const auto app = static_cast<std::size_t>(std::max(0, vms.app[v]));
        const float offload = app < site_->offloadable.size() ? site_->offloadable[app] : 0.0F;
        if (micros && offload > 0.0F)
            helper(CandidateKind::microvm, knobs_.micro_share, std::min(1.0F, offload / knobs_.micro_share) * capped,
                   0.5F);
        if (spawns) helper(CandidateKind::spawn, 1.0F, capped, 1.0F);
    }
}

// Whether the VM of a move or a place can go there, from the planned state as it is now.
bool Proposer::can_move(const Candidate& c) const {
    const std::size_t v = at(c.vm), to = at(c.host);
    const bool waits = is_waiting(planned_->status(v).state);
    if (c.kind == CandidateKind::place ? !waits : !planned_->movable(v) || planned_->place(v) != c.source) return false;
    return planned_->takes(to) && planned_->fits(v, to);
}

// Score of a candidate of a single action, from the planned state as it is now; false where it cannot be done.
bool Proposer::evaluate(Candidate& c) {
    const ClusterState& state = planned_->state();
    const VmColumns& vms = state.vms;
    c.performance = c.utilisation = c.cost = c.latency = 0.0F;
    if (c.kind == CandidateKind::migrate || c.kind == CandidateKind::place) {
        if (!can_move(c)) return false;
        const std::size_t v = at(c.vm);
        const std::size_t to = at(c.host);
        price_move(v, to, c);
        if (c.kind == CandidateKind::place) {
            // Waiting is downtime, and its demand is unmet.
            c.performance += (priced_->economy.downtime_usd_h * vms.credit[v] +
                              planned_->load(v).credit * priced_->economy.unmet_usd_h[0]) *
                             horizon_h_;
            c.ready_h = 0.01F;
        } else {
            float dark = 0.0F;
            c.cost = move_usd(v, dark);
            c.latency += dark;
            c.performance += c.frees_usd;
            c.ready_h = planned_->load(v).mean[1] * kMbitPerMib / kMigrationMbitS / 3600.0F;
        }
        return true;
    }
    if (c.kind == CandidateKind::grow || c.kind == CandidateKind::shrink) {
        const Action& action = actions_[c.first_action];
        const std::size_t v = at(c.vm);
        const Planned::Status& status = planned_->status(v);
        if (status.state != VmState::running || status.destination >= 0 || status.reshaped) return false;
        const std::size_t h = at(status.host);
        const float* now = vms.allocation.data() + v * kResources;
        bool changes = false;
        for (std::size_t r = 0; r < kDense; ++r) {
            if (action.allocation[r] == now[r]) continue;
            changes = true;
            if (action.allocation[r] > now[r] &&
                state.hosts.allocated[h * kResources + r] - now[r] + action.allocation[r] > planned_->limit(h, r))
                return false;
            c.performance += (unmet_usd(v, r, now[r]) - unmet_usd(v, r, action.allocation[r])) * horizon_h_;
        }
        for (std::size_t r = 0; r < kDense; ++r)
            c.utilisation += (now[r] - action.allocation[r]) * room_usd_h_[r] * horizon_h_;
        return changes;
    }
    return true;
}

} // namespace foreshade
