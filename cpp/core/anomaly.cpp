#include "core/anomaly.hpp"

#include <cmath>
#include <stdexcept>
#include <string>

namespace foreshade {

namespace {

void require(bool holds, const char* what, double got) {
    if (!holds)
        throw std::invalid_argument(std::string("anomaly options: expected ") + what + ", got " + std::to_string(got));
}

// A residual in units of its usual size. A series that never moved has no size: its first move is as strange as
// the scale can say.
float in_units(double residual, double square) {
    if (residual == 0.0) return 0.0F;
    constexpr double kMost = 1e6;
    const double ratio = square > 0.0 ? residual / std::sqrt(square) : std::copysign(kMost, residual);
    return static_cast<float>(std::clamp(ratio, -kMost, kMost));
}

} // namespace

AnomalyBank::AnomalyBank(std::size_t n_series, const AnomalyOptions& options) : options_(options) {
    require(options.slow_steps > 1.0, "slow_steps above 1", options.slow_steps);
    for (const double span : options.spans) require(span >= 1.0, "spans of at least 1 step", span);
    require(options.season_s > 0.0, "season_s above 0", options.season_s);
    require(options.slots >= 1, "at least one slot", options.slots);
    require(options.profile_weight > 0.0 && options.profile_weight <= 1.0, "profile_weight in (0, 1]",
            options.profile_weight);
    require(options.episode.alarm_surprise > 0.0, "alarm_surprise above 0", options.episode.alarm_surprise);
    size_columns(*this, n_series);
}

void AnomalyBank::observe(std::span<const double> time_s, std::span<const double> values) {
    const std::size_t n = n_series();
    if (values.size() != n)
        throw std::invalid_argument("anomaly observe: expected " + std::to_string(n) + " values, got " +
                                    std::to_string(values.size()));
    if (time_s.size() != n && time_s.size() != 1)
        throw std::invalid_argument("anomaly observe: expected 1 or " + std::to_string(n) + " times, got " +
                                    std::to_string(time_s.size()));
    for (std::size_t s = 0; s < n; ++s) {
        const double now = time_s[time_s.size() == 1 ? 0 : s];
        columns_.alarm[s] = 0;
        // A repeated or late sample would be ranked twice, or learned in the wrong slot of the day.
        if (!std::isfinite(now) || now <= last_s_[s]) {
            ++columns_.stale[s];
            continue;
        }
        last_s_[s] = now;
        if (std::isfinite(values[s]))
            sample(s, now, values[s]);
        else
            absent(s, now);
    }
}

void AnomalyBank::absent(std::size_t s, double time_s) {
    ++columns_.gaps[s];
    ++absent_[s];
    columns_.surprise[s] = 0.0F;
    if (absent_[s] < options_.missing_steps || n_[s] == 0) return;
    if (absent_[s] == options_.missing_steps) {
        // That nothing is heard is news whatever was told before.
        columns_.alarm[s] = 1;
        episode_[s].tell(options_.episode.alarm_surprise);
    }
    episode_[s].age = 0;
    set(s, AnomalyLabel::missing, time_s);
}

void AnomalyBank::sample(std::size_t s, double time_s, double value) {
    absent_[s] = 0;
    if (n_[s] == 0) mean_[s] = value;
    const Residuals now = residuals(s, time_s, value);
    const bool stuck = is_stuck(s, value);
    last_[s] = value;
    const double surprise = rank(s, now);

    Episode& episode = episode_[s];
    const double judged = stuck ? std::max(surprise, options_.episode.alarm_surprise) : surprise;
    // Ranks soon call a lasting shift usual; the distance from the reference does not.
    const bool away = std::abs(smooth_[s * kViews + kSpans - 1]) >= options_.away_deviation;
    const Episode::Step step = episode.advance(judged, away, options_.episode);
    columns_.alarm[s] = episode.raise(judged, options_.episode);
    columns_.surprise[s] = static_cast<float>(judged);
    if (step == Episode::Step::accepted) rebase(s);
    // An anomaly enters the ranks with its first samples only, and the reference not at all: leaving every
    // strange sample out would make the ranks ever stricter, letting all in would make the anomaly normal.
    if (!episode.open() || episode.age <= options_.episode.ranked_steps) count(s);
    if (!episode.open()) learn(s, now);
    if (!episode.open())
        set(s, AnomalyLabel::normal, time_s);
    else if (stuck)
        set(s, AnomalyLabel::stuck, time_s);
    else if (surprise >= options_.episode.alarm_surprise)
        set(s, columns_.deviation[s] < 0.0F ? AnomalyLabel::drop : AnomalyLabel::surge, time_s);
}

AnomalyBank::Residuals AnomalyBank::residuals(std::size_t s, double time_s, double value) const {
    const double phase = time_s / options_.season_s;
    const auto slot = std::min(static_cast<std::size_t>((phase - std::floor(phase)) * options_.slots),
                               static_cast<std::size_t>(options_.slots) - 1);
    const std::size_t cell = s * options_.slots + slot;
    const double plain = value - mean_[s];
    // A time of day seen for the first time has no profile: the plain residual would stand out for no reason.
    const double seasonal = visits_[cell] > 0 ? plain - static_cast<double>(profile_[cell]) : 0.0;
    return {in_units(plain, plain_size_[s]), in_units(seasonal, seasonal_size_[s]), slot};
}

double AnomalyBank::rank(std::size_t s, const Residuals& now) {
    float* smooth = &smooth_[s * kViews];
    const bool warm = n_[s] > 1;
    double sum = 0.0;
    double strongest = -1.0;
    for (std::size_t v = 0; v < kViews; ++v) {
        const float residual = v < kSpans ? now.plain : now.seasonal;
        if (warm) smooth[v] += static_cast<float>(1.0 / options_.spans[v % kSpans]) * (residual - smooth[v]);
        bin_[v] = static_cast<std::uint8_t>(kResidualScale.bin(std::abs(smooth[v])));
        const std::size_t h = s * (kViews + 1) + v;
        if (ranked_[h] <= options_.warmup_steps) continue;
        const RankCounts counts{std::span<std::uint16_t, kRankBins>(&ranks_[h * kRankBins], kRankBins)};
        const double surprise = counts.surprise(bin_[v], ranked_[h]);
        sum += surprise;
        if (surprise > strongest) {
            strongest = surprise;
            columns_.deviation[s] = smooth[v];
        }
    }
    bin_[kViews] = static_cast<std::uint8_t>(kSurpriseScale.bin(static_cast<float>(sum)));
    const std::size_t h = s * (kViews + 1) + kViews;
    if (ranked_[h] <= options_.warmup_steps) return 0.0;
    const RankCounts counts{std::span<std::uint16_t, kRankBins>(&ranks_[h * kRankBins], kRankBins)};
    return counts.surprise(bin_[kViews], ranked_[h]);
}

void AnomalyBank::count(std::size_t s) {
    const std::size_t first = s * (kViews + 1);
    for (std::size_t v = 0; v <= kViews; ++v) {
        const std::size_t h = first + v;
        // The sum is worth ranking once its views are.
        if (v == kViews && ranked_[first] <= options_.warmup_steps + 1) continue;
        RankCounts counts{std::span<std::uint16_t, kRankBins>(&ranks_[h * kRankBins], kRankBins)};
        ranked_[h] = counts.add(bin_[v], ranked_[h]);
    }
}

void AnomalyBank::learn(std::size_t s, const Residuals& now) {
    const std::size_t cell = s * options_.slots + now.slot;
    ++n_[s];
    const double weight = std::max(1.0 / options_.slow_steps, 1.0 / n_[s]);
    const double plain = last_[s] - mean_[s];
    const double seasonal = plain - static_cast<double>(profile_[cell]);
    if (visits_[cell] > 0) seasonal_size_[s] = (1.0 - weight) * (seasonal_size_[s] + weight * seasonal * seasonal);
    plain_size_[s] = (1.0 - weight) * (plain_size_[s] + weight * plain * plain);
    mean_[s] += weight * plain;
    if (visits_[cell] < std::numeric_limits<std::uint16_t>::max()) ++visits_[cell];
    profile_[cell] += static_cast<float>(std::max(options_.profile_weight, 1.0 / visits_[cell]) * seasonal);
}

// Equal samples in a row are strange only where the series usually changes: with a share c of changes a run of
// L has the chance (1 - c)^L. The share does not learn from a run that is already called stuck.
bool AnomalyBank::is_stuck(std::size_t s, double value) {
    const bool same = n_[s] > 0 && value == last_[s];
    run_[s] = same ? run_[s] + 1 : 0;
    const double chance = -static_cast<double>(run_[s]) * std::log10(std::max(1.0 - change_[s], 1e-3));
    const bool stuck =
        n_[s] > options_.warmup_steps && run_[s] >= options_.stuck_steps && chance >= options_.stuck_surprise;
    if (!stuck && n_[s] > 0) {
        const double weight = std::max(1.0 / options_.slow_steps, 1.0 / n_[s]);
        change_[s] += weight * ((same ? 0.0 : 1.0) - change_[s]);
    }
    return stuck;
}

// What lasted so long is the new normal: the reference begins again at the present level, the ranks stay.
void AnomalyBank::rebase(std::size_t s) {
    mean_[s] = last_[s];
    n_[s] = static_cast<std::uint32_t>(options_.spans.back());
    run_[s] = 0;
    change_[s] = 0.0;
    std::fill_n(&smooth_[s * kViews], kViews, 0.0F);
}

void AnomalyBank::set(std::size_t s, AnomalyLabel label, double time_s) {
    if (label == columns_.label[s]) return;
    columns_.label[s] = label;
    columns_.since_s[s] = label == AnomalyLabel::normal ? std::numeric_limits<double>::quiet_NaN() : time_s;
}

void AnomalyBank::forget(std::size_t series) {
    blank_series(*this, series, n_series());
}

std::vector<std::byte> AnomalyBank::save() const {
    return save_columns(*this);
}

void AnomalyBank::restore(std::span<const std::byte> state) {
    restore_columns(*this, state);
}

} // namespace foreshade
