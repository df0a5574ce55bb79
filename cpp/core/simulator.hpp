// One simulated data centre: the hidden truth, the events that drive it, and the accounts. Laws: docs/physics.md.
//
// A tick is: execute() any number of actions at its start, then advance(). observe() shows what telemetry would.
// All demand is in a shared table; an environment owns only where its VMs are and what they are doing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/action.hpp"
#include "core/affinity.hpp"
#include "core/cluster_state.hpp"
#include "core/curves.hpp"
#include "core/forecast/demand_forecaster.hpp"
#include "core/forecast/source.hpp"
#include "core/metrics.hpp"
#include "core/random.hpp"
#include "core/spec.hpp"

namespace foreshade {

// What follows from a DataCentre and a WorkloadView, computed once and shared by all environments.
struct Plant {
    DataCentre spec;
    WorkloadView work;
    std::vector<PowerCurve> power; // by server model
    std::vector<LateCurve> late;   // by server model
    struct HostConstants {
        Vec4 usable; // efficiency × capacity
        float usable_gpu;
        float inverse_cpu; // 1 / usable cpu
        float metered;     // 1, or 0 where the power is a provider's
        float gpu_idle_w;  // of all its GPUs
        float gpu_slope_w; // for each GPU in use
        const PowerCurve* power;
        const LateCurve* late;
        const HypervisorProfile* profile;
        float vm_cpu_mhz;
        float vm_memory_mib;
        float link_mbit_s;       // for migrations
        float limit[kResources]; // overcommit × usable capacity
    };
    std::vector<HostConstants> hosts;
    std::vector<Vec4> series_peak; // (n_series,) largest demand of each resource over the whole workload
    std::uint32_t allowed = ~0U;   // bit per ActionKind
    float tight_factor = 5.0F;     // 1 / (1 - knee)
    double committed_usd_h = 0.0;  // of hosts that are paid whether they are used or not
    forecast::Source forecast;

    // Throws std::invalid_argument on a data centre, workload or table that cannot be simulated.
    Plant(DataCentre spec, WorkloadView work, std::uint32_t allowed, forecast::Source forecast = {});
    Plant(const Plant&) = delete; // its hosts point into its own curves
    Plant& operator=(const Plant&) = delete;
};

class Simulator {
  public:
    Simulator(std::shared_ptr<const Plant> plant, std::uint64_t seed);

    // Back to tick `start_tick` with every VM of that tick pending; the same seed gives the same run.
    void reset(std::uint64_t seed, std::int64_t start_tick = 0);

    // Starts one action, or refuses it and changes nothing.
    ActionResult execute(const Action& action);

    // Sends for the VMs that these concern, so that executing them waits for memory once and not for each.
    void fetch(std::span<const Action> actions) const;

    // Places what is pending or failed by the scenario's rule; returns how many VMs still wait.
    std::size_t schedule();

    // Plays one tick. Throws std::logic_error after the last.
    void advance();

    bool done() const { return tick_ >= static_cast<std::int64_t>(plant_->work.n_ticks); }
    std::int64_t tick() const { return tick_; }
    double time_s() const { return now_; }

    // Sizes the state's columns and fills those that never change; once before observe().
    void prepare(ClusterState& state) const;
    // Fills the state with what telemetry shows at the end of the last tick.
    void observe(ClusterState& state);
    // The same for a state that was filled by this simulator before, and of which only the VMs `booked` were written to
    // since by others. Costs what has changed, and demand of all; VMs' usage, which no decision asks for, is left as it
    // was, and moved_s tells what since_move_s would. Tells which VMs show more that is new than demand and allocation,
    // until the next call.
    Changed observe_again(ClusterState& state, std::span<const std::int32_t> booked);

