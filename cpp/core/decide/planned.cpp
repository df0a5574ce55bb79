#include "core/decide/planned.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <functional>
#include <iterator>
#include <limits>

#include "core/decide/assumed.hpp"
#include "core/decide/scaled.hpp"
#include "core/spec.hpp"
#include "core/wide.hpp"

#pragma GCC diagnostic ignored "-Wpsabi" // as in wide.hpp

namespace foreshade {

namespace {

constexpr std::size_t kNear = 8;       // hosts with room that a VM's places are sought among
constexpr float kSlack = 1.0F + 5e-7F; // of limits: half the world's, so that rounding is never its refusal

} // namespace

std::shared_ptr<ExpectedCost> expected_cost_of(const Site& site, const ClusterState& state, float sigma_scale) {
    CostPrices prices;
    std::copy_n(site.economy.unmet_usd_h.begin(), kDense, prices.unmet_usd_h.begin());
    prices.late_usd_mhz_h = site.economy.late_usd_mhz_h;
    prices.slo_stretch = site.economy.slo_stretch;
    prices.swap_factor = kSwapFactor;
    prices.sigma_scale = sigma_scale;
    const HostColumns& hosts = state.hosts;
    std::vector<float> capacity = hosts.capacity;
    std::vector<float> power = site.power_w;
    for (std::size_t h = 0; h < state.n_hosts(); ++h) {
        for (std::size_t r = 1; r < kResources; ++r)
            if (hosts.overcommit[h * kResources + r] > kUnlimited) capacity[h * kResources + r] = kNoCapacity;
        const float gpus = hosts.idle_w[h] - power[h * 11]; // GPUs draw idle power that the CPU's curve does not have
        for (std::size_t i = 0; i < 11; ++i) power[h * 11 + i] += gpus;
    }
    return std::make_shared<ExpectedCost>(prices, CostHosts{capacity, site.vm_overhead, power, site.cores});
}

Planned::Planned(std::shared_ptr<const Site> site, std::shared_ptr<const ExpectedCost> cost)
    : site_(std::move(site)), cost_(std::move(cost)), n_hosts_(cost_->n_hosts()), affinity_(site_->affinity) {
    std::vector<std::int32_t> all(n_hosts_);
    for (std::size_t h = 0; h < n_hosts_; ++h) all[h] = static_cast<std::int32_t>(h);
    cost_->select(all, hosts_);
    trial_ = hosts_;
    for (auto* column : {&now_, &after_, &trial_now_}) column->resize(padded(n_hosts_));
    takes_.resize(n_hosts_);
    n_here_.resize(n_hosts_);
    residents_.resize(n_hosts_);
    limit_.resize(n_hosts_ * kResources);
    for (std::uint32_t h = 0; h < n_hosts_; ++h) all_.push_back(h);
}

void Planned::begin(ClusterState& state, std::span<const Load> loads, const Restraint& restraint,
                    const Changed& changed) {
    const bool same = state_ == &state && changed.has_value();
    state_ = &state;
    load_ = loads;
    const HostColumns& hosts = state.hosts;
    if (affinity_) affinity_.read(state);
    if (same) {
        for (const std::int32_t v : booked_) {
            status_[at(v)].new_shadow_at = -1;
            status_[at(v)].reshaped = false;
        }
        bool shadows = shadows_;
        for (const std::int32_t v : *changed) {
            find(at(v));
            shadows = shadows || state.vms.primary[at(v)] >= 0;
        }
        if (shadows) find_shadows();
        note_waiting(*changed);
    } else {
        for (std::size_t i = 0; i < limit_.size(); ++i) limit_[i] = hosts.capacity[i] * hosts.overcommit[i] * kSlack;
        find_all(state.n_vms());
    }
    booked_.clear();
    for (std::size_t h = 0; h < n_hosts_; ++h) {
        n_here_[h] = static_cast<std::int32_t>(residents_[h].size());
        // A host whose last VM is on its way out takes none, or it would never come empty.
        takes_[h] = hosts.state[h] == HostState::on && !(hosts.n_vms[h] > 0 && n_here_[h] == 0) ? 1 : 0;
    }
    fixed_ = restraint.fixed;
    for (std::size_t h = 0; h < restraint.hosts.size(); ++h)
        if (restraint.hosts[h] != HostBar::open) takes_[h] = 0;
    sum_loads();
    cost_->of_set(hosts_, now_);
}

// What the state has of a VM, where its load counts, and who stands there.
void Planned::find(std::size_t v) {
    const VmColumns& vms = state_->vms;
    Status& one = status_[v];
    one.host = vms.host[v];
    one.destination = vms.destination[v];
    one.primary = vms.primary[v];
    one.state = vms.state[v];
    const std::int32_t where = one.destination >= 0 ? one.destination : one.host;
    const std::int32_t h = has_load(one.state) ? where : -1;
    put(v, h);
    if (one.stood == h) return;
    const auto vm = static_cast<std::int32_t>(v);
    if (one.stood >= 0) {
        std::vector<std::int32_t>& left = residents_[at(one.stood)];
        left.erase(std::lower_bound(left.begin(), left.end(), vm));
    }
    if (h >= 0) {
        std::vector<std::int32_t>& joined = residents_[at(h)];
        joined.insert(std::lower_bound(joined.begin(), joined.end(), vm), vm);
    }
    one.stood = h;
}

void Planned::put(std::size_t v, std::int32_t host) {
    status_[v].at = at_[v] = host;
}

void Planned::find_all(std::size_t n_vms) {
    at_.assign(n_vms, -1);
    status_.assign(n_vms, Status{});
    for (std::vector<std::int32_t>& vms : residents_) vms.clear();
    waiting_.clear();
    for (std::size_t v = 0; v < n_vms; ++v) {
        find(v);
        if (is_waiting(status_[v].state)) waiting_.push_back(static_cast<std::int32_t>(v));
    }
    find_shadows();
}

// Who waits now, of those that did and those that may be new.
void Planned::note_waiting(std::span<const std::int32_t> changed) {
    const auto waits = [this](std::int32_t vm) { return is_waiting(status_[at(vm)].state); };
    std::erase_if(waiting_, std::not_fn(waits));
    if (changed.empty()) return;
    std::copy_if(changed.begin(), changed.end(), std::back_inserter(waiting_), waits); // some a second time
    std::sort(waiting_.begin(), waiting_.end());
    waiting_.erase(std::unique(waiting_.begin(), waiting_.end()), waiting_.end());
}

void Planned::find_shadows() {
    for (Status& one : status_) one.shadow_of = -1;
    shadows_ = false;
    for (std::size_t v = 0; v < status_.size(); ++v) {
        const Status& one = status_[v];
        if (one.primary < 0 || one.state == VmState::absent) continue;
        status_[at(one.primary)].shadow_of = static_cast<std::int32_t>(v);
        shadows_ = true;
    }
}

// Adds each VM's load to that of its place.
template <class V> FORESHADE_INLINE void add_loads(std::span<const std::int32_t> place, const Load* loads, auto* sums) {
    static_assert(offsetof(Load, mean) == 0 && offsetof(Load, variance) == sizeof(Load::mean));
    for (std::size_t v = 0; v < place.size(); ++v) {
        auto& sum = sums[place[v]];
        for (std::size_t r = 0; r < sum.moments.size(); r += kVmsOf<V> * kDense) {
            float* const at = sum.moments.data() + r;
            store_of<V>(at, load_of<V>(at) + load_of<V>(reinterpret_cast<const float*>(loads + v) + r));
        }
        sum.credit += loads[v].credit;
    }
}

FORESHADE_AVX2 void add_loads_wide(std::span<const std::int32_t> place, const Load* loads, auto* sums) {
    add_loads<Vec8>(place, loads, sums);
}

// What each host bears: its VMs' loads, with the hypervisor's overhead of each.
void Planned::sum_loads() {
    thread_local std::vector<Sum> of_hosts; // its contents do not outlive the call
    of_hosts.assign(n_hosts_ + 1, Sum{});
    Sum* const sums = of_hosts.data() + 1; // those without a host come before the first
    if (wide_lanes())
        add_loads_wide(at_, load_.data(), sums);
    else
        add_loads<Vec4>(at_, load_.data(), sums);
    for (std::size_t h = 0; h < n_hosts_; ++h) {
        const auto n = static_cast<float>(n_here_[h]);
        const Sum& sum = sums[h];
        const HostHas& has = hosts_.has(h);
        Load& bears = hosts_.bears[h];
        for (std::size_t r = 0; r < kDense; ++r) {
            bears.mean[r] = sum.moments[r] + n * has.overhead[r];
            bears.variance[r] = sum.moments[kDense + r];
        }
        bears.credit = sum.credit + n * has.overhead[0];
    }
}

double Planned::total_usd_h() const {
    double sum = 0.0;
    for (std::size_t h = 0; h < n_hosts_; ++h) {
        const HostState state = state_->hosts.state[h];
        const bool hired = site_->rented[h] != 0;
        if (n_here_[h] > 0 || (state == HostState::on && !hired)) sum += static_cast<double>(now_[h]);
        if (hired && (state == HostState::on || state == HostState::renting))
            sum += static_cast<double>(state_->hosts.price_usd_h[h]);
    }
    return sum;
}

bool Planned::movable(std::size_t v) const {
    return settled(v) && (fixed_.empty() || fixed_[v] == 0);
}

bool Planned::settled(std::size_t v) const {
    const Status& one = status_[v];
    return one.state == VmState::running && one.destination < 0 && one.at >= 0;
}

bool Planned::too_large(const Amounts& allocation, std::size_t h) const {
    return !site_->largest_vm.empty() && allocation[0] > site_->largest_vm[h];
}

// By how much a host would promise more than it may, were this allocated there; of what is not asked for it does not.
inline float Planned::beyond_limit(const Amounts& allocation, std::size_t h, std::size_t r) const {
    if (!(allocation[r] > 0.0F)) return 0.0F;
    const std::size_t i = h * kResources + r;
    const float reserve = r == 1 ? site_->vm_overhead[i] : 0.0F;
    return state_->hosts.allocated[i] + allocation[r] + reserve - limit_[i];
}

bool Planned::holds(const Amounts& allocation, std::size_t h) const {
    if (too_large(allocation, h)) return false;
    for (std::size_t r = 0; r < kResources; ++r)
        if (beyond_limit(allocation, h, r) > 0.0F) return false;
    return true;
}

Amounts Planned::missing(std::size_t v, std::size_t h) const {
    const Amounts need = need_of(v);
    Amounts missing{};
    for (std::size_t r = 0; r < kResources; ++r) missing[r] = std::max(0.0F, beyond_limit(need, h, r));
    return missing;
}

bool Planned::fits(std::size_t v, std::size_t h) const {
    return holds(need_of(v), h) && apart(v, h) && permits(v, h);
}

// With the first of a company that has to share a host come the rest.
Amounts Planned::need_of(std::size_t v) const {
    Amounts need;
    std::copy_n(state_->vms.allocation.data() + v * kResources, kResources, need.begin());
    if (!affinity_ || !affinity_.is_first(v)) return need;
    for (const std::int32_t other : affinity_.company_of(v)) {
        const VmState said = state_->vms.state[at(other)];
        if (at(other) == v || !is_waiting(said)) continue;
        for (std::size_t r = 0; r < kResources; ++r) need[r] += state_->vms.allocation[at(other) * kResources + r];
        need[1] += site_->vm_overhead[1]; // hypervisors differ little in it
    }
    return need;
}

bool Planned::permits(std::size_t v, std::size_t h) const {
    return !affinity_ || affinity_.allows(v, state_->vms.app[v], state_->vms.kind[v], h);
}

bool Planned::permits_new(std::int32_t app, VmKind kind, std::size_t h) const {
    return !affinity_ || affinity_.allows_new(app, kind, h);
}

float Planned::affinity_usd_h(std::size_t v, std::size_t h) const {
    if (!affinity_) return 0.0F;
    const std::int32_t app = state_->vms.app[v];
    const VmKind kind = state_->vms.kind[v];
    const float then = affinity_.usd_h(v, app, kind, h);
    return place(v) < 0 ? then : then - affinity_.usd_h(v, app, kind, at(place(v)));
}

// Whether all VMs that a rule keeps on one host with `v` can go to `h` at once.
bool Planned::takes_company(std::size_t v, std::size_t h) const {
    const std::vector<std::int32_t> vms = affinity_.companions(v);
    Amounts all{};
    for (const std::int32_t other : vms) {
        if (!movable(at(other)) || !apart(at(other), h)) return false;
        for (std::size_t r = 0; r < kResources; ++r) all[r] += state_->vms.allocation[at(other) * kResources + r];
    }
    all[1] += static_cast<float>(vms.size() - 1) * site_->vm_overhead[h * kResources + 1];
    return holds(all, h) && affinity_.allows_company(vms, h);
}

bool Planned::apart(std::size_t v, std::size_t h) const {
    const auto host = static_cast<std::int32_t>(h);
    const Status& one = status_[v];
    const auto stands_there = [&](std::int32_t other) {
        return other >= 0 && (status_[at(other)].host == host || status_[at(other)].at == host);
    };
    return one.new_shadow_at != host && !stands_there(one.primary) && !stands_there(one.shadow_of);
}

bool Planned::allows(const Action& action) const {
    const auto v = at(action.vm);
    if (action.kind == ActionKind::migrate) {
        const std::size_t h = at(action.host);
        if (affinity_ && action.value == 1.0F) return takes_company(v, h);
        return movable(v) && apart(v, h) && permits(v, h);
    }
    if (action.kind == ActionKind::shadow && (status_[v].host == action.host || status_[v].at == action.host))
        return false;
    if (affinity_ && action.host >= 0) {
        const std::size_t h = at(action.host);
        if (action.kind == ActionKind::spawn)
            return action.vm >= 0 ? permits(v, h) : permits_new(action.app, VmKind::production, h);
        if (action.kind == ActionKind::microvm) return permits_new(action.app, VmKind::micro, h);
        if (action.kind == ActionKind::shadow) return permits_new(state_->vms.app[v], VmKind::shadow, h);
    }
    if (action.kind == ActionKind::power && action.rack < 0) {
        const std::size_t h = at(action.host);
        const HostState now = state_->hosts.state[h];
        if (action.value == static_cast<float>(PowerTarget::on))
            return now == HostState::off || now == HostState::asleep;
        if (state_->hosts.n_vms[h] > 0 || state_->hosts.arriving[h] > 0 || n_here_[h] > 0) return false;
        return now == HostState::on || now == HostState::asleep; // a sleeping host may go off
    }
    if (action.kind != ActionKind::reshape) return true;
    if (!settled(v) || reshaped(v)) return false;
    const std::size_t h = at(status_[v].host);
    for (std::size_t r = 0; r < kResources; ++r) {
        const float now = state_->vms.allocation[v * kResources + r];
        const float then = action.allocation[r];
        if (then > now && state_->hosts.allocated[h * kResources + r] - now + then > limit(h, r)) return false;
    }
    return true;
}

void Planned::leaving_saves(std::size_t h, std::span<const std::int32_t> vms, std::vector<float>& out) const {
    out.resize(vms.size());
    if (vms.empty()) return;
    cost_->of_host_each(hosts_, h, vms, load_, -1.0F, out);
    for (float& usd_h : out) usd_h = now_[h] - usd_h;
}

// Among `hosts`, of which at most `most` with room are looked at.
std::int32_t Planned::best_of(std::span<const std::uint32_t> hosts, std::size_t most, std::size_t v,
                              std::int32_t except, const Search& on, float& added_usd_h) {
    const Amounts need = need_of(v);
    const Status& one = status_[v];
    const bool alone = one.new_shadow_at < 0 && one.primary < 0 && one.shadow_of < 0;
    const float* const promised = state_->hosts.allocated.data();
    std::int32_t best = -1;
    added_usd_h = std::numeric_limits<float>::infinity();
    std::array<std::uint32_t, 4> four{};
    std::size_t n = 0;
    const auto look = [&] {
        for (std::size_t k = n; k < 4; ++k) four[k] = four[n - 1];
        cost_->with_vm_at(on.loads, load_[v], four, after_);
        for (std::size_t k = 0; k < n; ++k) {
            const auto host = static_cast<std::int32_t>(four[k]);
            const float added = after_[four[k]] - on.now[four[k]] + affinity_usd_h(v, four[k]);
            if (added > added_usd_h || (added == added_usd_h && host > best)) continue;
            added_usd_h = added;
            best = host;
        }
        n = 0;
    };
    std::size_t looked_at = 0;
    for (const std::uint32_t h : hosts) {
        // Memory first: it is what most hosts are short of.
        if (promised[h * kResources + 1] + need[1] > limit_[h * kResources + 1]) continue;
        if (takes_[h] == 0 || static_cast<std::int32_t>(h) == except || (on.busy && n_here_[h] == 0)) continue;
        if (!holds(need, h) || !(alone || apart(v, h)) || !permits(v, h)) continue;
        four[n++] = h;
        if (n == 4) look();
        if (++looked_at == most) break;
    }
    if (n > 0) look();
    return best;
}

std::int32_t Planned::cheapest(std::size_t v, std::int32_t except, float& added_usd_h) {
    return best_of(all_, n_hosts_, v, except, {hosts_, now_, false}, added_usd_h);
}

std::int32_t Planned::cheapest_near(std::size_t v, std::int32_t except, float& added_usd_h) {
    return best_of(by_price_, kNear, v, except, {hosts_, now_, false}, added_usd_h);
}

void Planned::look_around() {
    Load typical;
    float n = 0.0F;
    for (std::size_t h = 0; h < n_hosts_; ++h) {
        n += static_cast<float>(n_here_[h]);
        for (std::size_t r = 0; r < kDense; ++r) {
            typical.mean[r] += hosts_.bears[h].mean[r];
            typical.variance[r] += hosts_.bears[h].variance[r];
        }
        typical.credit += hosts_.bears[h].credit;
    }
    const float share = 1.0F / std::max(n, 1.0F);
    for (std::size_t r = 0; r < kDense; ++r) {
        typical.mean[r] *= share;
        typical.variance[r] *= share;
    }
    typical.credit *= share;
    by_price_.clear();
    for (std::uint32_t h = 0; h < n_hosts_; ++h)
        if (takes_[h] != 0) by_price_.push_back(h);
    const std::size_t n_taking = by_price_.size();
    while (by_price_.size() % 4 != 0) by_price_.push_back(by_price_.back());
    cost_->with_vm_at(hosts_, typical, by_price_, after_);
    by_price_.resize(n_taking);
    priced_.clear();
    for (const std::uint32_t h : by_price_) priced_.push_back({n_here_[h] == 0, after_[h] - now_[h], h});
    std::sort(priced_.begin(), priced_.end(), [](const Priced& a, const Priced& b) { // empty ones last
        if (a.empty != b.empty) return b.empty;
        return a.added != b.added ? a.added < b.added : a.host < b.host;
    });
    by_price_.clear();
    for (const Priced& one : priced_) by_price_.push_back(one.host);
}

std::int32_t Planned::cheapest(const Load& load, const Amounts& allocation, std::int32_t except, std::int32_t app,
                               VmKind kind, float& added_usd_h) {
    cost_->with_vm(hosts_, load, after_);
    std::int32_t best = -1;
    added_usd_h = std::numeric_limits<float>::infinity();
    for (std::size_t h = 0; h < n_hosts_; ++h) {
        if (takes_[h] == 0 || static_cast<std::int32_t>(h) == except) continue;
        const float added = after_[h] - now_[h];
        if (added >= added_usd_h || !holds(allocation, h) || !permits_new(app, kind, h)) continue;
        added_usd_h = added;
        best = static_cast<std::int32_t>(h);
    }
    return best;
}

bool Planned::empty_out(std::size_t host, std::vector<Action>& out, float& added_usd_h) {
    const std::size_t begin = out.size();
    added_usd_h = 0.0F;
    float needed_mib = 0.0F, room_mib = 0.0F;
    for (const std::int32_t vm : residents(host)) {
        if (place(at(vm)) != static_cast<std::int32_t>(host)) continue;
        if (!movable(at(vm))) return false;
        needed_mib += state_->vms.allocation[at(vm) * kResources + 1];
    }
    for (std::size_t h = 0; h < n_hosts_; ++h)
        if (takes_[h] != 0 && h != host && n_here_[h] > 0)
            room_mib += std::max(0.0F, limit(h, 1) - state_->hosts.allocated[h * kResources + 1]);
    if (needed_mib > room_mib) return false; // wherever they go
    trial_.copy_loads(hosts_);
    trial_now_ = now_;
    trial_allocated_ = state_->hosts.allocated;
    std::swap(trial_allocated_, state_->hosts.allocated); // fits() reads the state; put back below
    bool found = true;
    for (const std::int32_t vm : residents(host)) {
        const std::size_t v = at(vm);
        if (place(v) != static_cast<std::int32_t>(host)) continue;
        found = movable(v);
        if (!found) break;
        float least = 0.0F;
        const std::int32_t best =
            best_of(by_price_, kNear, v, static_cast<std::int32_t>(host), {trial_, trial_now_, true}, least);
        found = best >= 0;
        if (!found) break;
        added_usd_h += least;
        trial_.add(at(best), ExpectedCost::standing(trial_, at(best), load_[v]));
        trial_now_[at(best)] = after_[at(best)];
        reserve(at(best), state_->vms.allocation.data() + v * kResources, 1.0F);
        if (affinity_) affinity_.move(v, static_cast<std::int32_t>(host), best);
        Action& action = out.emplace_back();
        action.kind = ActionKind::migrate;
        action.vm = vm;
        action.host = best;
    }
    std::swap(trial_allocated_, state_->hosts.allocated);
    if (affinity_)
        for (std::size_t i = begin; i < out.size(); ++i)
            affinity_.move(at(out[i].vm), static_cast<std::int32_t>(host), -1);
    if (!found) out.resize(begin);
    return found;
}

void Planned::reserve(std::size_t h, const float* allocation, float sign) {
    float* allocated = state_->hosts.allocated.data() + h * kResources;
    for (std::size_t r = 0; r < kResources; ++r) allocated[r] += sign * allocation[r];
    allocated[1] += sign * site_->vm_overhead[h * kResources + 1];
}

} // namespace foreshade
