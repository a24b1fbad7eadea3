//! A cgroup.

use core::ffi::c_void;

use super::member;
use crate::offsets::{CGROUP_KN, KERNFS_ID, offsets};

offsets! {
    /// `cgroup.root`
    CGROUP_ROOT,
    /// `cgroup_root.hierarchy_id`
    ROOT_HIERARCHY,
    /// `cgroup.self.parent`
    CGROUP_PARENT,
    /// `cgroup_subsys_state.cgroup`
    CSS_CGROUP,
}

/// A `struct cgroup` that the verifier trusts, not null.
#[derive(Clone, Copy)]
pub(crate) struct Cgroup(*const c_void);

impl Cgroup {
    /// `None` for null. `cgroup` must be a pointer to a cgroup as the verifier sees it.
    #[inline(always)]
    pub(crate) fn new(cgroup: *const c_void) -> Option<Self> {
        if cgroup.is_null() { None } else { Some(Self(cgroup)) }
    }

    /// The inode of its directory; 0 where it has none.
    #[inline(always)]
    pub(crate) fn id(self) -> u64 {
        // SAFETY: typed pointers and their members.
        unsafe {
            let node: *const c_void = member(self.0, &CGROUP_KN);
            if node.is_null() { 0 } else { member(node, &KERNFS_ID) }
        }
    }

    /// True in the hierarchy of cgroup version 2.
    #[inline(always)]
    pub(crate) fn is_unified(self) -> bool {
        // SAFETY: as above.
        unsafe {
            let root: *const c_void = member(self.0, &CGROUP_ROOT);
            !root.is_null() && member::<i32>(root, &ROOT_HIERARCHY) == 0
        }
    }

    /// The cgroup that it lies in.
    #[inline(always)]
    pub(crate) fn parent(self) -> Option<Self> {
        // SAFETY: as above.
        unsafe {
            let css: *const c_void = member(self.0, &CGROUP_PARENT);
            if css.is_null() { None } else { Self::of_css(css) }
        }
    }

    /// The cgroup of a `struct cgroup_subsys_state`.
    ///
    /// # Safety
    /// As for [`member`].
    #[inline(always)]
    pub(crate) unsafe fn of_css(css: *const c_void) -> Option<Self> {
        // SAFETY: the caller's.
        Self::new(unsafe { member(css, &CSS_CGROUP) })
    }
}