    const Totals& last_tick() const { return last_totals_; }
    const Totals& totals() const { return totals_; }
    double worst_vm_unmet() const;
    void record_history(bool on) { recording_ = on; }
    const std::vector<TickRecord>& history() const { return history_; }
    std::size_t memory_bytes() const;   // of this environment alone
    std::size_t bytes_per_tick() const; // that a quiet tick reads and writes, shared demand included
    const Plant& plant() const { return *plant_; }

    // Multiplies the hidden demand of one VM's series from now on, unknown to any observer until it shows in usage;
    // for tests of what a policy can know.
    void perturb_hidden_demand(float factor) {
        hidden_factor_ = factor;
        packed_hosts_ = false;
    }
    // Delays every failure drawn so far that has no precursor; likewise.
    void postpone_silent_failures(double by_s);

  private:
    enum class EventKind : std::uint8_t {
        vm_booted,
        vm_stopped,
        vm_expired,
        host_ready,
        host_down,
        host_asleep,
        host_fails,
        host_repaired,
        alarm_on,
        alarm_off,
        rent_hour,
        maintenance_starts,
        maintenance_ends,
        host_noticed,
        host_reclaimed,
    };
    struct Event {
        double time;
        std::uint64_t order; // first pushed, first played at equal times
        std::int32_t id;
        std::uint32_t epoch; // stale unless equal to the VM's or host's
        EventKind kind;
        bool operator<(const Event& o) const { return time != o.time ? time > o.time : order > o.order; }
    };
    enum class Change : std::uint8_t { none, allocation, more }; // of what is shown of a VM besides usage
    struct alignas(64) Vm {                                      // what a host's load follows from comes first
        float allocation[kResources];
        float flavour[kResources];
        VmState state = VmState::absent;
        VmKind kind = VmKind::production;
        bool touched = false;          // unmet demand in this tick
        bool is_special = false;       // as counted by its host
        bool listed = false;           // in special_vms_
        bool crashed = false;          // its host failed, and it does not run yet
        Change changed = Change::none; // if any, in changed_
        bool spare = false;            // pauses once it has booted, until it is resumed
        std::int32_t app = -1;
        std::int32_t host = -1;
        std::int32_t destination = -1;
        std::int32_t primary = -1;
        float weight = 1.0F;
        float share = 0.0F;  // of the application's demand while it serves, or dark
        float memory = 0.0F; // of the application's memory demand
        float size = 1.0F;
        float fidelity = 0.0F;
        float credit = 1.0F;
        float unmet_rate = 0.0F;  // cpu MHz, in the open slice
        float tick_unmet = 0.0F;  // cpu MHz·s in this tick
        float tick_demand = 0.0F; // likewise, up to cumulative_mark; of the tick demand_tick
        std::int64_t demand_tick = -1;
        std::uint32_t epoch = 0;
        std::int32_t short_next = -1;              // of its host's, the next with an unmet_rate
        std::int32_t app_next = -1, app_prev = -1; // members of an application
        std::uint32_t birth = 0;                   // tells apart the VMs that use one slot
        double crashed_s = 0.0;                    // up to when its outage was booked
        double cumulative_mark = 0.0;              // of its series, where `demand` was last brought up to date
        double demand = 0.0;                       // cpu MHz·s
        double unmet = 0.0;                        // cpu MHz·s
    };
    struct Beside { // of a VM: those of its host that came before and after it
        std::int32_t next = -1, previous = -1;
    };
    struct HostTruth {
        HostState state = HostState::on;
        bool open = false;  // its slice belongs to this tick
        bool dirty = false; // to be evaluated again after the current event
        bool stale = true;  // something but the traffic of migrations has changed since it was solved
        std::uint8_t alarms = 0;
        bool noticed = false;               // its provider wants it back
        std::int32_t first = -1, last = -1; // VMs
        std::int32_t short_first = -1;      // VMs with an unmet_rate
        std::int32_t n_vms = 0;
        std::int32_t arriving = 0; // VMs with room reserved here
        std::int32_t special = 0;  // VMs that are not plainly running, and migrations: the slow path
        std::int32_t moving = 0;   // migrations begun from or to here
        float migration_mbit_s = 0.0F;
        float arriving_memory = 0.0F;
        float allocated[kResources] = {};
        std::uint32_t epoch = 0;
        std::uint32_t rental = 0; // tells apart the times that the host was hired
        double since_s = 0.0;
        double slice_s = 0.0;             // start of the open slice
        double maintenance_until_s = 0.0; // end of the last window that has begun
        RandomStream failures;
        RandomStream alarms_stream;
        RandomStream reclaims;
    };
    // Rates of one host, constant over a slice. What a quiet tick writes comes first.
    struct HostRates {
        Vec4 used{};
        float used_gpu = 0.0F;
        float power_w = 0.0F;
        float late = 0.0F;
        float contention = 0.0F;
        float demand[kResources] = {};
        float unmet[kResources] = {};
        float unmet_usd_s = 0.0F;
        float migration_unmet = 0.0F;
        bool overloaded = false;
        bool any_unmet = false;
        // Sums over its VMs, of what they get where nobody is short of what their caps leave them.
        bool roomy = false;     // holds
        std::int32_t lacks = 0; // VMs with unmet demand
        Vec4 got{};
        float got_gpu = 0.0F, capped_cpu = 0.0F, wanted_cpu = 0.0F, served_cpu = 0.0F, tight_cpu = 0.0F;
    };
    struct App {
        std::int32_t first = -1;
        std::int32_t existing = 0; // production members that are not absent
        float weight = 0.0F;       // of serving members
        bool dark = false;
        bool listed = false; // in dark_apps_
        double dark_since_s = 0.0;
    };
    enum class Phase : std::uint8_t { queued, setup, copying, stopped, over };
    struct Migration {
        std::int32_t vm, source, destination;
        Phase phase = Phase::queued;
        int round = 0;
        std::int32_t queued_next[2] = {-1, -1}; // the next that waits and has the same source, the same destination
        float mbit_s = 0.0F;                    // while it copies
        double remaining_mib = 0.0;
        double memory_mib = 0.0;
        double dirty_mib_s = 0.0;
        double working_set_mib = 0.0;
        double round_start_s = 0.0;
        double advanced_s = 0.0; // remaining_mib holds at this time
        double rate_mib_s = 0.0;
        double downtime_s = 0.0;
    };
    struct Begun {
        double next_s; // its next point
        std::uint32_t migration;
    };
    // What the fast path reads (quiet.cpp).
    struct PackedHost {
        Vec4 overhead; // of the hypervisor, for all its VMs
        std::uint32_t gpu_begin, gpu_end;
        std::int32_t host;
    };
    struct PackedVm {
        std::uint32_t series; // offset into a demand row, in floats
        std::uint32_t sums;   // where its host's sums lie, in bytes
    };
    struct alignas(16) PackedFactor {
        Vec4 of; // of the series: share, memory, share, share
    };
    struct alignas(16) PackedCap {
        Vec4 allocation;
    };
    struct PackedGpu { // the GPU part of a packed VM
        std::uint32_t column;
        std::int32_t vm;
        float share;
        float allocation;
    };
    struct HostSums { // over the plainly running VMs of a host
        Vec4 wanted, used;
        float tight_cpu; // beyond the knee
    };
    // What one VM of a host wants and gets; scratch of solve().
    struct Portion {
        std::int32_t vm;
        bool useful; // it serves
        bool moving; // it migrates
        float demand[kResources];
        float capped[kResources];
        float got[kResources];
        float allocation[kResources];
    };

