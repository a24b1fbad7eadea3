//! Arrays of the kernel half, of which a piece is mapped while somebody looks at it: most of it, most of the time, nobody does.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};

use super::mapping::{Access, Mapping};

/// An array whose elements are `T`.
pub(super) struct OnDemand<T> {
    array: OwnedFd,
    count: u32,
    access: Access,
    holds: PhantomData<T>,
}

impl<T> OnDemand<T> {
    /// `count` elements of the array behind `array`, to be mapped for `access`.
    pub(super) fn new(array: impl AsFd, count: u32, access: Access) -> io::Result<Self> {
        Ok(Self { array: array.as_fd().try_clone_to_owned()?, count, access, holds: PhantomData })
    }

    /// Elements that there are.
    pub(super) fn len(&self) -> u32 {
        self.count
    }

    /// One element; none beyond the end.
    pub(super) fn element(&self, index: u32) -> io::Result<Mapping> {
        self.beginning(index, size_of::<T>())
    }

    /// The first bytes of an element.
    pub(super) fn beginning(&self, index: u32, bytes: usize) -> io::Result<Mapping> {
        if index >= self.count {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no such element"));
        }
        Mapping::new(&self.array, index as usize * size_of::<T>(), bytes, self.access)
    }

    /// All of them.
    pub(super) fn all(&self) -> io::Result<Mapping> {
        Mapping::new(&self.array, 0, self.count as usize * size_of::<T>(), self.access)
    }
}
