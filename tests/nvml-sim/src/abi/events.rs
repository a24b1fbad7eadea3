//! Events: Xid errors and changes of MIG.

use std::collections::VecDeque;
use std::ffi::{c_uint, c_ulonglong};
use std::time::{Duration, Instant};

use nvml_wrapper_sys::bindings::{
    nvmlDevice_t, nvmlEventData_t, nvmlEventMigConfigChange as MIG, nvmlEventSet_t,
    nvmlEventTypeXidCriticalError as XID, nvmlReturn_enum_NVML_ERROR_TIMEOUT as TIMEOUT,
};

use super::{exports, put};
use crate::hardware::{LOOK, Target, call, library};

/// Events that nobody has taken yet.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    sets: usize,
    registered: Vec<(usize, c_ulonglong)>,
    queue: VecDeque<(usize, u32)>,
    last_xid: c_ulonglong,
}

impl Pending {
    pub(crate) fn xid(&mut self, place: usize, code: u64) {
        self.last_xid = code;
        self.push(place, XID);
    }

    pub(crate) fn mig_changed(&mut self, place: usize) {
        self.push(place, MIG);
    }

    fn push(&mut self, place: usize, kind: u32) {
        if self.registered.iter().any(|(other, kinds)| *other == place && kinds & c_ulonglong::from(kind) != 0) {
            self.queue.push_back((place, kind));
        }
    }

    /// `nvml.h`: all Xid events that wait carry the number of the last one.
    fn next(&mut self) -> Option<nvmlEventData_t> {
        let (gpu, kind) = self.queue.pop_front()?;
        Some(nvmlEventData_t {
            device: Target { gpu, instance: None }.handle(),
            eventType: kind.into(),
            eventData: if kind == XID { self.last_xid } else { 0 },
            gpuInstanceId: u32::MAX,
            computeInstanceId: u32::MAX,
        })
    }
}

exports! {
    nvmlEventSetCreate(set: *mut nvmlEventSet_t) {
        call("nvmlEventSetCreate", None, |machine| {
            machine.events.sets += 1;
            put(set, std::ptr::without_provenance_mut(0x5e7))
        })
    }
    nvmlEventSetFree(_set: nvmlEventSet_t) {
        call("nvmlEventSetFree", None, |machine| {
            machine.events.sets = machine.events.sets.saturating_sub(1);
            if machine.events.sets == 0 {
                machine.events = Pending::default();
            }
            Ok(())
        })
    }
    nvmlDeviceGetSupportedEventTypes(device: nvmlDevice_t, kinds: *mut c_ulonglong) {
        call("nvmlDeviceGetSupportedEventTypes", Some(device), |machine| {
            let mig = if machine.whole(device)?.features().mig { MIG } else { 0 };
            put(kinds, c_ulonglong::from(XID | mig))
        })
    }
    nvmlDeviceRegisterEvents(device: nvmlDevice_t, kinds: c_ulonglong, _set: nvmlEventSet_t) {
        call("nvmlDeviceRegisterEvents", Some(device), |machine| {
            let place = machine.whole(device)?.place;
            machine.events.registered.push((place, kinds));
            Ok(())
        })
    }
    nvmlEventSetWait_v2(_set: nvmlEventSet_t, data: *mut nvmlEventData_t, millis: c_uint) {
        let mut event = call("nvmlEventSetWait_v2", None, |machine| Ok(machine.events.next()));
        let until = Instant::now() + Duration::from_millis(millis.into());
        while matches!(event, Ok(None)) && Instant::now() < until {
            std::thread::sleep(LOOK);
            event = Ok(library().hardware.as_mut().and_then(|machine| machine.events.next()));
        }
        event.and_then(|event| put(data, event.ok_or(TIMEOUT)?))
    }
}
