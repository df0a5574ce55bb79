// Single moves that pay, and hosts that are opened for them.
//
// Where some targets stand for all (`near`), some VMs do too: what leaving saves is told of each by its host's rates,
// and of those whose leaving could pay the likeliest are looked at.
#include <algorithm>
#include <cmath>
#include <limits>
#include <queue>

#include "core/packing.hpp"
#include "core/wide.hpp"

namespace foreshade {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kSurelyFar = 31.0F; // in squares of sigma: beyond it nothing is expected to be short
// VMs that are looked at for a move at a time, at most: so many, or the second number's part of all.
constexpr std::size_t kLooks = 32, kPartLooked = 32;

std::size_t at(std::int32_t i) {
    return static_cast<std::size_t>(i);
}

} // namespace

// USD/h that its host costs less without it; reckoned once for what the host bears.
float Packing::leaving_saves(std::size_t v) {
    const std::size_t h = at(at_[v]);
    if (saves_version_[v] != version_[h]) {
        saves_version_[v] = version_[h];
        saves_[v] = now_[h] - cost_->of_host(hosts_, h, kin_ ? kin_.leaving(v, h) : load_[v], -1.0F);
    }
    return saves_[v];
}

// The same of a host's VMs that may move and stand where they stood, four at a time.
void Packing::price_leaving(std::size_t h) {
    looked_at_.clear();
    for (const std::int32_t vm : standing_on(h)) {
        const std::size_t v = at(vm);
        if (fixed_[v] == 0 && at_[v] == static_cast<std::int32_t>(h) && saves_version_[v] != version_[h])
            looked_at_.push_back(vm);
    }
    if (looked_at_.empty()) return;
    alone_.resize(looked_at_.size());
    cost_->of_host_each(hosts_, h, looked_at_, load_, -1.0F, alone_);
    for (std::size_t k = 0; k < looked_at_.size(); ++k) {
        const std::size_t v = at(looked_at_[k]);
        saves_version_[v] = version_[h];
        saves_[v] = now_[h] - alone_[k];
        if (kin_ && kin_.beside(v, h)) saves_[v] = now_[h] - cost_->of_host(hosts_, h, kin_.leaving(v, h), -1.0F);
    }
}

// What a host costs less without a VM, told from what it costs less without the mean of its VMs: its mean alone, and
// its variance alone.
void Packing::rate_leaving(std::size_t h) {
    rates_.resize(n_hosts_);
    rates_version_.resize(n_hosts_);
    if (rates_version_[h] == version_[h]) return;
    rates_version_[h] = version_[h];
    Rates& rates = rates_[h];
    rates.hold = true;
    for (std::size_t r = 1; r < kDense && rates.hold; ++r) { // short of anything else, a VM saves by that too
        const float room = hosts_.has(h).capacity[r] - hosts_.bears[h].mean[r];
        rates.hold = room > 0.0F && room * room > kSurelyFar * hosts_.bears[h].variance[r];
    }
    if (!rates.hold) return;
    const float share = 1.0F / static_cast<float>(std::max(1, n_here_[h]));
    std::array<Load, 3> part{};
    part[1].mean[0] = std::max(share * hosts_.bears[h].mean[0], 1.0F);
    part[1].credit = part[1].mean[0] * hosts_.bears[h].credit / std::max(hosts_.bears[h].mean[0], 1.0F);
    part[2].variance[0] = std::max(share * hosts_.bears[h].variance[0], 1.0F);
    constexpr std::array<std::int32_t, 3> kAll{0, 1, 2};
    std::array<float, 3> usd_h{};
    cost_->of_host_each(hosts_, h, kAll, part, -1.0F, usd_h);
    rates.each = now_[h] - usd_h[0];
    rates.mean = (usd_h[0] - usd_h[1]) / part[1].mean[0];
    rates.variance = (usd_h[0] - usd_h[2]) / part[2].variance[0];
}

// VMs whose leaving could pay where a MHz costs so much elsewhere, in hopes_, each with what it could gain.
void Packing::find_hopes(float least_usd_mhz_h) {
    hopes_.clear();
    openers_.clear();
    for (std::size_t h = 0; h < n_hosts_; ++h) hope_at(h, least_usd_mhz_h, true);
}