    // observe.cpp
    void show_vm(VmColumns& vms, std::size_t v) const;
    void show(ClusterState& state, bool usage);
    void show_uncontended(VmColumns& vms, bool shows_usage, std::vector<HostSums>& sums, std::vector<float>& gpus);
    void show_portion(VmColumns& vms, const Portion& p);
    void note_change(std::int32_t vm, Change change = Change::more);
    bool differs(const VmColumns& vms, std::size_t v) const;
    static float contention_of(const Portion& p);
    static Amounts estimated_demand(const Portion& p);

    void show_inlets(HostColumns& hosts) const;

    // show_forecasts.cpp
    void start_forecasts();
    void learn_demand();
    std::vector<std::int32_t> row_owners() const;
    float traffic_share(const Vm& vm) const;
    void show_forecasts(ForecastColumns& out);

    // quiet.cpp
    struct Load;    // of a host whose VMs all get what they want
    struct Account; // of several of them
    void book(Account& account);
    void book_untouched(bool quiet);
    void repack();
    void repack_hosts();
    std::uint32_t sums_of(const Vm& vm) const;
    bool calm(const Vm& vm) const;
    void repack_vm(std::int32_t vm);
    bool insert_packed(std::int32_t vm);
    void repack_gpus();
    template <bool Whole> void sum_vms(std::vector<HostSums>& sums) const;
    template <class Sink> void evaluate_hosts(Sink&& sink);
    void evaluate_mixed(const std::vector<HostSums>& sums);
    bool finish_load(const PackedHost& packed, Vec4 wanted, Vec4 used, float tight_cpu, Load& load) const;
    void play_quiet_tick();
    void open_all_hosts();

