// The life of an anomaly: open, acted on once, accepted as normal only after it has lasted.
#pragma once

#include <cstdint>
#include <limits>

namespace foreshade {

enum class AnomalyLabel : std::uint8_t {
    normal,  // as the slow reference expects, or not enough history to say otherwise
    surge,   // above the reference
    drop,    // below it
    stuck,   // the same value for longer than the series' own changes explain
    missing, // no sample
};

struct EpisodeOptions {
    double alarm_surprise = 2.25;         // -log10 p that opens an anomaly: one threshold for all series
    double clear_surprise = 2.25;         // below this a sample speaks for normality again
    std::uint32_t clear_steps = 2;        // so many in a row end the anomaly
    std::uint32_t refractory_steps = 100; // no second alarm within so many steps of the last
    std::uint32_t accept_steps = 288;     // an anomaly that lasts so long is the new normal
    double escalation = 2.0;              // decades of p above the last alarm that break the refractory period
    std::uint32_t ranked_steps = 100;     // first samples of an anomaly that count in the ranks
};

// What one series carries; the columns of the detectors hold these fields side by side.
struct Episode {
    std::uint32_t age = 0;                                           // samples since it opened; 0 = none is open
    std::uint32_t clear = 0;                                         // calm samples in a row
    std::uint32_t quiet = std::numeric_limits<std::uint32_t>::max(); // steps since the last alarm
    float told = 0.0F;                                               // its surprise

    enum class Step : std::uint8_t { calm, opened, held, closed, accepted };

    bool open() const noexcept { return age > 0; }

    // `away` = the series still stands far from its reference: no sample is calm then.
    Step advance(double surprise, bool away, const EpisodeOptions& options) noexcept {
        if (quiet < std::numeric_limits<std::uint32_t>::max()) ++quiet;
        if (!open()) {
            if (surprise < options.alarm_surprise) return Step::calm;
            age = 1;
            clear = 0;
            return Step::opened;
        }
        clear = surprise < options.clear_surprise && !away ? clear + 1 : 0;
        if (clear >= options.clear_steps) {
            age = 0;
            return Step::closed;
        }
        if (++age > options.accept_steps) {
            age = 0;
            return Step::accepted;
        }
        return Step::held;
    }

    // A strange sample is an alarm unless one was raised a moment ago: an anomaly that goes on, or a second one
    // inside it, is told again after the refractory period,
    // or at once when it is far stranger than what was told.
    bool raise(double surprise, const EpisodeOptions& options) noexcept {
        const bool refractory = quiet <= options.refractory_steps;
        if (surprise < options.alarm_surprise) return false;
        if (refractory && surprise < static_cast<double>(told) + options.escalation) return false;
        tell(surprise);
        return true;
    }

    void tell(double surprise) noexcept {
        quiet = 0;
        told = static_cast<float>(surprise);
    }
};

} // namespace foreshade