// The same of one host's; and the sum of what they could gain where a MHz costs as little as it ever does.
FORESHADE_CLONES float Packing::hope_at(std::size_t h, float least_usd_mhz_h, bool openers) {
    opening_hope_.resize(n_hosts_);
    opening_hope_version_.resize(n_hosts_);
    opening_hope_version_[h] = version_[h];
    opening_hope_[h] = 0.0F;
    if (n_here_[h] <= n_fixed_[h]) return 0.0F;
    rate_leaving(h);
    const Rates rates = rates_[h];
    if (!rates.hold) price_leaving(h);
    const float least_anywhere = cost_->least_usd_mhz_h(), margin = knobs_.margin_usd, hours = knobs_.horizon_h;
    const Load* const loads = load_.data();
    const float* const move_usd = move_usd_.data();
    const std::uint8_t* const fixed = fixed_.data();
    float sum = 0.0F;
    for (const std::int32_t vm : standing_on(h)) {
        const std::size_t v = at(vm);
        if (fixed[v] != 0) continue; // whoever has moved is fixed, too
        const Load& load = loads[v];
        const float saved =
            rates.hold ? rates.each + rates.mean * load.mean[0] + rates.variance * load.variance[0] : saves_[v];
        const float at_most = (saved - least_anywhere * load.mean[0]) * hours - move_usd[v];
        if (at_most <= margin) continue;
        sum += at_most;
        if (openers) openers_.push_back({at_most, vm});
        const float hope = (saved - least_usd_mhz_h * load.mean[0]) * hours - move_usd[v];
        if (hope > margin) hopes_.push_back({hope, vm});
    }
    opening_hope_[h] = sum;
    return sum;
}

// What all VMs together could gain on a host that is opened.
float Packing::opening_hope() {
    float sum = 0.0F;
    opening_hope_version_.resize(n_hosts_);
    const bool openers = openers_.empty();
    for (std::size_t h = 0; h < n_hosts_; ++h)
        sum += opening_hope_version_[h] == version_[h] ? opening_hope_[h] : hope_at(h, kInfinity, openers);
    return sum;
}

// The likeliest of those, in looked_at_.
void Packing::keep_likeliest(std::vector<Sized>& hopes) {
    const auto likelier = [](const Sized& a, const Sized& b) {
        return a.share != b.share ? a.share > b.share : a.vm < b.vm;
    };
    const std::size_t most = std::max(kLooks, load_.size() / kPartLooked);
    if (hopes.size() > most) {
        std::nth_element(hopes.begin(), hopes.begin() + static_cast<std::ptrdiff_t>(most), hopes.end(), likelier);
        hopes.resize(most);
    }
    looked_at_.clear();
    for (const Sized& hope : hopes) looked_at_.push_back(hope.vm);
    std::sort(looked_at_.begin(), looked_at_.end());
}

