// Hosts that take VMs: who fits where, and where a VM adds least.
#include <algorithm>
#include <cmath>
#include <limits>

#include "core/packing.hpp"
#include "core/wide.hpp"

namespace foreshade {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kGpuWaste = 1e6F; // USD/h for each GPU left over: more than anything costs

std::size_t at(std::int32_t i) {
    return static_cast<std::size_t>(i);
}

} // namespace

void Packing::list_targets() {
    targets_.clear();
    for (std::size_t h = 0; h < n_hosts_; ++h)
        if (use_[h] == HostUse::target) targets_.push_back(static_cast<std::uint32_t>(h));
    n_targets_ = targets_.size();
    while (targets_.size() % 4 != 0) targets_.push_back(targets_.back());
    ranked_version_ = 0;
}

// What a VM takes of a host's limit: its allocation, and of memory the hypervisor's overhead.
float Packing::reservation(std::size_t v, std::size_t h, std::size_t r) const {
    return allocation_[v * kResources + r] + (r == 1 ? hosts_.has(h).overhead[1] : 0.0F);
}

bool Packing::fits(std::size_t v, std::size_t h, const std::vector<float>& reserved) const {
    if (!largest_vm_.empty() && allocation_[v * kResources] > largest_vm_[h]) return false;
    if (!closed_.empty() && closed_[h] != 0) return false;
    const std::size_t row = h * kResources;
    const Vec4 need = load4(allocation_.data() + v * kResources) + Vec4{0.0F, hosts_.has(h).overhead[1], 0.0F, 0.0F};
    if (any4(load4(reserved.data() + row) + need > load4(limit_.data() + row))) return false;
    if (reserved[row + kDense] + allocation_[v * kResources + kDense] > limit_[row + kDense]) return false;
    if (!affinity_) return true;
    if (!affinity_.allows(v, h)) return false;
    if (at_[v] < 0 && affinity_.is_first(v))
        for (std::size_t r = 0; r < kResources; ++r)
            if (reserved[h * kResources + r] + reservation(v, h, r) + company_need_[v][r] > limit_[h * kResources + r])
                return false;
    return true;
}

// Whether the peaks stay below the given shares with `load` added.
bool Packing::below(const HostSet& hosts, const Load& load, std::size_t h,
                    const std::array<float, kDense>& share) const {
    for (std::size_t r = 0; r < kDense; ++r) {
        const float mean = hosts.bears[h].mean[r] + load.mean[r] + hosts.has(h).overhead[r];
        const float variance = std::max(0.0F, hosts.bears[h].variance[r] + load.variance[r]);
        if (mean + knobs_.z * std::sqrt(variance) > share[r] * hosts.has(h).capacity[r]) return false;
    }
    return true;
}

float Packing::fullness(const HostSet& hosts, std::size_t h) const {
    const float cpu = hosts.bears[h].mean[0] + knobs_.z * std::sqrt(std::max(0.0F, hosts.bears[h].variance[0]));
    return cpu * hosts.has(h).inverse_cpu + hosts.bears[h].mean[1] / hosts.has(h).capacity[1];
}

float Packing::peak_share(std::int32_t host, std::size_t r) const {
    const std::size_t h = at(host);
    return (hosts_.bears[h].mean[r] + knobs_.z * std::sqrt(std::max(0.0F, hosts_.bears[h].variance[r]))) /
           hosts_.has(h).capacity[r];
}

// GPUs come in pieces: a VM that needs some goes where the fewest are left over. Counts before any cost.
float Packing::wasted_gpus(std::size_t v, std::size_t h, const std::vector<float>& reserved) const {
    const float needed = allocation_[v * kResources + kDense];
    if (needed <= 0.0F) return 0.0F;
    return kGpuWaste * (1.0F + limit_[h * kResources + kDense] - reserved[h * kResources + kDense] - needed);
}

