#include "core/kin.hpp"

#include <algorithm>
#include <cmath>

namespace foreshade {

void Kin::begin(std::span<const std::int32_t> app, std::span<const Load> loads, float correlation) {
    correlation_ = correlation;
    if (correlation <= 0.0F) return;
    loads_ = loads;
    std::int32_t last = -1;
    for (const std::int32_t a : app) last = std::max(last, a);
    members_.assign(static_cast<std::size_t>(last + 1), 0);
    for (std::size_t v = 0; v < app.size(); ++v)
        if (app[v] >= 0 && loads[v].mean[0] > 0.0F) ++members_[static_cast<std::size_t>(app[v])];
    stands_.resize(members_.size());
    for (std::vector<Stand>& stands : stands_) stands.clear();
    app_.assign(app.begin(), app.end());
    sigma_.resize(app.size() * kDense);
    for (std::size_t v = 0; v < app_.size(); ++v) {
        if (app_[v] >= 0 && members_[static_cast<std::size_t>(app_[v])] < 2) app_[v] = -1;
        if (app_[v] < 0) continue;
        for (std::size_t r = 0; r < kDense; ++r)
            sigma_[v * kDense + r] = std::sqrt(std::max(0.0F, loads[v].variance[r]));
    }
}

const Kin::Stand* Kin::find(std::size_t v, std::size_t host) const {
    if (app_[v] < 0) return nullptr;
    for (const Stand& stand : stands_[static_cast<std::size_t>(app_[v])])
        if (stand.host == static_cast<std::int32_t>(host)) return &stand;
    return nullptr;
}

void Kin::change(std::size_t v, std::size_t host, float sign) {
    if (app_[v] < 0) return;
    std::vector<Stand>& stands = stands_[static_cast<std::size_t>(app_[v])];
    auto stand = std::find_if(stands.begin(), stands.end(),
                              [host](const Stand& s) { return s.host == static_cast<std::int32_t>(host); });
    if (stand == stands.end()) stand = stands.insert(stands.end(), {static_cast<std::int32_t>(host), 0, {}});
    stand->vms += sign > 0.0F ? 1 : -1;
    for (std::size_t r = 0; r < kDense; ++r) stand->sigma[r] += sign * sigma(v, r);
    if (stand->vms <= 0) stands.erase(stand);
}

bool Kin::beside(std::size_t v, std::size_t host) const {
    return find(v, host) != nullptr;
}

Load Kin::coming(std::size_t v, std::size_t host) const {
    Load load = loads_[v];
    if (const Stand* const stand = find(v, host))
        for (std::size_t r = 0; r < kDense; ++r)
            load.variance[r] += 2.0F * correlation_ * sigma(v, r) * std::max(0.0F, stand->sigma[r]);
    return load;
}

Load Kin::leaving(std::size_t v, std::size_t host) const {
    Load load = loads_[v];
    if (const Stand* const stand = find(v, host))
        for (std::size_t r = 0; r < kDense; ++r)
            load.variance[r] += 2.0F * correlation_ * sigma(v, r) * std::max(0.0F, stand->sigma[r] - sigma(v, r));
    return load;
}

} // namespace foreshade