float Packing::improve(std::size_t budget, std::int32_t only) {
    struct Offer {
        float gain;
        std::int32_t vm, to;
        std::uint64_t version; // of what hosts bear, as of then
        bool operator<(const Offer& other) const { return gain != other.gain ? gain < other.gain : vm > other.vm; }
    };
    std::priority_queue<Offer> offers; // gains of single moves, as they were when last looked at
    std::int32_t to = -1;
    // What a MHz costs elsewhere at least; where some targets stand for all, by what it costs on the best of them.
    float least_usd_mhz_h = cost_->least_usd_mhz_h();
    const bool some = tells_by_rates();
    if (looks_at_some() && only < 0) {
        targets_by_price();
        least_usd_mhz_h = std::max(least_usd_mhz_h, kLikely * typical_usd_mhz_h_);
    }
    // What its leaving is worth beyond its price, where a move could pay.
    const auto most_of = [&](std::size_t v) {
        if (only >= 0 && (at_[v] == only || away_from_[v] == only || !fits(v, at(only), reserved_))) return -kInfinity;
        // What it adds elsewhere is at least its energy at the best rate: most VMs need no look at the targets.
        const float broken = affinity_ ? affinity_.usd_h(v, at(at_[v])) : 0.0F; // of soft rules, where it is
        const float most = (leaving_saves(v) + broken) * knobs_.horizon_h - move_usd_[v];
        const float least = load_[v].mean[0] * least_usd_mhz_h * knobs_.horizon_h;
        return most - least <= knobs_.margin_usd ? -kInfinity : most;
    };
    const auto gain_of = [&](std::size_t v, float most) {
        to = -1;
        if (most == -kInfinity) return most;
        if (only >= 0) {
            to = only;
            after_[at(to)] = cost_->of_host(hosts_, at(to), kin_ ? kin_.coming(v, at(to)) : load_[v], 1.0F);
            if (affinity_) after_[at(to)] += affinity_.usd_h(v, at(to));
        } else {
            to = cheapest(v, hosts_, now_, reserved_, at_[v]);
        }
        return to < 0 ? -kInfinity : most - (after_[at(to)] - now_[at(to)]) * knobs_.horizon_h;
    };
    if (some && only >= 0) { // as they were found last; who has moved since moves no more
        by_size_ = openers_;
        std::erase_if(by_size_, [this](const Sized& opener) { return fixed_[at(opener.vm)] != 0; });
        keep_likeliest(by_size_);
    } else if (some) {
        find_hopes(least_usd_mhz_h);
        keep_likeliest(hopes_);
    } else {
        for (std::size_t h = 0; h < n_hosts_; ++h) price_leaving(h);
        looked_at_.clear();
        for (std::size_t v = 0; v < at_.size(); ++v)
            if (at_[v] >= 0 && fixed_[v] == 0) looked_at_.push_back(static_cast<std::int32_t>(v));
    }
    most_.clear();
    std::erase_if(looked_at_, [&](std::int32_t vm) {
        const float most = most_of(at(vm));
        if (most != -kInfinity) most_.push_back(most);
        return most == -kInfinity;
    });
    if (only >= 0) {
        alone_.resize(looked_at_.size());
        cost_->of_host_each(hosts_, at(only), looked_at_, load_, 1.0F, alone_);
        for (std::size_t k = 0; k < looked_at_.size(); ++k)
            if (kin_ && kin_.beside(at(looked_at_[k]), at(only)))
                alone_[k] = cost_->of_host(hosts_, at(only), kin_.coming(at(looked_at_[k]), at(only)), 1.0F);
    }
    for (std::size_t k = 0; k < looked_at_.size(); ++k) {
        const std::size_t v = at(looked_at_[k]);
        const float gain =
            only >= 0 ? most_[k] - (alone_[k] - now_[at(only)]) * knobs_.horizon_h : gain_of(v, most_[k]);
        if (gain > knobs_.margin_usd) offers.push({gain, looked_at_[k], only >= 0 ? only : to, newest_version_});
    }
    float total = 0.0F;
    while (budget > 0 && !offers.empty()) {
        const Offer offer = offers.top();
        offers.pop();
        float gain = offer.gain;
        to = offer.to;
        if (only >= 0 || offer.version != newest_version_) { // moves since then may have taken its point
            gain = gain_of(at(offer.vm), most_of(at(offer.vm)));
            if (gain <= knobs_.margin_usd) continue;
            if (!offers.empty() && gain < offers.top().gain) {
                offers.push({gain, offer.vm, to, newest_version_});
                continue;
            }
        }
        book(at(offer.vm), at(to));
        total += gain;
        --budget;
    }
    gain_usd_ += total;
    return total;
}

float Packing::try_open(std::int32_t host, float price_usd, std::size_t budget, bool keep) {
    if (tells_by_rates()) { // not even if every VM earned there what it could
        const float most = opening_hope();
        if (most <= price_usd) return most - price_usd;
    }
    saved_ = static_cast<const Booked&>(*this);
    use_[at(host)] = HostUse::spare;
    open(host);
    const float gain = improve(budget, host) - price_usd;
    if (keep && gain > 0.0F) {
        gain_usd_ -= price_usd;
        return gain;
    }
    const std::size_t n_moves = saved_.moves_.size();
    if (kin_)
        for (std::size_t k = moves_.size(); k-- > n_moves;) {
            kin_.remove(at(moves_[k].vm), at(moves_[k].destination));
            kin_.add(at(moves_[k].vm), at(moves_[k].source));
        }
    for (std::size_t k = n_moves; k < moves_.size(); ++k) // what was reckoned of them in between holds no more
        for (const std::int32_t h : {moves_[k].source, moves_[k].destination})
            if (h >= 0) version_[at(h)] = ++newest_version_;
    static_cast<Booked&>(*this) = saved_;
    list_targets();
    return gain;
}

} // namespace foreshade
