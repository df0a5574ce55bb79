#include "core/action.hpp"

namespace foreshade {

const char* refusal_text(Refusal refusal) {
    switch (refusal) {
    case Refusal::none:
        return "";
    case Refusal::unknown_vm:
        return "expected the number of a VM, found one out of range";
    case Refusal::unknown_host:
        return "expected the number of a host, found one out of range";
    case Refusal::unknown_app:
        return "expected the number of an application, found one out of range";
    case Refusal::unknown_rack:
        return "expected the number of a rack, found one out of range";
    case Refusal::vm_gone:
        return "the VM is gone";
    case Refusal::vm_not_placeable:
        return "expected a pending or failed VM, found one that has a host";
    case Refusal::vm_not_running:
        return "expected a running VM, found one that is not";
    case Refusal::vm_busy:
        return "the VM is migrating, booting or stopping";
    case Refusal::same_host:
        return "the VM already stands on that host";
    case Refusal::host_not_on:
        return "expected a host that is on, found one that is not";
    case Refusal::no_room:
        return "the allocation does not fit on the host within its overcommit limits";
    case Refusal::host_not_empty:
        return "expected an empty host, found VMs standing there or on their way";
    case Refusal::host_transition:
        return "the host cannot go there from the state it is in";
    case Refusal::rack_off:
        return "the host's rack is switched off";
    case Refusal::rack_in_use:
        return "expected a rack whose hosts are all off, found one that is not";
    case Refusal::not_rented_host:
        return "expected a host that can be rented, found one of our own";
    case Refusal::no_slot:
        return "no VM slot is free; raise spare_slots";
    case Refusal::bad_value:
        return "a value is out of range";
    case Refusal::not_hotpluggable:
        return "the hypervisor cannot change that resource in that direction while the VM runs";
    case Refusal::below_usage:
        return "the new memory allocation is below what the VM uses";
    case Refusal::not_allowed:
        return "the scenario does not allow this kind of action";
    case Refusal::shadow_same_host:
        return "a shadow may not stand on its primary's host";
    case Refusal::last_member:
        return "the application's last production VM cannot go: its load would have nobody";
    case Refusal::affinity:
        return "an affinity rule keeps the VM from that host";
    case Refusal::no_spare:
        return "expected a paused spare of that application and size on that host, found none";
    }
    return "refused";
}

} // namespace foreshade