    // host_physics.cpp
    void evaluate(std::int32_t host);
    void open_slice(std::int32_t host);
    void play_events(double end);
    void evaluate_slow(std::int32_t host);
    void sum_portions(std::int32_t host);
    void finish_rates(std::int32_t host);
    bool roomy(std::int32_t host, Vec4 wanted, float wanted_gpu) const;
    bool solve(std::int32_t host);
    Portion uncontended(std::int32_t host, std::int32_t vm) const;
    Portion portion_at(std::int32_t host, std::int32_t vm);
    void account(std::int32_t host, const Portion& p, float sign);
    void note_unmet(std::int32_t host, const Portion& p, float sign);
    void list_short(std::int32_t host, std::int32_t vm, float unmet_rate);
    void unlist_short(std::int32_t host, std::int32_t vm);
    bool keeps_sums(std::int32_t host) const;
    Portion portion_of(const Vm& vm, std::int32_t id) const;
    Portion portion_of(const Vm& vm, std::int32_t id, const float* demand_row) const;
    void fair_share(Resource resource, float wanted, float capacity);
    float host_power(std::int32_t host, float used_cpu, float used_gpu) const;
    void close(std::int32_t host);
    void touch(std::int32_t host);
    void touch_link(std::int32_t host);
    void settle();
    void kill_for_memory();

    // lives.cpp
    void note_place(std::int32_t vm);
    bool may_stand(std::int32_t vm, std::int32_t host) const;
    bool may_stand_new(std::int32_t app, VmKind kind, std::int32_t host) const;
    Amounts need_of(std::int32_t vm) const;
    void link_host(std::int32_t vm, std::int32_t host);
    void unlink_host(std::int32_t vm);
    void join_list(std::int32_t vm, std::int32_t host);
    void leave_list(std::int32_t vm);
    void link_app(std::int32_t vm, std::int32_t app);
    void unlink_app(std::int32_t vm);
    void refresh_app(std::int32_t app);
    void bank_demand(Vm& vm);
    void close_dark(std::int32_t app);
    static bool serves(const Vm& vm) {
        return (vm.state == VmState::running || vm.state == VmState::migrating) && vm.weight > 0.0F && vm.share > 0.0F;
    }
    bool owns_load(const Vm& vm) const;
    bool special(const Vm& vm) const;
    void recount_special(Vm& vm);
    void mark_special(Vm& vm, bool is_special);
    double cumulative(std::int32_t app) const;
    void leave_host(std::int32_t vm);
    void restart_rack(std::int32_t rack);
    void set_vm_state(std::int32_t vm, VmState state);
    void start_vm(std::int32_t vm, std::int32_t host, BootPath path);
    void remove_vm(std::int32_t vm);
    void lose_vm(std::int32_t vm, bool crash = false);
    void close_crash(Vm& vm);
    void set_host_state(std::int32_t host, HostState state);
    void lose_host_vms(std::int32_t host, bool crash = false);
    void start_maintenance(const MaintenanceWindow& window);
    void back_in_service(std::int32_t host);
    void draw_failure(std::int32_t host, double from_s);
    void draw_alarm(std::int32_t host, double from_s);
    void arrivals_and_departures();
    void reserve(std::int32_t host, const float* allocation, float sign);
    bool fits(std::int32_t host, const float* allocation) const;
    void push(double time, EventKind kind, std::int32_t id, std::uint32_t epoch);
    void play(const Event& event);

