//! Two network namespaces joined by a wire of the tests' own, which may lose, delay, repeat and disorder.
//!
//! The wire is a thread between two `tun` devices. Namespaces have no name: they go with their last
//! descriptor, however a test ends.

use std::collections::BinaryHeap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::segment::Segment;

/// What becomes of a segment: copies of it, or other ones, each after a delay. None = it is lost.
pub(crate) type Fate = Vec<(Duration, Segment)>;

/// Decides over every segment that enters the wire.
pub(crate) type Policy = Box<dyn FnMut(&Segment) -> Fate + Send>;

/// Nothing happens to a segment but a delay.
pub(crate) fn delayed(segment: &Segment, by: Duration) -> Fate {
    vec![(by, segment.clone())]
}

/// One of the two namespaces.
pub(crate) struct Space {
    namespace: File,
    device: Arc<File>,
    pub(crate) address: Ipv4Addr,
    pub(crate) address6: Ipv6Addr,
}

impl Space {
    fn new(number: u8) -> Self {
        let address = Ipv4Addr::new(10, 99, 0, number);
        let address6 = Ipv6Addr::new(0xfd00, 0x99, 0, 0, 0, 0, 0, number.into());
        let made = std::thread::spawn(move || {
            // SAFETY: of this thread alone, which ends soon.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "{}", std::io::Error::last_os_error());
            let device = tun();
            for line in [
                "link set lo up",
                &format!("address add {address}/24 dev wire0"),
                &format!("-6 address add {address6}/64 dev wire0 nodad"),
                "link set wire0 up mtu 1500",
            ] {
                let status = Command::new("ip").args(line.split(' ')).status().unwrap();
                assert!(status.success(), "ip {line}");
            }
            (File::open("/proc/thread-self/ns/net").unwrap(), device)
        });
        let (namespace, device) = made.join().unwrap();
        Self { namespace, device: Arc::new(device), address, address6 }
    }

    /// Does something in this namespace: sockets stay where they are made.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                // SAFETY: of this thread alone, which ends soon.
                let entered = unsafe { libc::setns(self.namespace.as_raw_fd(), libc::CLONE_NEWNET) };
                assert_eq!(entered, 0, "{}", std::io::Error::last_os_error());
                work()
            });
            inside.join().unwrap()
        })
    }

    /// Lets a packet arrive here, in the context of the calling thread.
    pub(crate) fn inject(&self, segment: &Segment) {
        (&*self.device).write_all(segment.bytes()).unwrap();
    }
}

/// A device of this thread's namespace whose packets pass through a descriptor.
fn tun() -> File {
    let device = OpenOptions::new().read(true).write(true).open("/dev/net/tun").unwrap();
    // SAFETY: plain numbers.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"wire0") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
    // SAFETY: the request that this call wants.
    let made = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw const request) };
    assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
    device
}

/// Two namespaces and the wire between them.
pub(crate) struct Link {
    pub(crate) near: Space,
    pub(crate) far: Space,
    policy: Arc<Mutex<Policy>>,
    wire: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    wake: File,
}

impl Link {
    pub(crate) fn new(policy: Policy) -> Self {
        let (near, far) = (Space::new(1), Space::new(2));
        let (policy, stop) = (Arc::new(Mutex::new(policy)), Arc::new(AtomicBool::new(false)));
        // SAFETY: a new descriptor.
        let wake = unsafe { OwnedFd::from_raw_fd(libc::eventfd(0, libc::EFD_CLOEXEC)) };
        let wire = Wire {
            devices: [Arc::clone(&near.device), Arc::clone(&far.device)],
            wake: File::from(wake.try_clone().unwrap()),
            stop: Arc::clone(&stop),
            policy: Arc::clone(&policy),
            due: BinaryHeap::new(),
            number: 0,
        };
        let wire = Some(std::thread::spawn(move || wire.run()));
        Self { near, far, policy, wire, stop, wake: File::from(wake) }
    }

    /// Another policy from now on.
    pub(crate) fn set(&self, policy: Policy) {
        *self.policy.lock().unwrap() = policy;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.wake.write_all(&1u64.to_ne_bytes()));
        if let Some(wire) = self.wire.take() {
            drop(wire.join());
        }
    }
}

/// A packet on its way: to which device, and when. The earliest is the greatest.
struct Due(Instant, u64, usize, Segment);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Due {}
impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.0, other.1).cmp(&(self.0, self.1))
    }
}

struct Wire {
    devices: [Arc<File>; 2],
    wake: File,
    stop: Arc<AtomicBool>,
    policy: Arc<Mutex<Policy>>,
    due: BinaryHeap<Due>,
    number: u64,
}

impl Wire {
    fn run(mut self) {
        let mut buffer = vec![0; 1 << 16];
        while !self.stop.load(Ordering::Relaxed) {
            let ready = self.wait();
            for (from, _) in ready.into_iter().enumerate().filter(|(_, is_ready)| *is_ready) {
                let length = (&*self.devices[from]).read(&mut buffer).unwrap();
                // Neighbour discovery and its like have nobody to talk to.
                let Some(segment) = Segment::parse(&buffer[..length]) else { continue };
                for (delay, segment) in (self.policy.lock().unwrap())(&segment) {
                    self.number += 1;
                    self.due.push(Due(Instant::now() + delay, self.number, 1 - from, segment));
                }
            }
            while self.due.peek().is_some_and(|due| due.0 <= Instant::now()) {
                let Some(Due(_, _, to, segment)) = self.due.pop() else { break };
                (&*self.devices[to]).write_all(segment.bytes()).unwrap();
            }
        }
    }

    /// Which devices have a packet; returns early when one is due.
    fn wait(&self) -> [bool; 2] {
        let poll = |file: &File| libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let mut fds = [poll(&self.devices[0]), poll(&self.devices[1]), poll(&self.wake)];
        let left = self.due.peek().map(|due| due.0.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| libc::timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: three descriptors and a timeout that live for the call.
        unsafe { libc::ppoll(fds.as_mut_ptr(), 3, timeout, std::ptr::null()) };
        [fds[0].revents & libc::POLLIN != 0, fds[1].revents & libc::POLLIN != 0]
    }
}

/// An address of either family.
pub(crate) fn either(v6: bool, space: &Space) -> IpAddr {
    if v6 { space.address6.into() } else { space.address.into() }
}
