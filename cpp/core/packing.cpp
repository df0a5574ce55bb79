#include "core/packing.hpp"
#include "core/wide.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace foreshade {

namespace {

std::size_t at(std::int32_t i) {
    return static_cast<std::size_t>(i);
}

} // namespace

Packing::Packing(std::shared_ptr<const ExpectedCost> cost) : cost_(std::move(cost)), n_hosts_(cost_->n_hosts()) {
    std::vector<std::int32_t> all(n_hosts_);
    for (std::size_t h = 0; h < n_hosts_; ++h) all[h] = static_cast<std::int32_t>(h);
    cost_->select(all, hosts_);
    trial_ = hosts_;
    const std::size_t room = padded(n_hosts_);
    now_.resize(room);
    after_.resize(room);
    trial_now_.resize(room);
}

void Packing::limit_vms(std::span<const float> cpu_mhz) {
    if (cpu_mhz.size() != n_hosts_) throw std::invalid_argument("packing: expected a largest VM for every host");
    largest_vm_.assign(cpu_mhz.begin(), cpu_mhz.end());
}

FORESHADE_CLONES void Packing::begin(const ClusterState& state, const PackingVms& vms, std::span<const HostUse> use,
                                     const PackingKnobs& knobs) {
    const std::size_t n_vms = state.n_vms();
    if (state.n_hosts() != n_hosts_ || use.size() != n_hosts_ || vms.loads.size() != n_vms ||
        vms.move_usd.size() != n_vms || vms.fixed.size() != n_vms)
        throw std::invalid_argument("packing: expected columns for the state's hosts and VMs");
    knobs_ = knobs;
    if (state.tick < tick_) missed_.assign(n_hosts_, Miss{}); // another run
    tick_ = state.tick;
    missed_.resize(n_hosts_);
    use_.assign(use.begin(), use.end());
    moves_.clear();
    opened_.clear();
    closed_.clear();
    gain_usd_ = 0.0F;
    reserved_ = state.hosts.allocated;
    limit_.resize(n_hosts_ * kResources);
    for (std::size_t i = 0; i < limit_.size(); ++i)
        limit_[i] = state.hosts.capacity[i] * state.hosts.overcommit[i] * (1.0F + 1e-6F);
    allocation_ = state.vms.allocation;
    move_usd_ = vms.move_usd;
    fixed_.assign(vms.fixed.begin(), vms.fixed.end());
    load_ = vms.loads;
    at_.assign(n_vms, -1);
    away_from_.assign(n_vms, -1);
    n_here_.assign(n_hosts_, 0);
    n_fixed_.assign(n_hosts_, 0);
    const std::int32_t* const hosts = state.vms.host.data();
    const std::int32_t* const destinations = state.vms.destination.data();
    const std::int32_t* const primaries = state.vms.primary.data();
    const VmState* const states = state.vms.state.data();
    bool pairs = false;
    first_.assign(n_hosts_ + 1, 0);
    for (std::size_t v = 0; v < n_vms; ++v) {
        const std::int32_t h = destinations[v] >= 0 ? destinations[v] : hosts[v];
        const VmState said = states[v];
        if (h < 0 || said == VmState::absent || is_waiting(said)) continue;
        at_[v] = h;
        ++n_here_[at(h)];
        ++first_[at(h) + 1];
        pairs |= primaries[v] >= 0;
        if (said != VmState::running || destinations[v] >= 0) fixed_[v] = 1;
        if (fixed_[v] != 0) ++n_fixed_[at(h)];
        // While it is copied away it still holds its source.
        if (destinations[v] >= 0 && hosts[v] >= 0) {
            ++n_here_[at(hosts[v])];
            ++n_fixed_[at(hosts[v])];
        }
    }
    for (std::size_t v = 0; pairs && v < n_vms; ++v) {
        if (primaries[v] < 0 || at_[v] < 0) continue;
        const std::size_t primary = at(primaries[v]);
        away_from_[v] = at_[primary];
        if (fixed_[primary] == 0 && at_[primary] >= 0) { // a pair stays where it is
            fixed_[primary] = 1;
            ++n_fixed_[at(at_[primary])];
        }
    }
    // VMs by host, the largest share of a host first: small ones still find room when large ones have it.
    for (std::size_t h = 0; h < n_hosts_; ++h) first_[h + 1] += first_[h];
    order_.resize(at(first_[n_hosts_]));
    next_ = first_;
    for (std::size_t v = 0; v < n_vms; ++v)
        if (at_[v] >= 0) order_[at(next_[at(at_[v])]++)] = static_cast<std::int32_t>(v);
    sorted_.assign(n_hosts_, 0);
    kin_.begin(state.vms.app, load_, knobs_.kin);
    if (kin_) {
        hosts_.clear_loads();
        for (std::size_t v = 0; v < n_vms; ++v) {
            if (at_[v] < 0) continue;
            const std::size_t h = at(at_[v]);
            hosts_.add(h, ExpectedCost::standing(hosts_, h, kin_.coming(v, h)));
            kin_.add(v, h);
        }
    } else {
        for (std::size_t h = 0; h < n_hosts_; ++h) hosts_.set_sum(h, standing_on(h), load_);
    }
    cost_->of_set(hosts_, now_);
    openers_.clear();
    version_.assign(n_hosts_, ++newest_version_); // so nothing that was reckoned before holds
    saves_.resize(n_vms);
    saves_version_.resize(n_vms);
    list_targets();
    if (affinity_) {
        affinity_.read(state);
        company_needs(state);
    }
}