    // migration.cpp
    void start_queued();
    void start_queued_at(std::int32_t host, std::int32_t other);
    bool may_start(const Migration& m) const;
    void start_migration(std::uint32_t index);
    void set_moving(std::int32_t vm, bool moving);
    void list_queued();
    void replan_links(std::uint32_t index, bool joins);
    float link_mbit_s(const Migration& m) const;
    void play_migration(std::uint32_t index);
    void finish_migration(std::size_t index);
    void cancel_migrations_of(std::int32_t host);
    void cancel_migration(std::size_t index);
    void end_migration(std::size_t index);
    void drop_ended_migrations();
    const Begun* next_migration() const;
    void goes_on_at(std::uint32_t index, double time_s);

    // actions.cpp
    ActionResult act_spawn(const Action& action);
    ActionResult resume_spare(const Action& action);
    ActionResult act_despawn(const Action& action);
    ActionResult act_reshape(const Action& action);
    ActionResult act_migrate(const Action& action);
    Refusal can_migrate(std::int32_t vm, std::int32_t host) const;
    void begin_migration(std::int32_t vm, std::int32_t host);
    ActionResult migrate_company(std::int32_t vm, std::int32_t host);
    ActionResult act_microvm(const Action& action);
    ActionResult act_shadow(const Action& action);
    ActionResult act_shift(const Action& action);
    ActionResult act_power(const Action& action);
    ActionResult act_rent(const Action& action);
    std::int32_t new_vm(std::int32_t app, VmKind kind, const float* allocation);
    Refusal power_host(std::int32_t host, PowerTarget target);
    Refusal can_hold(std::int32_t host, const float* allocation) const;

    const float* row() const;
    const HypervisorProfile& profile(std::int32_t host) const {
        return *plant_->hosts[static_cast<std::size_t>(host)].profile;
    }
    const ServerModel& model(std::int32_t host) const;

