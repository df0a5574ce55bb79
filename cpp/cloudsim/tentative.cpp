#include "cloudsim/tentative.hpp"

#include <algorithm>
#include <array>

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
    : cluster_(cluster), history_(history), offers_(cluster.n_hosts()), lists_(cluster.n_hosts()),
      trend_(cluster.n_vms(), 0.0), range_(cluster.n_vms(), 0.0) {}

void Tentative::reset(Policy policy, double parameter) {
    policy_ = policy;
    parameter_ = parameter;
    const bool trends = uses_trend() && history_.count() >= kTrend;
    for (std::size_t h = 0; h < offers_.size(); ++h) {
        const HostShare& share = cluster_.shares[h];
        Offer& offer = offers_[h];
        offer = {
            share.available, share.load, share.requested, share.power_w, 0.0, -1.0, static_cast<std::uint32_t>(h), 1};
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
                const auto [least, most] = std::minmax_element(sample, sample + history_.count());
                range_[v] = (*most - *least) * cluster_.mips[v];
            }
            offer.length = std::max(offer.length, static_cast<std::uint32_t>(history_.length(v)));
        }
    }
}

Guest Tentative::guest(std::size_t vm) const {
    return {vm, cluster_.request[vm], trend_[vm], range_[vm], static_cast<std::uint32_t>(history_.length(vm))};
}

void Tentative::remove(std::size_t h, std::size_t index) {
    auto& list = lists_[h];
    list.erase(list.begin() + static_cast<std::ptrdiff_t>(index));
    Offer& offer = offers_[h];
    offer.requested = 0;
    offer.trend = 0;
    offer.spread = -1;
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
    offer.available -= guest.request;
    offer.used += guest.request;
    offer.requested += guest.request;
    offer.trend += guest.trend;
    offer.length = std::max(offer.length, guest.length);
    offer.spread = -1;
}

void Tentative::undo(Offer& offer, const Offer& before) {
    lists_[offer.host].pop_back();
    offer = before;
}

bool Tentative::overloaded(Offer& offer, const Guest* guest) const {
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
bool Tentative::above_spread(Offer& offer, const Guest* guest, double utilisation) const {
    const std::size_t length = guest != nullptr ? std::max(offer.length, guest->length) : offer.length;
    if (guest != nullptr && guest->length <= offer.length) {
        if (offer.spread < 0) offer.spread = spread(offer.host, nullptr, length);
        const double change = guest->range / cluster_.model(offer.host).capacity + kMargin;
        if (utilisation > 1 - parameter_ * (offer.spread - change)) return true;
        if (utilisation < 1 - parameter_ * (offer.spread + change)) return false;
    }
    return utilisation > 1 - parameter_ * spread(offer.host, guest, length);
}

void Tentative::add_history(std::size_t vm, double capacity, std::size_t n, double* sum) const {
    const double mips = cluster_.mips[vm];
    const double* const sample = history_.of(vm);
    for (std::size_t j = 0; j < n; ++j) sum[j] += sample[j] * mips / capacity;
}

double Tentative::spread(std::size_t h, const Guest* guest, std::size_t length) const {
    std::array<double, kHistory> sum{};
    const double capacity = cluster_.model(h).capacity;
    for (const std::int32_t vm : lists_[h]) add_history(static_cast<std::size_t>(vm), capacity, length, sum.data());
    if (guest != nullptr) add_history(guest->vm, capacity, length, sum.data());
    const std::span<const double> history(sum.data(), length);
    return policy_ == Policy::iqr ? interquartile_range(history) : median_absolute_deviation(history);
}

bool Tentative::trend_reaches_one(std::size_t h, const Guest* guest) const {
    std::array<double, kTrend> sum{};
    const double capacity = cluster_.model(h).capacity;
    for (const std::int32_t vm : lists_[h]) add_history(static_cast<std::size_t>(vm), capacity, kTrend, sum.data());
    if (guest != nullptr) add_history(guest->vm, capacity, kTrend, sum.data());
    return parameter_ * next_of_trend(sum.data()) >= 1;
}

} // namespace foreshade::cloudsim
