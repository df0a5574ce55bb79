#include "core/decide/packer_memory.hpp"

#include <stdexcept>
#include <string>

namespace foreshade {

PackerMemory::PackerMemory(const WindowKnobs& window, float tick_s)
    : knobs_(window), tick_s_(tick_s), headroom_(tick_s) {
    if (window.ticks == 0) throw std::invalid_argument("packer: window: expected at least one tick, got 0");
    if (!(tick_s > 0.0F))
        throw std::invalid_argument("packer: tick_s: expected more than 0 s, got " + std::to_string(tick_s));
}

void PackerMemory::reset() {
    seen_ = false;
    headroom_.reset();
}

void PackerMemory::observe(const ClusterState& state, const Changed& changed) {
    const bool first = !seen_;
    if (first) {
        if (window_ && window_->n_vms() == state.n_vms())
            window_->reset();
        else
            window_.emplace(knobs_, state.n_vms(), tick_s_);
        if (watch_) window_->look_for(*watch_);
        seen_ = true;
    }
    window_->update(state, first ? Changed{} : changed);
    headroom_.observe(state, first ? Changed{} : changed);
}

} // namespace foreshade