    std::shared_ptr<const Plant> plant_;
    std::int64_t tick_ = 0;
    std::int64_t start_tick_ = 0;
    std::int64_t played_ = -1; // the tick whose demand is in force, -1 before the first
    double now_ = 0.0;
    double tick_start_s_ = 0.0; // of the tick that is played
    bool in_tick_ = false;
    bool packed_ = false;       // the list of VMs holds
    bool packed_hosts_ = false; // the lists of hosts hold
    bool opened_ = false;       // in a tick with events: every host has rates
    bool recording_ = false;
    float hidden_factor_ = 1.0F;
    std::uint64_t order_ = 0;
    std::uint32_t births_ = 0;
    std::vector<Vm> vms_;
    std::vector<Beside> beside_;           // (n_vms,)
    std::vector<double> last_move_s_;      // (n_vms,) end of its last migration, -inf = never
    std::vector<std::int32_t> changed_;    // VMs that observe_again() has to show anew
    std::vector<std::int32_t> shown_anew_; // what it told last
    std::vector<std::int32_t> strained_;   // VMs that were shown to wait for CPU
    std::int64_t shown_played_ = -1;       // played_ when it was called last
    std::vector<std::int32_t> free_slots_;
    std::vector<App> apps_;
    std::vector<std::int32_t> dark_apps_; // and some that no longer are
    std::vector<std::int32_t> crashed_;   // VMs whose host failed and that do not run yet
    std::vector<std::int32_t> waiting_;   // pending and failed VMs, in order
    std::vector<HostTruth> hosts_;
    AffinityBook affinity_; // where VMs stand, as rules see it
    std::vector<HostRates> rates_;
    std::vector<bool> rack_on_;
    std::vector<double> rack_ready_s_;
    std::vector<std::int32_t> rack_copying_;          // migrations over the uplink
    std::vector<std::vector<std::uint32_t>> copying_; // (n_hosts,) migrations now on its link, the oldest first
    std::vector<std::int32_t> replanned_;             // hosts; scratch of replan_links()
    std::vector<std::uint32_t> linked_;               // migrations; likewise
    std::vector<Migration> migrations_;               // in the order in which they were asked for
    std::vector<Begun> begun_;                        // of them, those that wait for no place, the oldest first
    std::size_t n_ended_ = 0;                         // of them, those that are over
    std::vector<std::int32_t> queue_first_; // (n_hosts,) the oldest of those that wait, from or to there; -1 = none
    std::vector<std::int32_t> special_vms_; // that do not plainly run, some that do again
    std::vector<Event> events_;             // a heap
    std::vector<std::int32_t> dirty_;
    std::vector<std::int32_t> open_hosts_; // with a slice in this tick
    std::vector<std::int32_t> touched_vms_;
    std::vector<std::int32_t> arrivals_; // workload VMs by arrival tick
    std::size_t next_arrival_ = 0;
    std::vector<std::int32_t> departures_; // workload VMs by departure tick
    std::size_t next_departure_ = 0;
    std::vector<PackedVm> calm_vms_;         // can never reach a cap or the knee
    std::vector<PackedFactor> calm_factors_; // (calm_vms_,) empty where every factor is 1
    std::vector<std::int32_t> calm_ids_, careful_ids_;
    std::vector<PackedVm> careful_vms_;         // all others
    std::vector<PackedFactor> careful_factors_; // likewise
    std::vector<PackedCap> careful_caps_;
    std::vector<std::int32_t> standing_;   // VMs of a host, ascending; scratch
    std::vector<std::uint32_t> packed_at_; // (n_vms,) place among the careful or, marked, the calm ones
    static constexpr std::uint32_t kNotPacked = ~0U, kCalm = 1U << 31U;
    bool packed_whole_ = false; // every factor is 1
    std::vector<PackedGpu> packed_gpus_;
    std::vector<std::uint32_t> gpus_of_; // (n_hosts + 1,) where those of each host begin
    bool packed_gpus_hold_ = false;
    std::vector<PackedHost> quiet_hosts_; // on, with none but plainly running VMs
    std::vector<PackedHost> mixed_hosts_; // on, all others
    std::vector<std::uint8_t> is_mixed_;  // (n_hosts,) scratch: and those where somebody lacks something
    std::vector<float> dark_w_;           // (n_hosts,) what those draw that were not on when the hosts were sorted
    double dark_total_w_ = 0.0;
    std::vector<Portion> portions_;
    std::vector<std::size_t> sort_scratch_;
    std::optional<forecast::DemandForecaster> online_; // where the plant asks for it
    std::shared_ptr<const void> shown_;                // its prediction of this tick
    double worst_freed_ = 0.0;                         // worst ratio of VMs whose slot was freed
    Totals tick_totals_;                               // of the tick that is being decided or played
    Totals last_totals_;                               // of the last one played
    Totals totals_;
    std::vector<TickRecord> history_;
};

} // namespace foreshade