// VMs that stood on a host when the plan began, the largest share first; sorted when they are first asked for.
std::span<const std::int32_t> Packing::largest_first(std::size_t h) {
    const auto vms = standing_on(h);
    if (sorted_[h] != 0) return vms;
    sorted_[h] = 1;
    by_size_.clear();
    for (const std::int32_t v : vms)
        by_size_.push_back({load_[at(v)].mean[0] * hosts_.has(h).inverse_cpu +
                                allocation_[at(v) * kResources + 1] / limit_[h * kResources + 1],
                            v});
    std::sort(by_size_.begin(), by_size_.end(),
              [](const Sized& a, const Sized& b) { return a.share != b.share ? a.share > b.share : a.vm < b.vm; });
    for (std::size_t k = 0; k < vms.size(); ++k) vms[k] = by_size_[k].vm;
    return vms;
}

// The first of a company that has to share a host wants room for the others that wait, too.
void Packing::company_needs(const ClusterState& state) {
    company_need_.assign(load_.size(), Amounts{});
    for (std::size_t v = 0; v < load_.size(); ++v) {
        if (state.vms.state[v] == VmState::absent) continue;
        if (at_[v] < 0) affinity_.set(v, state.vms.app[v], state.vms.kind[v], -1, -1);
        if (at_[v] >= 0 || !affinity_.is_first(v)) continue;
        for (const std::int32_t other : affinity_.company_of(v)) {
            const VmState said = state.vms.state[at(other)];
            if (at(other) == v || !is_waiting(said)) continue;
            for (std::size_t r = 0; r < kResources; ++r) company_need_[v][r] += allocation_[at(other) * kResources + r];
            company_need_[v][1] += hosts_.has(0).overhead[1]; // hypervisors differ little in it
        }
    }
}

void Packing::price(std::size_t h) {
    now_[h] = cost_->of_host(hosts_, h, {}, 0.0F);
}

void Packing::book(std::size_t v, std::size_t to) {
    const std::int32_t from = at_[v];
    shift(v, to);
    if (from >= 0) price(at(from));
    price(to);
}

void Packing::shift(std::size_t v, std::size_t to) {
    moves_.push_back({static_cast<std::int32_t>(v), at_[v], static_cast<std::int32_t>(to)});
    if (at_[v] >= 0) {
        const std::size_t from = at(at_[v]);
        hosts_.add(from, ExpectedCost::standing(hosts_, from, kin_ ? kin_.leaving(v, from) : load_[v]), -1.0F);
        if (kin_) kin_.remove(v, from);
        version_[from] = ++newest_version_;
        --n_here_[from];
    }
    hosts_.add(to, ExpectedCost::standing(hosts_, to, kin_ ? kin_.coming(v, to) : load_[v]));
    if (kin_) kin_.add(v, to);
    version_[to] = ++newest_version_;
    for (std::size_t r = 0; r < kResources; ++r) reserved_[to * kResources + r] += reservation(v, to, r);
    if (affinity_)
        affinity_.move(v, at_[v] < 0 ? static_cast<std::int32_t>(to) : at_[v],
                       at_[v] < 0 ? -1 : static_cast<std::int32_t>(to));
    at_[v] = static_cast<std::int32_t>(to);
    fixed_[v] = 1;
    ++n_here_[to];
    ++n_fixed_[to];
}

