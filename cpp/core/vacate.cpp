// Several hosts emptied at once, as a rack that is to go off: the VMs of one never go to another of them.
#include <algorithm>

#include "core/packing.hpp"

namespace foreshade {

namespace {

constexpr float kGpusFirst = 10.0F; // beside shares, which are seldom above 1

std::size_t at(std::int32_t i) {
    return static_cast<std::size_t>(i);
}

} // namespace

Vacating Packing::vacate(std::span<const std::int32_t> hosts, std::span<const Opening> openings,
                         const VacatePrices& prices) {
    Vacating plan;
    std::vector<std::int32_t> leavers;
    float saved_usd_h = prices.more_usd_h, paid_usd = 0.0F;
    for (const std::int32_t host : hosts) {
        const std::size_t h = at(host);
        if (n_fixed_[h] > 0 || use_[h] == HostUse::none) return plan;
        saved_usd_h += now_[h] - prices.off_usd_h[h];
        paid_usd += prices.cycle_usd[h];
        for (const std::int32_t vm : largest_first(h))
            if (at_[at(vm)] == host) leavers.push_back(vm);
    }
    // Whoever is large beside its host first, whichever host that is: who is large finds room last.
    const auto size = [this](std::int32_t vm) {
        const std::size_t v = at(vm), h = at(at_[v]);
        return load_[v].mean[0] * hosts_.has(h).inverse_cpu +
               allocation_[v * kResources + 1] / limit_[h * kResources + 1] +
               (allocation_[v * kResources + kDense] > 0.0F ? kGpusFirst : 0.0F);
    };
    std::stable_sort(leavers.begin(), leavers.end(), [&](std::int32_t a, std::int32_t b) { return size(a) > size(b); });

    const std::vector<HostUse> before = use_;
    const float free_before_mib = free_mib();
    for (const std::int32_t host : hosts) use_[at(host)] = HostUse::leaving;
    list_targets();
    const auto is_open = [this](const Opening& opening) {
        return use_[at(opening.host)] == HostUse::target || use_[at(opening.host)] == HostUse::leaving;
    };
    const auto take = [&](const Opening& opening) {
        use_[at(opening.host)] = HostUse::target;
        list_targets();
        saved_usd_h -= opening.usd_h;
        paid_usd += opening.usd;
        plan.opened.push_back(opening.host);
    };
    begin_trial();
    bool possible = true;
    {
        const TrialPlaces places{affinity_, kin_, trial_moves_};
        for (const std::int32_t vm : leavers) {
            const std::size_t v = at(vm);
            std::int32_t to = cheapest(v, trial_, trial_now_, trial_reserved_, at_[v]);
            for (const Opening& opening : openings) {
                if (to >= 0) break;
                if (is_open(opening) || !fits(v, at(opening.host), trial_reserved_)) continue;
                take(opening);
                to = cheapest(v, trial_, trial_now_, trial_reserved_, at_[v]);
            }
            possible = to >= 0;
            if (!possible) break;
            saved_usd_h -= after_[at(to)] - trial_now_[at(to)];
            paid_usd += move_usd_[v] + knobs_.margin_usd;
            book_trial(v, at(to));
        }
    }
    const auto gain = [&] { return saved_usd_h * knobs_.drain_horizon_h - paid_usd; };
    if (possible && gain() > 0.0F) {
        // Room for arrivals must be left; more is opened where a failure would cost more than that.
        std::swap(reserved_, trial_reserved_);
        bool roomy = room_for(prices.sample) >= prices.reserve;
        float free = free_mib();
        for (const Opening& opening : openings) {
            if (is_open(opening)) continue;
            const std::size_t h = at(opening.host);
            const float more = free + limit_[h * kResources + 1] - reserved_[h * kResources + 1];
            const float less_risk = prices.risk->usd_h(free) - prices.risk->usd_h(more);
            if (roomy && less_risk <= opening.usd_h + opening.usd / knobs_.drain_horizon_h) continue;
            take(opening);
            free = more;
            roomy = room_for(prices.sample) >= prices.reserve;
        }
        std::swap(reserved_, trial_reserved_);
        const float more_risk = prices.risk->usd_h(free) - prices.risk->usd_h(free_before_mib);
        plan.gain_usd = gain() - more_risk * knobs_.drain_horizon_h;
        plan.pays = roomy && plan.gain_usd > 0.0F;
    }
    use_ = before;
    list_targets();
    return plan;
}

void Packing::carry_out(const Vacating& plan, std::span<const std::int32_t> hosts) {
    const std::vector<Move> moves = trial_moves_;
    for (const std::int32_t host : plan.opened) open(host);
    for (const Move& move : moves) book(at(move.vm), at(move.destination));
    for (const std::int32_t host : hosts) use_[at(host)] = HostUse::leaving;
    list_targets();
    gain_usd_ += plan.gain_usd;
}

} // namespace foreshade
