#include "core/joint_anomaly.hpp"

#include <cmath>
#include <stdexcept>
#include <string>

namespace foreshade {

namespace {

void require(bool holds, const char* what, double got) {
    if (!holds)
        throw std::invalid_argument(std::string("joint anomaly options: expected ") + what + ", got " +
                                    std::to_string(got));
}

} // namespace

JointBank::JointBank(std::size_t n_machines, std::size_t n_metrics, const JointOptions& options)
    : n_metrics_(n_metrics), options_(options) {
    require(n_metrics >= 1, "at least one metric", static_cast<double>(n_metrics));
    require(options.slow_steps > 1.0, "slow_steps above 1", options.slow_steps);
    require(options.scale_floor > 0.0, "scale_floor above 0", options.scale_floor);
    require(options.ridge > 0.0, "ridge above 0", options.ridge);
    require(options.smooth_steps >= 1.0, "smooth_steps of at least 1", options.smooth_steps);
    require(options.refit_steps >= 1, "refit_steps of at least 1", options.refit_steps);
    size_columns(*this, n_machines);
    work_.assign(n_metrics, 0.0);
}

void JointBank::observe(std::span<const double> time_s, std::span<const double> values) {
    const std::size_t n = n_machines();
    if (values.size() != n * n_metrics_)
        throw std::invalid_argument("joint anomaly observe: expected " + std::to_string(n) + " x " +
                                    std::to_string(n_metrics_) + " values, got " + std::to_string(values.size()));
    if (time_s.size() != n && time_s.size() != 1)
        throw std::invalid_argument("joint anomaly observe: expected 1 or " + std::to_string(n) + " times, got " +
                                    std::to_string(time_s.size()));
    for (std::size_t m = 0; m < n; ++m) {
        const double now = time_s[time_s.size() == 1 ? 0 : m];
        columns_.alarm[m] = 0;
        if (!std::isfinite(now) || now <= last_s_[m]) {
            ++columns_.stale[m];
            continue;
        }
        last_s_[m] = now;
        sample(m, now, values.subspan(m * n_metrics_, n_metrics_));
    }
}

void JointBank::sample(std::size_t m, double time_s, std::span<const double> values) {
    Episode& episode = episode_[m];
    const bool any = std::any_of(values.begin(), values.end(), [](double v) { return std::isfinite(v); });
    if (!any) {
        ++columns_.gaps[m];
        columns_.surprise[m] = 0.0F;
        if (++absent_[m] < options_.missing_steps || n_[m] == 0) return;
        if (absent_[m] == options_.missing_steps) {
            columns_.alarm[m] = 1;
            episode.tell(options_.episode.alarm_surprise);
        }
        episode.age = 0;
        set(m, AnomalyLabel::missing, time_s);
        return;
    }
    absent_[m] = 0;
    double surprise = 0.0;
    std::size_t bin = 0;
    const bool fitted = n_[m] > options_.warmup_steps;
    if (fitted) {
        const double strange = std::pow(distance(m, values), options_.power);
        smooth_[m] += static_cast<float>((strange - static_cast<double>(smooth_[m])) / options_.smooth_steps);
        columns_.deviation[m] = std::pow(smooth_[m], static_cast<float>(1.0 / options_.power));
        bin = kResidualScale.bin(smooth_[m]);
        const RankCounts counts{std::span<std::uint16_t, kRankBins>(&ranks_[m * kRankBins], kRankBins)};
        if (ranked_[m] > options_.warmup_steps) surprise = counts.surprise(bin, ranked_[m]);
    }
    columns_.surprise[m] = static_cast<float>(surprise);
    const Episode::Step step = episode.advance(surprise, false, options_.episode);
    columns_.alarm[m] = episode.raise(surprise, options_.episode);
    if (fitted && (!episode.open() || episode.age <= options_.episode.ranked_steps)) {
        RankCounts counts{std::span<std::uint16_t, kRankBins>(&ranks_[m * kRankBins], kRankBins)};
        ranked_[m] = counts.add(bin, ranked_[m]);
    }
    if (step == Episode::Step::accepted) n_[m] = options_.warmup_steps; // relearns at the pace of a young series
    if (!episode.open()) {
        learn(m, values);
        set(m, AnomalyLabel::normal, time_s);
    } else if (surprise >= options_.episode.alarm_surprise) {
        float sum = 0.0F;
        for (std::size_t i = 0; i < n_metrics_; ++i) sum += contribution_[m * n_metrics_ + i];
        set(m, sum < 0.0F ? AnomalyLabel::drop : AnomalyLabel::surge, time_s);
    }
}

// Root mean square of the whitened residual over the metrics present; an absent metric is taken at its mean.
double JointBank::distance(std::size_t m, std::span<const double> values) {
    const double* lower = &factor_[m * n_metrics_ * n_metrics_];
    double square = 0.0;
    std::size_t present = 0;
    for (std::size_t i = 0; i < n_metrics_; ++i) {
        const std::size_t cell = m * n_metrics_ + i;
        const bool known = std::isfinite(values[i]);
        const double units = known ? (values[i] - mean_[cell]) * inverse_[cell] : 0.0;
        contribution_[cell] = static_cast<float>(units);
        present += known;
        double rest = units;
        for (std::size_t j = 0; j < i; ++j) rest -= lower[i * n_metrics_ + j] * work_[j];
        work_[i] = rest / lower[i * n_metrics_ + i];
        square += work_[i] * work_[i];
    }
    return std::sqrt(square / static_cast<double>(present));
}

void JointBank::learn(std::size_t m, std::span<const double> values) {
    double* mean = &mean_[m * n_metrics_];
    double* covariance = &covariance_[m * n_metrics_ * n_metrics_];
    if (n_[m] == 0)
        for (std::size_t i = 0; i < n_metrics_; ++i) mean[i] = std::isfinite(values[i]) ? values[i] : 0.0;
    ++n_[m];
    const double weight = std::max(1.0 / options_.slow_steps, 1.0 / n_[m]);
    for (std::size_t i = 0; i < n_metrics_; ++i) work_[i] = std::isfinite(values[i]) ? values[i] - mean[i] : 0.0;
    for (std::size_t i = 0; i < n_metrics_; ++i) {
        double* row = &covariance[i * n_metrics_];
        for (std::size_t j = 0; j <= i; ++j) row[j] = (1.0 - weight) * (row[j] + weight * work_[i] * work_[j]);
    }
    for (std::size_t i = 0; i < n_metrics_; ++i) mean[i] += weight * work_[i];
    if (n_[m] >= options_.warmup_steps && n_[m] % options_.refit_steps == options_.warmup_steps % options_.refit_steps)
        factor(m);
}

// Cholesky of correlations + ridge; the ridge keeps it positive whatever the metrics are, constant ones included.
void JointBank::factor(std::size_t m) {
    const std::size_t d = n_metrics_;
    const double* covariance = &covariance_[m * d * d];
    double* lower = &factor_[m * d * d];
    double* inverse = &inverse_[m * d];
    for (std::size_t i = 0; i < d; ++i)
        inverse[i] = 1.0 / (std::sqrt(std::max(covariance[i * d + i], 0.0)) + options_.scale_floor);
    for (std::size_t i = 0; i < d; ++i)
        for (std::size_t j = 0; j <= i; ++j) {
            double sum = covariance[i * d + j] * inverse[i] * inverse[j] + (i == j ? options_.ridge : 0.0);
            for (std::size_t k = 0; k < j; ++k) sum -= lower[i * d + k] * lower[j * d + k];
            lower[i * d + j] = i == j ? std::sqrt(std::max(sum, 1e-12)) : sum / lower[j * d + j];
        }
}

void JointBank::set(std::size_t m, AnomalyLabel label, double time_s) {
    if (label == columns_.label[m]) return;
    columns_.label[m] = label;
    columns_.since_s[m] = label == AnomalyLabel::normal ? std::numeric_limits<double>::quiet_NaN() : time_s;
}

void JointBank::forget(std::size_t machine) {
    blank_series(*this, machine, n_machines());
}

std::vector<std::byte> JointBank::save() const {
    return save_columns(*this);
}

void JointBank::restore(std::span<const std::byte> state) {
    restore_columns(*this, state);
}

} // namespace foreshade
