#include "cloudsim/tentative.hpp"

#include <algorithm>
#include <array>
#include <limits>

namespace foreshade::cloudsim {

namespace {

// Wider than any rounding of the shortcuts below; what falls inside is computed as CloudSim does.
constexpr double kMargin = 1e-9;

constexpr std::array<double, kTrend> trend_weights() {
    std::array<double, kTrend> out{};
    for (std::size_t j = 0; j < kTrend; ++j) out[j] = trend_weight(j);
    return out;
}

constexpr std::array<double, kTrend> kTrendWeights = trend_weights();

} // namespace

Tentative::Tentative(const Cluster& cluster, const History& history)
    : cluster_(cluster), history_(history), filled_(cluster.n_hosts()), lists_(cluster.n_hosts()),
      held_(cluster.n_hosts()), trend_(cluster.n_vms(), 0.0), range_(cluster.n_vms(), 0.0) {
    offers_.reserve(cluster.n_hosts());
    for (std::size_t h = 0; h < cluster.n_hosts(); ++h) offers_.push_back(idle_offer(h));
}

Offer Tentative::idle_offer(std::size_t h) const {
    const HostModel& model = cluster_.model(h);
    Offer offer{};
    offer.fitting = model.pe_mips;
    offer.power_w = model.power.idle();
    offer.available = model.capacity;
    offer.spread = -1;
    offer.host = static_cast<std::uint32_t>(h);
    offer.length = 1;
    set_room(offer);
    return offer;
}

void Tentative::reset(Policy policy, double parameter) {
    policy_ = policy;
    parameter_ = parameter;
    filled_.each([this](std::size_t h) {
        lists_[h].clear();
        offers_[h] = idle_offer(h);
    });
    filled_ = cluster_.occupied;
    const bool trends = uses_trend() && history_.count() >= kTrend;
    filled_.each([&](std::size_t h) {
        const HostShare& share = cluster_.shares[h];
        Offer& offer = offers_[h];
        offer.fitting = std::min(share.available, cluster_.model(h).pe_mips);
        offer.used = share.load;
        offer.power_w = share.power_w;
        offer.available = share.available;
        offer.requested = share.requested;
        lists_[h] = cluster_.lists[h];
        for (const std::int32_t vm : lists_[h]) {
            const auto v = static_cast<std::size_t>(vm);
            const double* const sample = history_.of(v);
            if (trends) {
                double trend = 0;
                for (std::size_t j = 0; j < kTrend; ++j) trend += kTrendWeights[j] * sample[j];
                trend_[v] = trend * cluster_.mips[v];
                offer.trend += trend_[v];
            } else if (uses_spread()) {
                double least = sample[0];
                double most = sample[0];
                for (std::size_t j = 1; j < history_.count(); ++j) {
                    least = std::min(least, sample[j]);
                    most = std::max(most, sample[j]);
                }
                range_[v] = (most - least) * cluster_.mips[v];
            }
            offer.length = std::max(offer.length, static_cast<std::uint32_t>(history_.length(v)));
        }
        set_room(offer);
    });
}

// Bounds the weight that the host can take: linear, a little too wide, and what passes it is asked exactly.
void Tentative::set_room(Offer& offer) const {
    const double capacity = cluster_.model(offer.host).capacity;
    double limit = std::numeric_limits<double>::infinity();
    double taken = offer.requested;
    if (offer.used == 0) {
        // an idle host is never asked whether it is overloaded
    } else if (policy_ == Policy::thr) {
        limit = parameter_;
    } else if (uses_trend() && offer.length >= kTrend && parameter_ > 0) {
        limit = 1 / parameter_;
        taken = offer.trend;
    } else if (uses_spread() && offer.length >= kSpreadLength && offer.spread >= 0) {
        limit = 1 - parameter_ * offer.spread;
    }
    offer.room = capacity * (limit + kMargin * (1 + parameter_)) - taken;
}

Guest Tentative::guest(std::size_t vm) const {
    Guest guest{vm, cluster_.request[vm], trend_[vm], range_[vm], 0.0, static_cast<std::uint32_t>(history_.length(vm))};
    guest.weight = uses_trend() ? guest.trend : guest.request;
    // IQR and MAD shrink by at most the range of what is added to the history.
    if (uses_spread()) guest.weight -= parameter_ * guest.range;
    return guest;
}

void Tentative::remove(std::size_t h, std::size_t index) {
    auto& list = lists_[h];
    list.erase(list.begin() + static_cast<std::ptrdiff_t>(index));
    Offer& offer = offers_[h];
    offer.requested = 0;
    offer.trend = 0;
    offer.spread = -1;
    offer.held = false;
    offer.length = 1;
    for (const std::int32_t vm : list) {
        const auto v = static_cast<std::size_t>(vm);
        offer.requested += cluster_.request[v];
        offer.trend += trend_[v];
        offer.length = std::max(offer.length, static_cast<std::uint32_t>(history_.length(v)));
    }
}

void Tentative::append(Offer& offer, const Guest& guest) {
    lists_[offer.host].push_back(static_cast<std::int32_t>(guest.vm));
    filled_.insert(offer.host);
    offer.available -= guest.request;
    offer.fitting = std::min(offer.available, cluster_.model(offer.host).pe_mips);
    offer.used += guest.request;
    offer.requested += guest.request;
    offer.trend += guest.trend;
    offer.length = std::max(offer.length, guest.length);
    offer.spread = -1;
    if (offer.held)
        add_history(guest.vm, cluster_.model(offer.host).capacity, history_.count(), held_[offer.host].data());
    set_room(offer);
}

void Tentative::undo(Offer& offer, const Offer& before) {
    lists_[offer.host].pop_back();
    offer = before;
    offer.held = false; // it may have been added to
}

bool Tentative::overloaded(Offer& offer, const Guest* guest) {
    const double capacity = cluster_.model(offer.host).capacity;
    const double requested = guest != nullptr ? offer.requested + guest->request : offer.requested;
    const double utilisation = requested / capacity;
    const std::uint32_t length = guest != nullptr ? std::max(offer.length, guest->length) : offer.length;
    switch (policy_) {
    case Policy::none:
        return false;
    case Policy::thr:
        return utilisation > parameter_;
    case Policy::iqr:
    case Policy::mad:
        if (length < kSpreadLength) return utilisation > kFallback;
        return above_spread(offer, guest, utilisation);
    case Policy::lr:
    case Policy::lrr:
        break;
    }
    if (length < kTrend) return utilisation > kFallback;
    const double next = parameter_ * (guest != nullptr ? offer.trend + guest->trend : offer.trend) / capacity;
    if (next > 1 + kMargin) return true;
    if (next < 1 - kMargin) return false;
    return trend_reaches_one(offer.host, guest);
}

// IQR and MAD change by at most the range of what is added to the history, which settles most questions.
bool Tentative::above_spread(Offer& offer, const Guest* guest, double utilisation) {
    const std::size_t length = guest != nullptr ? std::max(offer.length, guest->length) : offer.length;
    const double capacity = cluster_.model(offer.host).capacity;
    if (offer.spread < 0) {
        hold(offer);
        offer.spread = spread(held_[offer.host].data(), offer.length);
        set_room(offer);
    }
    if (guest == nullptr) return utilisation > 1 - parameter_ * offer.spread;
    if (guest->length <= offer.length) {
        const double change = guest->range / capacity + kMargin;
        if (utilisation > 1 - parameter_ * (offer.spread - change)) return true;
        if (utilisation < 1 - parameter_ * (offer.spread + change)) return false;
    }
    hold(offer);
    std::array<double, kHistory> sum = held_[offer.host];
    add_history(guest->vm, capacity, length, sum.data());
    return utilisation > 1 - parameter_ * spread(sum.data(), length);
}

// Sums run in list order, so a host's history can be kept and added to.
void Tentative::hold(Offer& offer) {
    if (offer.held) return;
    auto& sum = held_[offer.host];
    sum.fill(0.0);
    const double capacity = cluster_.model(offer.host).capacity;
    for (const std::int32_t vm : lists_[offer.host])
        add_history(static_cast<std::size_t>(vm), capacity, history_.count(), sum.data());
    offer.held = true;
}

double Tentative::spread(const double* history, std::size_t length) const {
    const std::span<const double> kept(history, length);
    return policy_ == Policy::iqr ? interquartile_range(kept) : median_absolute_deviation(kept);
}

void Tentative::add_history(std::size_t vm, double capacity, std::size_t n, double* sum) const {
    const double mips = cluster_.mips[vm];
    const double* const sample = history_.of(vm);
    for (std::size_t j = 0; j < n; ++j) sum[j] += sample[j] * mips / capacity;
}

bool Tentative::trend_reaches_one(std::size_t h, const Guest* guest) const {
    std::array<double, kTrend> sum{};
    const double capacity = cluster_.model(h).capacity;
    for (const std::int32_t vm : lists_[h]) add_history(static_cast<std::size_t>(vm), capacity, kTrend, sum.data());
    if (guest != nullptr) add_history(guest->vm, capacity, kTrend, sum.data());
    return parameter_ * next_of_trend(sum.data()) >= 1;
}

} // namespace foreshade::cloudsim