// The targets by what a VM of mean size adds there: as they stand now, or as they stood a few moves ago.
FORESHADE_CLONES std::span<const std::uint32_t> Packing::targets_by_price() {
    constexpr std::uint64_t kLookAgain = 16; // bookings on a host, two of a move
    if (ranked_version_ != 0 && newest_version_ - ranked_version_ < kLookAgain) return ranked_;
    ranked_version_ = newest_version_;
    Load typical;
    float vms = 0.0F;
    for (std::size_t k = 0; k < n_targets_; ++k) {
        const std::size_t h = targets_[k];
        vms += static_cast<float>(n_here_[h]);
        for (std::size_t r = 0; r < kDense; ++r) {
            typical.mean[r] += hosts_.bears[h].mean[r];
            typical.variance[r] += hosts_.bears[h].variance[r];
        }
        typical.credit += hosts_.bears[h].credit;
    }
    const float share = 1.0F / std::max(vms, 1.0F);
    for (std::size_t r = 0; r < kDense; ++r) {
        typical.mean[r] *= share;
        typical.variance[r] *= share;
    }
    typical.credit *= share;
    cost_->with_vm_at(hosts_, typical, targets_, after_);
    priced_.clear();
    for (std::size_t k = 0; k < n_targets_; ++k) {
        const std::uint32_t h = targets_[k];
        priced_.push_back({after_[h] - now_[h], h});
    }
    std::sort(priced_.begin(), priced_.end(), [](const Priced& a, const Priced& b) {
        return a.added != b.added ? a.added < b.added : a.host < b.host;
    });
    ranked_.clear();
    for (const Priced& one : priced_) ranked_.push_back(one.host);
    typical_usd_mhz_h_ = priced_.empty() ? 0.0F : std::max(0.0F, priced_[0].added) / std::max(typical.mean[0], 1.0F);
    return ranked_;
}

// The target where the VM adds least, and leaves in after_ what each host that was looked at would cost. Where `near`
// is set, only so many with room are looked at, those first where a VM of mean size adds least.
FORESHADE_CLONES std::int32_t Packing::cheapest(std::size_t v, const HostSet& hosts, const std::vector<float>& now,
                                                const std::vector<float>& reserved, std::int32_t except) {
    const bool some = looks_at_some();
    const std::span<const std::uint32_t> order =
        some ? targets_by_price() : std::span<const std::uint32_t>(targets_).first(n_targets_);
    const std::size_t most = some ? knobs_.near : n_targets_;
    std::int32_t best = -1;
    float least = kInfinity;
    std::array<std::uint32_t, 4> four{};
    std::size_t n = 0;
    const auto look = [&] {
        for (std::size_t k = n; k < 4; ++k) four[k] = four[n - 1];
        cost_->with_vm_at(hosts, load_[v], four, after_);
        for (std::size_t k = 0; k < n; ++k) {
            const std::size_t h = four[k];
            const auto host = static_cast<std::int32_t>(h);
            if (kin_ && kin_.beside(v, h)) after_[h] = cost_->of_host(hosts, h, kin_.coming(v, h), 1.0F);
            if (affinity_) after_[h] += affinity_.usd_h(v, h);
            if (!knobs_.fullest && least < kGpuWaste && after_[h] - now[h] > least) continue;
            if (knobs_.peaks && !below(hosts, load_[v], h, knobs_.target)) continue;
            const float score =
                (knobs_.fullest ? -fullness(hosts, h) : after_[h] - now[h]) + wasted_gpus(v, h, reserved);
            if (score > least || (score == least && host > best)) continue;
            least = score;
            best = host;
        }
        n = 0;
    };
    std::size_t looked_at = 0;
    const float memory_mib = allocation_[v * kResources + 1];
    for (const std::uint32_t h : order) {
        // Memory first: it is what most hosts are short of.
        const std::size_t memory = h * kResources + 1;
        if (reserved[memory] + (memory_mib + hosts_.has(h).overhead[1]) > limit_[memory]) continue;
        const auto host = static_cast<std::int32_t>(h);
        if (host == except || host == away_from_[v] || !fits(v, h, reserved)) continue;
        four[n++] = h;
        if (n == 4) look();
        if (++looked_at == most) break;
    }
    if (n > 0) look();
    return best;
}

float Packing::free_mib() const {
    float sum = 0.0F;
    for (std::size_t h = 0; h < n_hosts_; ++h)
        if (use_[h] == HostUse::target)
            sum += std::max(0.0F, limit_[h * kResources + 1] - reserved_[h * kResources + 1]);
    return sum;
}

std::size_t Packing::room_for(const Amounts& sample) const {
    std::size_t count = 0;
    for (std::size_t h = 0; h < n_hosts_; ++h) {
        if (use_[h] != HostUse::target) continue;
        float room = 1e6F;
        for (std::size_t r = 0; r < kResources; ++r)
            if (sample[r] > 0.0F)
                room = std::min(room, (limit_[h * kResources + r] - reserved_[h * kResources + r]) / sample[r]);
        if (room >= 1.0F) count += static_cast<std::size_t>(room);
    }
    return count;
}

} // namespace foreshade