std::int32_t Packing::place(std::int32_t vm, std::span<const std::int32_t> spares, std::span<const float> on_usd_h) {
    const std::size_t v = at(vm);
    if (v >= load_.size() || at_[v] >= 0) throw std::invalid_argument("place: expected a VM that has no host");
    if (on_usd_h.size() != n_hosts_) throw std::invalid_argument("place: expected a price for every host");
    std::int32_t to = cheapest(v, hosts_, now_, reserved_, -1);
    std::int32_t spare = -1;
    for (const std::int32_t h : spares)
        if (use_[at(h)] == HostUse::spare && fits(v, at(h), reserved_)) {
            spare = h;
            break;
        }
    if (spare >= 0) {
        const std::size_t h = at(spare);
        float opened = cost_->of_host(hosts_, h, load_[v], 1.0F) - now_[h] + on_usd_h[h];
        if (affinity_) opened += affinity_.usd_h(v, h);
        const bool dear = to >= 0 && !knobs_.peaks && after_[at(to)] - now_[at(to)] > opened;
        if (to < 0 || dear) {
            open(spare);
            to = spare;
        }
    }
    if (to < 0 && knobs_.peaks) { // better a full host than none
        knobs_.peaks = false;
        to = cheapest(v, hosts_, now_, reserved_, -1);
        knobs_.peaks = true;
    }
    if (to >= 0) book(v, at(to));
    return to;
}

void Packing::open(std::int32_t host) {
    if (use_[at(host)] != HostUse::spare) return;
    use_[at(host)] = HostUse::target;
    opened_.push_back(host);
    list_targets();
}

std::size_t Packing::relieve(std::size_t budget) {
    std::size_t left = 0;
    for (std::size_t h = 0; h < n_hosts_; ++h) {
        if (n_here_[h] == 0 || (use_[h] != HostUse::target && use_[h] != HostUse::leaving)) continue;
        while (true) {
            Load less; // undoes the overhead that below() adds for one VM more
            for (std::size_t r = 0; r < kDense; ++r) less.mean[r] = -hosts_.has(h).overhead[r];
            if (below(hosts_, less, h, knobs_.relief)) break;
            // The smallest VM whose leaving is enough, else the largest that finds a place.
            std::int32_t chosen = -1;
            std::int32_t to = -1;
            if (budget == 0) {
                ++left;
                break;
            }
            for (const std::int32_t vm : largest_first(h)) {
                const std::size_t v = at(vm);
                if (fixed_[v] != 0 || at_[v] != static_cast<std::int32_t>(h)) continue;
                Load without; // one VM less, and below() adds one VM's overhead
                for (std::size_t r = 0; r < kDense; ++r) {
                    without.mean[r] = -load_[v].mean[r] - 2.0F * hosts_.has(h).overhead[r];
                    without.variance[r] = -load_[v].variance[r];
                }
                const bool enough = below(hosts_, without, h, knobs_.relief);
                if (!enough && chosen >= 0) continue;
                const std::int32_t place = cheapest(v, hosts_, now_, reserved_, static_cast<std::int32_t>(h));
                if (place < 0) continue;
                chosen = static_cast<std::int32_t>(v);
                to = place;
            }
            if (chosen < 0) {
                ++left;
                break;
            }
            const float added = cost_->of_host(hosts_, at(to), load_[at(chosen)], 1.0F) - now_[at(to)];
            gain_usd_ += (leaving_saves(at(chosen)) - added) * knobs_.horizon_h - move_usd_[at(chosen)];
            book(at(chosen), at(to));
            --budget;
        }
    }
    return left;
}

} // namespace foreshade
